"""The registry as stored: JSON bodies, one an object, folded back into a Registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from comptroller.core.difference import (
    KIND_TYPES,
    ObjectKey,
    RegistryValue,
    objects,
    registry_from_objects,
)
from comptroller.core.registry import Registry
from comptroller.engine import people
from comptroller.engine.ports import RegistryObject

_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODERS = {kind: msgspec.json.Decoder(form) for kind, form in KIND_TYPES.items()}


def encode_object(value: RegistryValue) -> bytes:
    """Writes one object as JSON; equal values give equal bytes."""
    return _ENCODER.encode(value)


def decode_object(kind: str, body: bytes) -> RegistryValue:
    """Reads what `encode_object` wrote of an object of a kind.

    Raises:
        msgspec.ValidationError: it is not an object of its kind.
        KeyError: the kind is unknown.
    """
    return _DECODERS[kind].decode(body)


def registry_objects(registry: Registry) -> list[RegistryObject]:
    """Takes a registry apart into what a store keeps."""
    return [
        RegistryObject(kind, name, encode_object(value))
        for (kind, name), value in objects(registry).items()
    ]


def fold(
    stored: Iterable[RegistryObject], disclosures: Mapping[str, str] | None = None
) -> Registry | None:
    """Puts together the registry that was stored.

    Args:
        stored: its objects.
        disclosures: what is disclosed of people, by commitment; None: whoever asks
            needs their ids alone.

    Returns:
        None when nothing was ever applied, so there are no objects.

    Raises:
        msgspec.ValidationError: a body is not an object of its kind.
        KeyError: a kind is unknown, or the organization or gateway is missing.
    """
    parts: dict[ObjectKey, RegistryValue] = {
        (one.kind, one.id): (
            people.read_person(one.body, disclosures or {})
            if one.kind == people.KIND
            else decode_object(one.kind, one.body)
        )
        for one in stored
    }
    return registry_from_objects(_ordered(parts)) if parts else None


def _ordered(parts: dict[ObjectKey, RegistryValue]) -> dict[ObjectKey, RegistryValue]:
    # A store gives no order; sorted ids make the same registry look the same.
    return dict(sorted(parts.items()))
