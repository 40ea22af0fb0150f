"""The ledger: grants out of what the journals say, exactly once, never too much."""

from __future__ import annotations

import pytest

from comptroller.core.errors import (
    InvalidArgumentError,
    JournalUnavailableError,
    StoreUnavailableError,
)
from comptroller.core.registry import Budget, Limits, Window
from comptroller.engine import records
from comptroller.engine.leasing import AskLeases, Granted, Leased, LeaseNeed
from comptroller.testing.ledger_site import Holder, LedgerSite
from comptroller.testing.lessee import limited_registry
from comptroller.testing.system import START_NS

MONTH = "service:checkout/month@2025-11"
PARALLEL = "service:checkout/parallel@now"
ENDS_NS = 1_764_543_600 * 10**9
"""The end of November 2025 in Amsterdam."""
START_LEFT_S = (ENDS_NS - START_NS) / 10**9


def a_site(limit: int = 100, parallel: int | None = None) -> LedgerSite:
    site = LedgerSite()
    budget = Budget((Window(limit, "month"),))
    site.apply(limited_registry(budget, Limits(concurrency=parallel)))
    return site


def state_of(site: LedgerSite, account: str = MONTH) -> tuple[int, int, int]:
    """Settled, leased and suspense."""
    state = site.store.accounts([account])[account]
    return state.settled, state.leased, state.suspense


def test_what_is_needed_is_granted_and_is_in_the_books() -> None:
    """The first ask of a worker makes it a holder; its grant is projected at once."""
    site = a_site()
    holder = Holder(site)
    answer = holder.ask({MONTH: 30})
    assert answer == Leased(1, [Granted(MONTH, 30)], [], [])
    assert state_of(site) == (0, 30, 0)
    assert [row.holder for row in site.store.live_holders()] == [holder.source]
    assert [one["holder"] for one in site.recorded(records.HOLDER_JOINED)] == [
        holder.source
    ]
    (lease,) = site.store.leases(holder=holder.source)
    assert lease.left == 30


def test_more_than_is_left_is_refused_with_the_figures() -> None:
    """A lack says limit, spent, leased, free, and when the window ends."""
    site = a_site()
    holder = Holder(site)
    holder.ask({MONTH: 60})
    holder.spend("r1", 60, [MONTH], 50)
    site.look()
    (lack,) = holder.ask({MONTH: 41}).lacks
    assert lack.account == MONTH
    assert (lack.limit, lack.spent, lack.leased, lack.free) == (100, 50, 10, 40)
    assert lack.resets_ns == ENDS_NS
    assert state_of(site) == (50, 10, 0)


def test_a_lack_has_the_figures_of_now() -> None:
    """What the asker settled just now is spent, not leased, in its refusal."""
    site = a_site()
    holder = Holder(site)
    holder.ask({MONTH: 60})
    holder.spend("r1", 60, [MONTH], 50)
    (lack,) = holder.ask({MONTH: 41}).lacks
    assert (lack.spent, lack.leased, lack.free) == (50, 10, 40)


def test_the_last_of_a_budget_is_granted_exactly() -> None:
    """Ten requests of a tenth each fit, from however many workers; never eleven."""
    site = a_site()
    holders = [Holder(site, f"w{number}") for number in range(3)]
    granted = []
    for turn in range(30):
        holder = holders[turn % 3]
        for one in holder.ask({MONTH: 10}).grants:
            granted.append(one.amount)
            holder.spend(f"r{turn}", 10, [MONTH], 10)
        site.look()
    assert granted == [10] * 10
    assert state_of(site) == (100, 0, 0)


def test_nobody_takes_ahead_more_than_half_an_equal_share() -> None:
    """While there is plenty, leases are larger than what is needed at once."""
    site = a_site(limit=1200)
    holders = [Holder(site, f"w{number}") for number in range(3)]
    for holder in holders:
        holder.ask({MONTH: 1})
    granted = holders[0].ask({MONTH: 1}, wants={MONTH: 1000}).grants
    assert granted == [Granted(MONTH, 1197 // 6)]


def test_a_repeat_is_answered_as_the_first_was() -> None:
    """However often an ask comes, it is granted once, by this process or the next."""
    site = a_site()
    holder = Holder(site)
    first = holder.ask({MONTH: 30})
    asked = AskLeases(
        holder.source, 1, "this boot", "disk", [LeaseNeed(MONTH, 30, 30)], [], []
    )
    assert holder.send(asked) == [first]
    after = site.anew()
    holder.site = after
    assert holder.send(asked) == [first]
    assert state_of(after) == (0, 30, 0)


def test_a_repeat_that_comes_before_the_answer_waits_for_the_same() -> None:
    """Both are answered, with one grant."""
    site = a_site()
    holder = Holder(site)
    answers = holder.start({MONTH: 30})
    holder.sequence = 0
    again = holder.start({MONTH: 30})
    site.timers.advance(0.1)
    assert answers == again
    assert len(answers) == 1
    assert state_of(site) == (0, 30, 0)


def test_an_ask_that_comes_after_the_next_one_gets_nothing() -> None:
    """Nobody listens for its answer any more: what it were granted would be lost."""
    site = a_site()
    holder, other = Holder(site, "w0"), Holder(site, "w1")
    other.ask({MONTH: 80})
    late = AskLeases(
        holder.source, 1, "this boot", "disk", [LeaseNeed(MONTH, 30, 30)], [], []
    )
    holder.ask({MONTH: 30})
    assert holder.ask({MONTH: 25}).lacks
    other.spend("r1", 80, [MONTH], 10)
    site.look()
    holder.ask({MONTH: 10})
    assert holder.send(late) == [Leased(1, [], [], [])]


def test_asks_that_come_together_are_written_together() -> None:
    """One batch holds the grants of all who asked at the same moment."""
    site = a_site()
    holders = [Holder(site, f"w{number}") for number in range(4)]
    for holder in holders:
        holder.start({MONTH: 30})
    site.timers.advance(0.001)
    assert len(site.recorded(records.LEASE_GRANTED)) == 3
    assert state_of(site) == (0, 90, 0)


def test_two_limits_are_granted_each_for_itself() -> None:
    """Permits are accounts like money; the one that lacks is the one named."""
    site = a_site(limit=1000, parallel=2)
    holder = Holder(site)
    assert len(holder.ask({MONTH: 10, PARALLEL: 2}).grants) == 2
    answer = holder.ask({MONTH: 10, PARALLEL: 1})
    assert [one.account for one in answer.grants] == [MONTH]
    assert [one.account for one in answer.lacks] == [PARALLEL]


def test_what_was_spent_before_the_budget_counts() -> None:
    """A budget that is declared in the middle of a month finds what was spent in it."""
    site = LedgerSite()
    site.apply(limited_registry(None))
    holder = Holder(site)
    holder.spend("before", 500, [], 70)
    site.look()
    site.apply(limited_registry(Budget((Window(100, "month"),))))
    (lack,) = holder.ask({MONTH: 31}).lacks
    assert (lack.spent, lack.free) == (70, 30)
    assert holder.ask({MONTH: 30}).grants == [Granted(MONTH, 30)]


def test_idle_leases_of_others_are_recalled_before_a_refusal() -> None:
    """What another worker returns within the wait is granted; nobody is refused."""
    site = a_site()
    rich, poor = Holder(site, "w0"), Holder(site, "w1")
    rich.ask({MONTH: 90})
    rich.listen()
    answers = poor.start({MONTH: 50})
    site.timers.advance(0.01)
    assert not answers
    assert [one.accounts for one in rich.recalls] == [[MONTH]]
    rich.give_back({MONTH: 80})
    site.timers.advance(0.01)
    assert answers == [Leased(1, [Granted(MONTH, 50)], [], [])]
    assert state_of(site) == (0, 60, 0)


def test_who_listens_later_is_told_of_the_recall_at_once() -> None:
    """A recall waits for a holder that is just coming back to listen."""
    site = a_site()
    rich, poor = Holder(site, "w0"), Holder(site, "w1")
    rich.ask({MONTH: 90})
    poor.start({MONTH: 50})
    site.timers.advance(0.01)
    rich.listen()
    assert [one.accounts for one in rich.recalls] == [[MONTH]]


def test_nobody_waits_longer_than_the_wait() -> None:
    """A holder that does not answer, as one that is stopped, costs 100 ms."""
    site = a_site()
    rich, poor = Holder(site, "w0"), Holder(site, "w1")
    rich.ask({MONTH: 90})
    answers = poor.start({MONTH: 50})
    site.timers.advance(0.09)
    assert not answers
    site.timers.advance(0.02)
    (answer,) = answers
    assert answer is not None
    assert [one.free for one in answer.lacks] == [10]


def test_nothing_to_return_ends_the_wait() -> None:
    """When everybody answered and it still is not enough, the ask is refused."""
    site = a_site()
    rich, poor = Holder(site, "w0"), Holder(site, "w1")
    rich.ask({MONTH: 90})
    rich.listen()
    answers = poor.start({MONTH: 50})
    site.timers.advance(0.01)
    site.centre.returned(rich.source)
    site.timers.advance(0.01)
    (answer,) = answers
    assert answer is not None
    assert answer.lacks


def test_nobody_is_asked_for_what_would_not_be_enough() -> None:
    """Where all leases of others together are too little, the refusal is at once."""
    site = a_site()
    rich, poor = Holder(site, "w0"), Holder(site, "w1")
    rich.ask({MONTH: 30})
    rich.spend("r", 30, [MONTH], 30)
    site.look()
    answers = poor.start({MONTH: 71})
    site.timers.advance(0.001)
    (answer,) = answers
    assert answer is not None
    assert answer.lacks
    assert not rich.recalls


def test_only_what_could_not_be_called_back_is_said_to_lack() -> None:
    """An account that others have idle leases of is not the reason of a refusal."""
    site = a_site(parallel=1)
    rich, poor = Holder(site, "w0"), Holder(site, "w1")
    rich.ask({MONTH: 80})
    (lack,) = poor.ask({MONTH: 30, PARALLEL: 2}).lacks
    assert lack.account == PARALLEL
    assert not rich.recalls


def test_who_listens_hears_something_within_20_s() -> None:
    """A holder that nobody recalls from is let go with nothing, to ask again."""
    site = a_site()
    holder = Holder(site)
    holder.listen()
    site.timers.advance(19)
    assert not holder.recalls
    site.timers.advance(1.1)
    assert [one.accounts for one in holder.recalls] == [[]]


def test_a_closed_holder_is_fenced() -> None:
    """Who was closed must not hold anything any more, and hears so."""
    site = a_site()
    holder = Holder(site)
    holder.ask({MONTH: 30})
    holder.die()
    site.look()
    site.recover()
    assert holder.ask({MONTH: 30}).is_fenced
    assert state_of(site) == (0, 0, 0)


def test_a_holder_without_a_living_journal_is_fenced() -> None:
    """Nobody gets leases that could not be taken back from a journal."""
    site = a_site()
    holder = Holder(site)
    holder.die()
    assert holder.ask({MONTH: 30}).is_fenced
    stranger = Holder(site, "w1")
    stranger.source = "/node/w2/unknown"
    assert stranger.ask({MONTH: 30}).is_fenced
    assert not site.store.live_holders()


def test_a_holder_that_dies_while_it_waits_is_fenced_and_granted_nothing() -> None:
    """It was closed between its ask and the answer: a grant would be lost."""
    site = a_site()
    rich, poor = Holder(site, "w0"), Holder(site, "w1")
    rich.ask({MONTH: 90})
    poor.ask({MONTH: 1})
    answers = poor.start({MONTH: 50})
    site.timers.advance(0.01)
    poor.die()
    site.look()
    site.recover()
    rich.give_back({MONTH: 80})
    site.timers.advance(0.2)
    assert answers == [Leased(2, [], [], [], is_fenced=True)]
    assert state_of(site) == (0, 10, 0)
    assert site.centre.failed is None


@pytest.mark.parametrize("label", ["2025-10", "2025-12", "2026-11", "nonsense"])
def test_only_the_window_of_now_is_granted_from(label: str) -> None:
    """An account of another month has nothing to grant, whatever is asked."""
    site = a_site()
    account = f"service:checkout/month@{label}"
    (lack,) = Holder(site).ask({account: 1}).lacks
    assert (lack.limit, lack.free) == (100, 0)


def test_a_window_that_just_ended_is_still_granted_from() -> None:
    """A request that was admitted at its last moment may wait five seconds."""
    site = a_site()
    holder = Holder(site)
    site.timers.advance(START_LEFT_S + 4)
    assert holder.ask({MONTH: 1}).grants
    holder.give_back({MONTH: 1})
    site.timers.advance(2)
    assert holder.ask({MONTH: 1}).lacks
    assert holder.ask({"service:checkout/month@2025-12": 100}).grants


def test_what_is_under_way_in_a_window_that_ended_may_still_grow() -> None:
    """A stream over midnight is not cut while its own window has room, nor past it."""
    site = a_site()
    holder, other = Holder(site, "w0"), Holder(site, "w1")
    assert holder.ask({MONTH: 60}).grants
    site.timers.advance(START_LEFT_S + 3600)
    assert holder.ask({MONTH: 40}).grants == [Granted(MONTH, 40)]
    (lack,) = other.ask({MONTH: 1}).lacks
    assert (lack.free, lack.leased, lack.resets_ns) == (0, 100, ENDS_NS)
    assert other.ask({"service:checkout/month@2025-12": 100}).grants


def test_an_undeclared_limit_is_not_granted_from() -> None:
    """Nothing can be granted of a limit that nobody declared."""
    site = a_site()
    answer = Holder(site).ask({"service:search/month@2025-11": 1})
    assert [(one.limit, one.free) for one in answer.lacks] == [(0, 0)]


@pytest.mark.parametrize(
    ("account", "amount"), [("nonsense", 1), (MONTH, -1), ("service:x" * 99, 1)]
)
def test_nonsense_is_refused(account: str, amount: int) -> None:
    """What no worker of this release asks is an error, and changes nothing."""
    site = a_site()
    with pytest.raises(InvalidArgumentError):
        Holder(site).start({account: amount})
    assert not site.store.live_holders()


def test_a_control_process_is_no_holder() -> None:
    """Its journal is projected by other rules."""
    site = a_site()
    holder = Holder(site)
    holder.source = site.open_journal().source
    with pytest.raises(InvalidArgumentError):
        holder.start({MONTH: 1})


def test_a_failed_journal_ends_the_ledger_and_grants_nothing() -> None:
    """An answer goes out only after its record is durable."""
    site = a_site()
    holder = Holder(site)
    site.open_journal().failed = True
    answers = holder.start({MONTH: 30})
    site.timers.advance(0.2)
    assert answers == [None]
    assert isinstance(site.centre.failed, JournalUnavailableError)
    with pytest.raises(JournalUnavailableError):
        holder.start({MONTH: 30})


def test_a_store_that_fails_after_the_record_ends_the_ledger() -> None:
    """The next process projects the grant and answers the repeat with it."""
    site = a_site()
    holder = Holder(site)

    def fail(_: str) -> None:
        raise StoreUnavailableError("the disk is full")

    site.centre._parts = site.ledger._replace(project=fail)
    answers = holder.start({MONTH: 30})
    site.timers.advance(0.2)
    assert answers == [None]
    assert isinstance(site.centre.failed, StoreUnavailableError)
    holder.site, holder.sequence = site.anew(), 0
    assert holder.ask({MONTH: 30}).grants == [Granted(MONTH, 30)]
    assert state_of(holder.site) == (0, 30, 0)


def test_a_store_in_trouble_is_told_before_anything_is_recorded() -> None:
    """While the projection cannot write, no grant is recorded."""
    site = a_site()
    site.centre.trouble = StoreUnavailableError("the disk is full")
    holder = Holder(site)
    with pytest.raises(StoreUnavailableError):
        holder.start({MONTH: 30})
    site.centre.trouble = None
    holder.sequence = 0
    assert holder.ask({MONTH: 30}).grants


def test_a_raised_limit_is_in_force_with_the_next_grant() -> None:
    """Raising takes effect at once, also before the ledger looked at it."""
    site = a_site()
    holder = Holder(site)
    holder.ask({MONTH: 100})
    site.administration.apply(
        limited_registry(Budget((Window(150, "month"),))),
        "sha256:2",
        records.Actor(person="ada", account="root@test"),
    )
    assert holder.ask({MONTH: 50}).grants == [Granted(MONTH, 50)]
    assert state_of(site) == (0, 150, 0)


def test_many_needs_fit_into_one_record() -> None:
    """Asks are as large as a record takes, and no larger."""
    site = a_site(limit=10**15)
    holder = Holder(site)
    asked = AskLeases(
        holder.source,
        1,
        "b",
        "disk",
        [LeaseNeed(MONTH, 10**12, 10**12)] * 128,
        [],
        [],
    )
    answers = holder.send(asked)
    site.timers.advance(0.2)
    assert answers[0] is not None
    assert len(answers[0].grants) == 128
    with pytest.raises(InvalidArgumentError):
        holder.send(AskLeases(holder.source, 2, "b", "disk", asked.needs * 2, [], []))
