from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from comptroller.core.errors import InvalidArgumentError, NotFoundError, RecordError
from comptroller.core.rates import ModelRates, Step, rate_card
from comptroller.engine import records
from comptroller.engine.leasing import Lack
from comptroller.engine.ports import JournalPosition, RequestQuery
from comptroller.engine.reporting import Reporting, ReportingParts
from comptroller.testing.answered import START_NS, RecordedDay, acme, recorded_day

SETTLED, REFUSED, OPEN = "A" * 26, "B" * 26, "C" * 26


def test_requests_have_the_promised_members_newest_first() -> None:
    """`requests --json` has every member of design.md §8."""
    listed = recorded_day().reporting.requests(RequestQuery())

    assert [row["request_id"] for row in listed] == [OPEN, REFUSED, SETTLED]
    assert [row["state"] for row in listed] == ["open", "refused", "settled"]
    promised = {
        "request_id", "time", "tenant", "unit", "service", "credential_id",
        "decision", "reason", "model", "model_answered", "usage", "usage_source",
        "cost_nano_usd", "state",
    }  # fmt: skip
    assert promised <= set(listed[0])
    assert listed[2]["usage"] == {"input": 1000, "output": 300, "reasoning": 200}
    assert json.loads(json.dumps(listed)) == listed


def test_requests_can_be_narrowed() -> None:
    """By decision, by service, by time and by number."""
    day = recorded_day()
    ask = day.reporting.requests

    assert [row["request_id"] for row in ask(RequestQuery(decision="deny"))] == [
        REFUSED
    ]
    assert ask(RequestQuery(service="other")) == []
    assert len(ask(RequestQuery(limit=1))) == 1
    assert len(ask(RequestQuery(since_ns=day.reporting.since_ns("1s")))) == 1


def test_spend_by_owner_names_the_person() -> None:
    """Spend is told by the billing owner, with the name that the registry has."""
    (row,) = recorded_day().reporting.spend("owner", None)

    assert row == {
        "key": "grace",
        "requests": 1,
        "usage": {"input": 1000, "output": 300, "reasoning": 200},
        "cost_nano_usd": 1_250_000,
        "name": "Grace Hopper",
        "email": "grace@acme.example",
    }


def test_what_cannot_be_asked_is_said() -> None:
    """A wrong choice or a wrong time names what can be written."""
    reporting = recorded_day().reporting

    with pytest.raises(InvalidArgumentError, match="not one of owner, unit, service"):
        reporting.spend("team", None)
    with pytest.raises(InvalidArgumentError, match="not one of allow, deny"):
        reporting.requests(RequestQuery(decision="maybe"))
    with pytest.raises(InvalidArgumentError, match="24h"):
        reporting.since_ns("yesterday")


def test_a_day_begins_in_the_organizations_zone() -> None:
    """`--since 2025-11-24` means midnight in Amsterdam, an hour before UTC's."""
    midnight_utc_ns = START_NS // (86_400 * 10**9) * 86_400 * 10**9
    reporting = recorded_day().reporting

    assert reporting.since_ns("2025-11-24") == midnight_utc_ns - 3600 * 10**9
    assert RecordedDay().reporting.since_ns("2025-11-24") == midnight_utc_ns
    assert reporting.since_ns(None) is None


def test_explain_names_everyone_who_answers() -> None:
    """The three owners, the unit's, the gateway's and the credential's person."""
    people = recorded_day().reporting.explain(SETTLED)["people"]

    assert {role: person and person["name"] for role, person in people.items()} == {
        "person": "Grace Hopper",
        "policy_owner": "Ada Lovelace",
        "billing_owner": "Grace Hopper",
        "technical_owner": "Alan Turing",
        "unit_owner": "Grace Hopper",
        "gateway_owner": "Alan Turing",
        "operator": None,
        "sponsor": None,
    }
    assert people["policy_owner"]["email"] == "ada@acme.example"


def test_explain_keeps_the_id_of_a_person_who_has_left() -> None:
    """A person who is no longer declared is still named, by the recorded id."""
    day = RecordedDay()
    day.apply(acme())
    day.decide(SETTLED, operator="edsger")

    assert day.reporting.explain(SETTLED)["people"]["operator"] == {
        "id": "edsger",
        "name": None,
        "email": None,
    }


def test_explain_shows_the_exact_records_and_where_they_stand() -> None:
    """The bytes of the journal, source and offset included."""
    day = recorded_day()
    shown = day.reporting.explain(SETTLED)["records"]

    for role, kind in (("decision", records.DECIDED), ("end", records.SETTLED)):
        place = JournalPosition(shown[role]["source"], shown[role]["offset"])
        assert day.journals.record_at(place).decode() == shown[role]["line"]
        assert shown[role]["type"] == kind
        assert shown[role]["data"]["decision_id"] == SETTLED


def test_explain_shows_how_the_cost_comes_about() -> None:
    """Class by class, with the rate that stood in, and it agrees with the record."""
    cost = recorded_day().reporting.explain(SETTLED)["cost"]

    assert cost["agrees"] is True
    assert [
        (line["usage_class"], line["units"], line["rate_class"], line["rate_pico_usd"])
        for line in cost["lines"]
    ] == [
        ("input", 1000, "input", 250_000),
        ("output", 300, "output", 2_000_000),
        ("reasoning", 200, "output", 2_000_000),
    ]
    assert sum(line["amount_pico_usd"] for line in cost["lines"]) == 1_250_000_000


def test_explain_says_when_a_cost_does_not_agree() -> None:
    """A recorded cost that its rate card does not give is shown as such."""
    day = RecordedDay()
    day.decide(SETTLED)
    day.settle(SETTLED, cost_nano_usd=1_250_001)

    assert day.reporting.explain(SETTLED)["cost"]["agrees"] is False


def test_explain_adds_up_every_model_inside_a_reply() -> None:
    """Several passes are priced one by one and sum to the cost."""
    day = RecordedDay()
    day.decide(SETTLED)
    usage = {"input": 1000, "output": 500}
    day.settle(
        SETTLED,
        usage={"input": 2000, "output": 1000},
        passes=[records.Pass("gpt-5-mini", usage, 1_250_000) for _ in range(2)],
        cost_nano_usd=2_500_000,
    )
    cost = day.reporting.explain(SETTLED)["cost"]

    assert cost["agrees"] is True
    assert len(cost["lines"]) == 4


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ({"cost_source": "provider", "cost_nano_usd": 5}, "the provider itself"),
        ({"cost_source": "estimated", "cost_nano_usd": 5}, "estimated"),
        ({"cost_source": "none", "cost_nano_usd": 0}, "nothing was billable"),
        ({"rate_card": "rc-gone"}, "rc-gone is not kept here"),
        ({"usage": {"input_audio": 1}, "cost_source": "estimated"}, "no rate"),
    ],
)
def test_explain_says_why_a_cost_is_not_the_rate_cards(
    changed: dict[str, object], note: str
) -> None:
    """Another source of the cost is named; agreement is then not claimed."""
    day = RecordedDay()
    day.decide(SETTLED)
    day.settle(SETTLED, **changed)
    cost = day.reporting.explain(SETTLED)["cost"]

    assert note in cost["note"]
    assert cost["agrees"] is None


def test_explain_does_without_a_listed_model() -> None:
    """A kept card that lacks the model is said, not raised."""
    day = RecordedDay()
    bare = rate_card("declared", {"openai": {}})
    day.cards.keep(bare)
    day.decide(SETTLED)
    day.settle(SETTLED, rate_card=bare.version)

    note = day.reporting.explain(SETTLED)["cost"]["note"]
    assert "does not list 'gpt-5-mini'" in note


def test_explain_shows_a_fee_per_request() -> None:
    """A request's own fee is a line of the calculation, and part of its sum."""
    day = RecordedDay()
    rates = ModelRates(
        "sonar", (Step(0, {"input": 1000}),), request_pico_usd=5_000_000_000
    )
    card = rate_card("declared", {"openai": {"gpt-5-mini": rates}})
    day.cards.keep(card)
    day.decide(SETTLED)
    usage = {"input": 1000}
    day.settle(
        SETTLED, rate_card=card.version, usage=usage, cost_nano_usd=1000 + 5_000_000
    )
    cost = day.reporting.explain(SETTLED)["cost"]

    assert cost["agrees"] is True
    assert [line["usage_class"] for line in cost["lines"]] == ["input", "request"]


def test_a_record_of_another_kind_is_an_error() -> None:
    """A store that points to a settlement as the decision is not believed."""
    day = recorded_day()
    row = day.store.request(SETTLED)
    assert row is not None
    assert row.ended_at is not None
    day.store._requests[SETTLED] = row._replace(decided_at=row.ended_at)

    with pytest.raises(RecordError, match="a record of A"):
        day.reporting.explain(SETTLED)


def test_explain_an_abandoned_request() -> None:
    """Its cost is its hold, and the page says why."""
    day = RecordedDay()
    day.decide(OPEN)
    abandoned = records.Abandoned(
        decision_id=OPEN,
        journal="/node/worker-1/boot",
        cost_nano_usd=10_000_000,
        usage={"input": 1500, "output": 4096},
        usage_source="hold",
    )
    day.write(records.ABANDONED, abandoned)
    found = day.reporting.explain(OPEN)

    assert found["state"] == "abandoned"
    assert found["cost"]["nano_usd"] == 10_000_000
    assert "booked at its hold" in found["cost"]["note"]


def test_explain_an_open_and_a_refused_request() -> None:
    """Without an end there is no settlement; the decision explains itself."""
    reporting = recorded_day().reporting

    assert reporting.explain(OPEN)["records"]["end"] is None
    refused = reporting.explain(REFUSED)
    assert refused["reason"] == "model_not_allowed"
    assert refused["controls"][0]["id"] == "model_allowed"


def test_an_unknown_request_is_said() -> None:
    """The message tells where to find an id."""
    with pytest.raises(NotFoundError, match="x-comptroller-request-id"):
        recorded_day().reporting.explain("nope")


def test_a_record_that_is_gone_is_an_error() -> None:
    """A store that points to no record is not papered over."""
    day = recorded_day()
    empty = RecordedDay()
    reporting = Reporting(
        ReportingParts(day.store, empty.journals, day.cards, day.clock, dict)
    )

    with pytest.raises(RecordError, match="no record begins in"):
        reporting.explain(SETTLED)


def test_the_recorded_day_has_the_shapes_of_real_records() -> None:
    """What these tests explain is decoded by the records' own types."""
    for record in recorded_day().projected.records:
        envelope = msgspec.json.decode(record.line, type=records.Envelope)
        assert envelope.source == "/node/worker-1/boot"


def test_every_change_of_the_registry_can_be_read_back() -> None:
    """An object with a body and one that was removed: exact bytes, and None."""
    actor = records.Actor(person=None, account="root@host")
    body = msgspec.Raw(b'{"id": [1, 2]}')
    kept = records.ObjectChange(
        revision=1, kind="person", id="ada", after=body, actor=actor
    )
    gone = records.ObjectChange(
        revision=2, kind="person", id="ada", before=body, actor=actor
    )

    read = msgspec.json.Decoder(records.ObjectChange).decode
    assert read(msgspec.json.encode(kept)).body == b'{"id": [1, 2]}'
    assert read(msgspec.json.encode(gone)).body is None


def test_the_reference_names_every_member_of_an_answer() -> None:
    """docs/reference/answers.md knows all members of `requests` and `explain`."""
    page = Path(__file__).parents[3] / "docs" / "reference" / "answers.md"
    documented = set(re.findall(r"`([a-z_]+)`", page.read_text()))
    found = recorded_day().reporting.explain(SETTLED)
    members = {
        *found,
        *found["people"],
        *found["model"],
        *found["hold"],
        *found["cost"],
        *found["cost"]["lines"][0],
        *found["controls"][0],
    }

    quoted = set(re.findall(r'"([a-z_]+)"', page.read_text()))
    assert members - documented == set()
    assert set(found["records"]["end"]) <= quoted
    assert set(recorded_day().reporting.spend("unit", None)[0]) <= quoted


MONTH = "service:checkout-assistant/month@2026-11"


def test_explain_shows_every_account_that_held_it() -> None:
    """The run, and each limit of the path with what was held there."""
    day = recorded_day()
    day.decide(
        "E" * 26,
        run="nightly-7",
        hold_accounts=["organization:acme/month@2026-11", MONTH],
        hold_progressive=["run:checkout-assistant/nightly-7/total@all"],
        hold_slice_nano_usd=4_000_000,
        hold_permits=["model:gpt-5-mini/parallel@now"],
    )

    found = day.reporting.explain("E" * 26)

    assert found["run"] == "nightly-7"
    assert found["hold"]["accounts"] == [
        {"account": "organization:acme/month@2026-11", "nano_usd": 10_000_000},
        {"account": MONTH, "nano_usd": 10_000_000},
        {
            "account": "run:checkout-assistant/nightly-7/total@all",
            "nano_usd": 4_000_000,
        },
        {"account": "model:gpt-5-mini/parallel@now", "requests": 1},
    ]


def test_explain_shows_the_limit_that_refused_as_it_stood() -> None:
    """Limit, spent, held and left are those of the moment, not of today."""
    day = recorded_day()
    lack = Lack(MONTH, 50_000_000, 30_000_000, 15_000_000, 1_000_000, 4_000_000, 10**18)
    refused = {"result": "deny", "reason": "budget_exhausted"}
    day.decide("E" * 26, lack=lack, **refused)
    parallel = Lack("model:gpt-5-mini/parallel@now", 8, 0, 8, 0, 0, None)
    day.decide("F" * 26, lack=parallel, **refused)
    slices = records.Control("budget", "1", True, "deny", 7_000_000)
    day.decide("G" * 26, lack=lack, controls=[slices], **refused)

    money, requests = (day.reporting.explain(one * 26)["lack"] for one in "EF")
    growing = day.reporting.explain("G" * 26)["lack"]

    assert money == {
        "account": MONTH,
        "unit": "nano_usd",
        "limit": 50_000_000,
        "spent": 30_000_000,
        "held": 15_000_000,
        "suspense": 1_000_000,
        "left": 4_000_000,
        "needed": 10_000_000,
        "short": 6_000_000,
        "resets": "2001-09-09T01:46:40.000000Z",
    }
    assert (requests["unit"], requests["needed"], requests["short"]) == (
        "requests",
        1,
        1,
    )
    assert requests["resets"] is None
    assert (growing["needed"], growing["short"]) == (7_000_000, 3_000_000)
    assert day.reporting.explain(SETTLED)["lack"] is None
