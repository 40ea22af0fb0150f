"""How other gateways' counters failed at a restart, tried on our ledger.

The numbers are those of docs/reference/peers-failures.md.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from comptroller.testing.burst import Asked, counted, fire
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

INPUT, OUTPUT = 150, 50
BILL = INPUT * INPUT_NANO_USD + OUTPUT * OUTPUT_NANO_USD
ROOM = 60
NAME = "checkout"
BUDGET = f"service:{NAME}/total"


def spend(site: LimitedSite, count: int) -> int:
    """Sends so many requests at once; how many were answered."""
    asked = Asked(
        site.key(NAME),
        chat(8, max_tokens=OUTPUT),
        f"{NAME}/1",
        f"input={INPUT}, output={OUTPUT}",
    )
    answers = counted(fire(site.port, [asked] * count))
    refused = {"400 budget_exhausted", "503 overloaded", "503 ledger_unavailable"}
    assert set(answers) <= {"200", *refused}
    return answers["200"]


def spent(site: LimitedSite) -> int:
    """What our books say, which is what the provider's say."""
    found = int(site.budgets()[BUDGET]["spent_nano_usd"])
    assert found == bill_nano_usd(site.groups()[NAME])
    return found


def test_6_8_a_restart_neither_forgets_nor_repeats_what_was_spent(
    tmp_path: Path,
) -> None:
    """Four cold workers do not multiply it; an old copy of the store does not lower it.

    Nor does the loss of the store: the journals are the authority.
    """
    services = one_unit({NAME: service(budget=usd(ROOM * BILL))})
    with limited_site(tmp_path, services, 1) as site:
        before = spend(site, 10)
        assert spent(site) == before * BILL > 0
        site.stop()
        store = site.data / "store.sqlite3"
        old = tmp_path / "old.sqlite3"
        shutil.copy(store, old)

        site.start(1)
        before += spend(site, 10)
        assert spent(site) == before * BILL
        site.stop()
        remove(store)
        shutil.copy(old, store)

        site.start(1)
        assert spent(site) == before * BILL
        site.stop()
        remove(store)

        site.start(4)
        assert spent(site) == before * BILL
        answered = before + spend(site, 3 * ROOM)
        assert answered <= ROOM
        assert spent(site) == answered * BILL
        assert site.contradictions() == []


def remove(store: Path) -> None:
    for path in store.parent.glob(f"{store.name}*"):
        path.unlink()
