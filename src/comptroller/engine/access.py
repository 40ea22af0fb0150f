"""Readings: who was shown what of single records, recorded before it is shown.

Which commands are recorded is one rule (docs/reference/trail.md, "Readings").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from comptroller.core.errors import InvalidArgumentError
from comptroller.core.registry import Registry
from comptroller.engine.arguments import require
from comptroller.engine.batch import Batch
from comptroller.engine.records import Actor

ACCESS_READ: Final = "comptroller.access.read.v1"
SCOPE_CHARS_MAX: Final = 10_000
"""Of a scope as JSON: it says what was asked for, never what was answered."""
_COUNTS: Final = ("listed", "decided")
"""Members of a scope that say how many requests are about to be shown."""

Scope: TypeAlias = Mapping[str, str | int | list[str] | None]
"""What a reading is of: ids of requests and services, times, counts. Never what
somebody disclosed."""


class AccessRead(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `access.read`: somebody is about to be shown what records say."""

    what: str
    """The command, such as `explain` or `audit prove`."""
    scope: dict[str, str | int | list[str] | None]
    actor: Actor


class Readings:
    """Records readings, in the one process that holds the control lock.

    Args:
        registry: what is applied; None: nothing is.
        batch: begins records of one moment.
        record: makes them durable, and projects them.
    """

    def __init__(
        self,
        registry: Callable[[], Registry | None],
        batch: Callable[[], Batch],
        record: Callable[[Batch], None],
    ) -> None:
        self._registry = registry
        self._batch = batch
        self._record = record

    def note(self, what: str, scope: Scope, actor: Actor) -> None:
        """Records a reading; when this returns, it may be answered.

        Raises:
            NotFoundError: the person who reads is not declared, or nothing was found
                of a service that is not: what was typed may be anything, such as
                somebody's address, and a record is kept.
            InvalidArgumentError: what is asked for is too long to be recorded.
            JournalUnavailableError: it could not be recorded: show nothing.
        """
        registry = self._registry()
        require(actor.person, registry.people if registry is not None else (), "person")
        service = scope.get("service")
        if isinstance(service, str) and 0 in (scope.get(one) for one in _COUNTS):
            services = registry.services if registry is not None else ()
            require(service, services, "service")
        read = AccessRead(what=what, scope=dict(scope), actor=actor)
        if len(msgspec.json.encode(read.scope)) > SCOPE_CHARS_MAX:
            raise InvalidArgumentError(
                f"what is asked for has more than {SCOPE_CHARS_MAX} characters, which"
                " is more than is recorded of a reading"
            )
        batch = self._batch()
        batch.add(ACCESS_READ, f"reading/{what.replace(' ', '/')}", read)
        self._record(batch)
