"""The ledger cannot be asked: requests go on within leases, then are refused.

Nothing is admitted that no lease covers, and nothing is lost when the ledger is back.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from comptroller.testing.burst import Answered, Asked, counted, fire
from comptroller.testing.limited import (
    INPUT_NANO_USD,
    OUTPUT_NANO_USD,
    LimitedSite,
    bill_nano_usd,
    chat,
    limited_site,
    one_unit,
    service,
    usd,
)
from comptroller.testing.tree import await_true, told

OUTPUT = 50
INPUT = 150
BILL = INPUT * INPUT_NANO_USD + OUTPUT * OUTPUT_NANO_USD
ROOM = 400
BATCH = 20
WITHIN_S = 40.0
REFUSED = "503 ledger_unavailable"

Fault = Callable[[LimitedSite], AbstractContextManager[None]]


@contextmanager
def control_stopped(site: LimitedSite) -> Iterator[None]:
    """The control process does nothing."""
    assert site.tree is not None
    pid = site.tree.children()["control"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def store_locked(site: LimitedSite) -> Iterator[None]:
    """Another process has the store for itself."""
    place = site.data / "store.sqlite3"
    with contextlib.closing(sqlite3.connect(place, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def disk_full(site: LimitedSite) -> Iterator[None]:
    """The control process, and each that follows it, cannot write to any file."""
    limit_files(site, 0)
    try:
        yield
    finally:
        limit_files(site, None)


def limit_files(site: LimitedSite, bytes_max: int | None) -> None:
    assert site.tree is not None
    pids = [site.tree.process.pid]
    pids += [pid for name, pid in site.tree.children().items() if name == "control"]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            soft = hard if bytes_max is None else bytes_max
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


FAULTS: dict[str, Fault] = {
    "control-stopped": control_stopped,
    "store-locked": store_locked,
    "disk-full": disk_full,
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedSite]:
    """Two workers; a service with a budget for every fault."""
    services = {name: service(budget=usd(ROOM * BILL)) for name in FAULTS}
    folder = tmp_path_factory.mktemp("stopped")
    with limited_site(folder, one_unit(services)) as one:
        yield one


class Caller:
    """Sends requests of one service in batches."""

    def __init__(self, site: LimitedSite, name: str) -> None:
        self._site = site
        self._key = site.key(name)
        self._name = name
        self._sent = 0
        self.counts: Counter[str] = Counter()

    def batch(self) -> list[Answered]:
        """So many at once; what came back."""
        simulate = f"input={INPUT}, output={OUTPUT}"
        asked = [
            Asked(
                self._key,
                chat(8, max_tokens=OUTPUT),
                f"{self._name}/{self._sent + number}",
                simulate,
            )
            for number in range(BATCH)
        ]
        self._sent += BATCH
        answers = fire(self._site.port, asked)
        self.counts += counted(answers)
        return answers

    def until(self, kind: str) -> list[Answered]:
        """Batches until one has but answers of a kind; all answers before and in it."""
        seen: list[Answered] = []
        end_s = time.monotonic() + WITHIN_S
        while True:
            answers = self.batch()
            seen += answers
            if set(counted(answers)) == {kind}:
                return seen
            assert time.monotonic() < end_s, counted(answers)


@pytest.mark.parametrize("name", FAULTS)
def test_requests_go_on_within_leases_and_then_are_refused(
    name: str, site: LimitedSite
) -> None:
    """Then `ledger_unavailable`; when it is back all is there, and the budget holds."""
    caller = Caller(site, name)
    before = caller.until("200")
    with FAULTS[name](site):
        during = caller.until(REFUSED)
        refused = during[-1]
        kinds = {"200", REFUSED, "503 overloaded"}
        assert set(counted(during)) <= kinds, counted(during)
        assert json.loads(refused.body)["error"]["code"] == "ledger_unavailable"
        assert refused.headers["x-should-retry"] == "true"
        assert int(refused.headers["retry-after"]) >= 1
    within = counted(during)["200"]
    await_true(lambda: counted(caller.batch())["200"] > 0, WITHIN_S)
    after = caller.until("400 budget_exhausted")
    print(f"{name}: {len(before)} before, {within} within leases, then {len(after)}")
    assert within > 0
    check_nothing_is_lost(site, name, caller)


def check_nothing_is_lost(site: LimitedSite, name: str, caller: Caller) -> None:
    """The provider's bill is what is spent; every answer has its row."""
    group = site.groups()[name]
    row = site.budgets()[f"service:{name}/total"]
    rows = told(site.folder, "requests", "--all", "--service", name)
    states = Counter(one["state"] for one in rows)
    assert group["requests"] == caller.counts["200"] == states["settled"]
    assert sum(states.values()) == caller.counts.total()
    assert bill_nano_usd(group) == row["spent_nano_usd"]
    assert row["spent_nano_usd"] <= row["limit_nano_usd"] == ROOM * BILL
    assert row["held_nano_usd"] == 0
    assert site.contradictions() == []
