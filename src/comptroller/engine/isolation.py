"""Isolation: a stored object belongs to the tenant that made it.

Pure: who made what was found out before. An object of another tenant and one that
nobody made are refused in the same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from comptroller.engine.objects import Owned
from comptroller.engine.refusals import Refusal
from comptroller.wire.references import ObjectKind, Reference

SHOWN_CHARACTERS_MAX: Final = 128
PATH: Final = "path"
"""Where a reference stands that the request's path is."""
OBJECT_NOT_FOUND: Final = "object_not_found"

OWNERSHIP_UNAVAILABLE: Final = Refusal(
    503,
    "ownership_unavailable",
    "The request names a stored object, and the control process does not say at "
    "present whose it is; try again shortly.",
    retry=True,
)


def not_its_own(
    tenant: str, provider: str, named: Sequence[Reference], owned: Sequence[Owned]
) -> tuple[Reference, ...]:
    """The objects that a tenant names and did not make.

    Args:
        tenant: who names them.
        provider: where the request would go; another one's objects are not there.
        named: the objects.
        owned: what was found out of them.
    """
    its = {(one.kind, one.id) for one in owned_at(tenant, provider, owned)}
    return tuple([one for one in named if (one.kind, one.id) not in its])


def elsewhere(
    provider: str, named: Sequence[Reference], owned: Sequence[Owned]
) -> tuple[Reference, ...]:
    """The objects that are known to be at other providers, and only there."""
    places: dict[tuple[str, str], set[str]] = {}
    for one in owned:
        places.setdefault((one.kind, one.id), set()).add(one.provider)
    return tuple(
        [
            one
            for one in named
            if provider not in places.get((one.kind, one.id), {provider})
        ]
    )


def owned_at(tenant: str, provider: str, owned: Sequence[Owned]) -> list[Owned]:
    """What a tenant has at a provider."""
    return [one for one in owned if (one.tenant, one.provider) == (tenant, provider)]


def not_found(reference: Reference) -> Refusal:
    """What a client is told of an object that is not its own, whoever has it."""
    shown = reference.id[:SHOWN_CHARACTERS_MAX]
    if reference.kind is ObjectKind.RESPONSE:
        what = "Response" if reference.field == PATH else "Previous response"
        message = f"{what} with id {shown!r} not found."
    else:
        kind = str(reference.kind).replace("_", " ")
        message = (
            f"The {kind} {shown!r} ({reference.field}) was not found. Only what this"
            " gateway has seen made can be named: send its content instead."
        )
    return Refusal(404, OBJECT_NOT_FOUND, message)
