"""What a worker holds from its leases, and what it asks the centre for."""

from __future__ import annotations

from comptroller.testing.lessee import World, limited_registry, month_budget

MONTH = "service:checkout/month@2025-11"


def test_a_request_is_held_with_what_the_centre_grants() -> None:
    """What lacks is asked for once, and more, so that the next request fits."""
    world = World()
    world.centre.limits[MONTH] = 10**9
    lessee = world.lessee(limited_registry(month_budget()))

    assert lessee.hold(1000) is None
    need = lessee.ask(1000)
    world.timers.advance(0.01)

    assert lessee.answer(need) is None
    assert lessee.hold(1000) is not None
    assert len(lessee.desk.asked) == 1
