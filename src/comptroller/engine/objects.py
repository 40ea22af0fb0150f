"""Objects: who made what a provider stores, and how a worker asks for it.

The control process knows it from the records: a reply that stores something says so
where it is settled. A worker asks for what it does not remember, and is told only what
belongs to the tenant that it asks for: what belongs to another, and what nobody made,
are answered alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from comptroller.engine.records import Stored
from comptroller.wire.references import ObjectKind

IDS_MAX: Final = 512
"""In one ask."""


class Owned(msgspec.Struct, frozen=True):
    """One stored object of a provider, and who made it."""

    id: str
    provider: str
    kind: str
    """See `wire.references.ObjectKind`."""
    tenant: str
    service: str
    model: str
    """The model that made it, as the registry names it."""
    request_id: str
    """Of the request that made it."""


class Maker(NamedTuple):
    """Who made what a reply names."""

    tenant: str
    service: str
    request_id: str


class AskedObject(msgspec.Struct, frozen=True):
    """An object that somebody names."""

    tenant: str
    """Whose it should be."""
    id: str


class Whose(msgspec.Struct, frozen=True, tag="whose"):
    """Asks which of these objects belong to the tenants that name them."""

    objects: list[AskedObject]
    """At most IDS_MAX."""


class Owners(msgspec.Struct, frozen=True):
    """The answer: those that do. Another one, of whomever, is not in it."""

    objects: list[Owned]


def made(stored: Stored, maker: Maker) -> list[Owned]:
    """What a request made at its provider."""
    kinds = [(stored.response, ObjectKind.RESPONSE)]
    kinds += [(one, ObjectKind.ITEM) for one in stored.items]
    return [
        Owned(
            object_id,
            stored.provider,
            kind,
            maker.tenant,
            maker.service,
            stored.model,
            maker.request_id,
        )
        for object_id, kind in kinds
    ]


def owned_of(asked: Whose, found: Sequence[Owned]) -> list[Owned]:
    """The objects that belong to who asks for them."""
    wanted = {(one.tenant, one.id) for one in asked.objects}
    return [one for one in found if (one.tenant, one.id) in wanted]


def is_answered(asked: Whose, owned: Sequence[Owned]) -> bool:
    """Whether every object is known to belong to who asks for it."""
    known = {(one.tenant, one.id) for one in owned}
    return all((one.tenant, one.id) in known for one in asked.objects)
