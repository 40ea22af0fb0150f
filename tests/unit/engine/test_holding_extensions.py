"""Holds that grow while a reply streams."""

from __future__ import annotations

import pytest

from comptroller.testing.lessee import Lessee, World, limited_registry
from comptroller.testing.lessee import month_budget as budget

MONTH = "service:checkout/month@2025-11"


def progressive() -> Lessee:
    world = World()
    world.centre.limits = {MONTH: 1000}
    return world.lessee(limited_registry(budget(hold="progressive")))


def test_a_hold_grows_while_its_reply_streams() -> None:
    """An extension makes the slice larger, and it is settled as a whole."""
    lessee = progressive()
    need = lessee.ask(300)
    lessee.world.timers.advance(0.05)
    told: list[object] = []

    assert not lessee.holding.extend_now(lessee.path(), need, 1000)
    lessee.holding.extend(lessee.path(), need, 200, told.append, 1.0)
    lessee.world.timers.advance(0.05)

    assert told == [None]
    assert need.slice_nano_usd == 500
    assert lessee.holding.book.balance(MONTH).held == 500
    lessee.settle(need, 450)
    lessee.holding.drain()
    assert lessee.world.centre.spent[MONTH] == 450
    assert lessee.world.centre.leased(MONTH) == 0


def test_an_extension_from_what_is_here_needs_no_waiting() -> None:
    """While the worker's lease lasts a stream is extended at once."""
    lessee = progressive()
    need = lessee.ask(100)
    lessee.world.timers.advance(0.05)

    assert lessee.holding.book.balance(MONTH).available >= 50
    assert lessee.holding.extend_now(lessee.path(), need, 50)
    assert need.slice_nano_usd == 150


def test_an_extension_that_nothing_covers_is_refused() -> None:
    """Then the stream is ended; what it holds already is still held."""
    lessee = progressive()
    need = lessee.ask(900)
    lessee.world.timers.advance(0.05)
    told: list[object] = []
    lessee.holding.extend(lessee.path(), need, 200, told.append, 0.5)
    lessee.world.timers.advance(2)

    assert len(told) == 1
    assert told[0] is not None
    assert need.slice_nano_usd == 900
    assert lessee.holding.book.balance(MONTH).held == 900


@pytest.mark.parametrize("is_served", [False, True])
def test_a_cancelled_extension_leaves_the_hold_as_it_was(*, is_served: bool) -> None:
    """Whether it still waits or is served, and has yet to hear of it."""
    lessee = progressive()
    need = lessee.ask(100)
    lessee.world.timers.advance(0.05)
    more = 50 if is_served else 2000
    told: list[object] = []
    waiting = lessee.holding.extend(lessee.path(), need, more, told.append, 0.5)
    assert need.slice_nano_usd == (150 if is_served else 100)

    lessee.holding.cancel(waiting)
    lessee.world.timers.advance(2)

    assert told == []
    assert need.slice_nano_usd == 100
    assert lessee.holding.book.balance(MONTH).held == 100


def test_an_extension_of_a_request_that_ended_is_not_held() -> None:
    """Its stream ended while it waited: it is told so, and nothing is held."""
    lessee = progressive()
    need = lessee.ask(900)
    lessee.world.timers.advance(0.05)
    told: list[object] = []
    lessee.holding.extend(lessee.path(), need, 200, told.append, 0.5)
    lessee.settle(need, 0)
    lessee.world.timers.advance(2)

    assert len(told) == 1
    assert told[0] is not None
    assert lessee.holding.book.balance(MONTH).held == 0
