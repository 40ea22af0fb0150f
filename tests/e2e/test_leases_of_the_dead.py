"""Leases of real workers that are stopped, killed, and lost with their journals."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing

import pytest

from comptroller.adapters.store.ledger import SqliteLedger
from comptroller.bootstrap import Place
from comptroller.testing.burst import Asked, counted, fire
from comptroller.testing.limited import (
    LimitedSite,
    chat,
    limited_site,
    one_unit,
    service,
)
from comptroller.testing.tree import await_true, kill_dead, run_command, told

WAIT_S = 20.0


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedSite]:
    tenants = one_unit({"spender": service(budget="100 USD/month")})
    with limited_site(tmp_path_factory.mktemp("dead"), tenants, workers=1) as one:
        asked = Asked(one.key("spender"), chat(max_tokens=100))
        assert counted(fire(one.port, [asked] * 20)) == {"200": 20}
        yield one


def leased(site: LimitedSite) -> dict[str, int]:
    """What each holder has left, of those that have something."""
    run_command(site.folder, "budget", "list")  # so that the store is up to date
    with closing(SqliteLedger.open(Place(site.data).store)) as ledger:
        return {one.holder: one.left for one in ledger.leases() if one.left}


def worker(site: LimitedSite) -> int:
    """The process id of the one worker that lives."""
    assert site.tree is not None
    found: list[int] = []

    def is_found() -> bool:
        assert site.tree is not None
        found[:] = [
            pid for name, pid in site.tree.children().items() if name.startswith("w")
        ]
        return len(found) == 1

    await_true(is_found, WAIT_S)
    return found[0]


def test_a_stopped_worker_keeps_its_leases_and_a_killed_one_does_not(
    site: LimitedSite,
) -> None:
    """SIGSTOP changes nothing, however long; SIGKILL gives all back, soon."""
    (holder,) = leased(site)
    before = leased(site)[holder]
    pid = worker(site)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        await_true(lambda: leased(site) != {holder: before}, 4)
    assert kill_dead(pid)
    await_true(lambda: holder not in leased(site), WAIT_S)
    assert site.contradictions() == []
    assert worker(site) != pid


def test_a_lost_journal_waits_for_a_person(site: LimitedSite) -> None:
    """What its worker may have spent counts as spent until somebody settles it."""
    (holder,) = leased(site)
    left = leased(site)[holder]
    assert site.tree is not None
    control = site.tree.children()["control"]
    os.kill(control, signal.SIGSTOP)
    assert kill_dead(worker(site))
    name = holder.strip("/").replace("/", ".")
    Place(site.data).journal.joinpath(f"{name}.jsonl").unlink()
    os.kill(control, signal.SIGCONT)

    def in_suspense() -> list[dict[str, object]]:
        found: list[dict[str, object]] = told(site.folder, "budget", "suspense", "list")
        return found

    await_true(lambda: len(in_suspense()) == 1, WAIT_S)
    with closing(SqliteLedger.open(Place(site.data).store)) as ledger:
        (lost,) = ledger.suspense()
    assert (lost.holder, lost.suspense, lost.left) == (holder, left, 0)
    words = ("budget", "suspense", "settle", holder, lost.account, "--spent", "0 USD")
    run_command(site.folder, *words, "--reason", "the disk is gone", "--by", "ada")
    assert in_suspense() == []
    assert site.contradictions() == []
    answered = fire(site.port, [Asked(site.key("spender"), chat(max_tokens=100))])
    assert counted(answered) == {"200": 1}
