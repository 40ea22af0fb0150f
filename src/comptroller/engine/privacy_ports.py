"""Ports of the side table of disclosures, and of the keys of fingerprints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec


class DisclosureLine(msgspec.Struct, frozen=True, gc=False):
    """One line of the side table: what discloses a request's personal fields.

    Or what discloses a person of the configuration; these lines stand by themselves.
    """

    id: str
    """Of the decision, or of the person."""
    disclosures: list[str]


class Span(NamedTuple):
    """Bytes of the side table."""

    file: str
    """Its path in the table."""
    offset: int
    size: int


class Held(NamedTuple):
    """A line of the side table and where it stands."""

    line: DisclosureLine
    span: Span


class DisclosureSink(Protocol):
    """Where a worker writes its disclosures."""

    def append(self, line: bytes) -> None:
        """Writes a line with its line feed; one that cannot be written is lost.

        What was written survives a kill of the process. Never raises.
        """

    def close(self) -> None:
        """Lets go of the file."""


class DisclosureTable(Protocol):
    """All disclosures of a data directory, while workers append to it."""

    def lines(self, trace: bytes = b"") -> Sequence[Held]:
        """What discloses requests, oldest first; blanks and unfinished lines left out.

        Args:
            trace: only lines in which these bytes stand.

        Raises:
            StoreUnavailableError: the disk does not answer.
        """

    def people(self) -> Sequence[Held]:
        """What discloses people of the configuration, in the order it was kept.

        Raises:
            StoreUnavailableError: the disk does not answer.
        """

    def keep(self, name: str, lines: Sequence[DisclosureLine]) -> None:
        """Keeps durably what discloses people.

        Args:
            name: under which nothing was kept before; later names sort after it.
            lines: by the ids of the people.

        Raises:
            StoreUnavailableError: the disk refuses; some may be kept.
        """

    def broken(self) -> Sequence[Span]:
        """What cannot be read, in files that nobody writes to any more.

        Raises:
            StoreUnavailableError: the disk does not answer.
        """

    def blank(self, spans: Sequence[Span]) -> None:
        """Overwrites bytes with blanks, durably; doing so again changes nothing.

        Raises:
            StoreUnavailableError: the disk refuses; some may be overwritten.
        """

    def intend(self, intent: bytes) -> None:
        """Keeps durably what is about to be done, in place of what was.

        Raises:
            StoreUnavailableError: the disk refuses; nothing is kept.
        """

    def intent(self) -> bytes | None:
        """What was about to be done; None: nothing.

        Raises:
            StoreUnavailableError: the disk does not answer.
        """

    def forget(self) -> None:
        """It is done.

        Raises:
            StoreUnavailableError: the disk refuses.
        """


class PromptKeys(Protocol):
    """The keys of the tenants' prompt fingerprints."""

    def prepare(self, tenants: Sequence[str], make: Callable[[], bytes]) -> None:
        """Makes a key for every tenant that has none yet, durably.

        Raises:
            StoreUnavailableError: the disk refuses.
        """

    def read(self, tenants: Sequence[str]) -> dict[str, bytes]:
        """The keys that there are, by tenant; one that is unusable is not there."""
