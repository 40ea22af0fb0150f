"""Separation of duties: what one person asks for, another one approves."""

from __future__ import annotations

from typing import Final

from comptroller.core.errors import ConflictError
from comptroller.core.registry import Registry

_NAMES_SHOWN: Final = 8


def check_separation(
    registry: Registry, author: str, approver: str, what: str, option: str
) -> bool:
    """Whether duties are separated here.

    Args:
        registry: what is applied; where it does not say, duties are separated as
            soon as there are two people.
        author: who wrote it, or asks for it.
        approver: who approves it.
        what: the author did, in words, for the message.
        option: by which an approver is named.

    Raises:
        ConflictError: they are separated, and both are one person.
    """
    wanted = registry.gateway.separation_of_duties
    is_separated = len(registry.people) > 1 if wanted is None else wanted
    if is_separated and author == approver:
        others = [one for one in sorted(registry.people) if one != author]
        shown = ", ".join(others[:_NAMES_SHOWN])
        shown += ", …" if len(others) > _NAMES_SHOWN else ""
        raise ConflictError(
            f"{author} {what}, so another person has to approve it"
            f" (separation_of_duties): {option} with one of {shown or 'nobody'}"
        )
    return is_separated
