"""Fakes of the side table of disclosures and of fingerprint keys, in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from comptroller.engine.privacy_ports import DisclosureLine, Held, Span

FILE = "memory"
PEOPLE = "people"


class InMemoryDisclosures:
    """Satisfies `DisclosureTable` and `DisclosureSink`."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.kept_of_people = bytearray()
        """The lines that disclose people of the configuration."""
        self.kept: bytes | None = None
        """The intent."""

    def append(self, line: bytes) -> None:
        """Takes a line."""
        self.content += line

    def close(self) -> None:
        """Nothing is open."""

    def lines(self, trace: bytes = b"") -> Sequence[Held]:
        """Every line that is not blank and has these bytes."""
        return _read(self.content, FILE, trace)

    def people(self) -> Sequence[Held]:
        """Every line that was kept and is not blank."""
        return _read(self.kept_of_people, PEOPLE)

    def keep(self, name: str, lines: Sequence[DisclosureLine]) -> None:
        """Takes lines; the name is of no use here."""
        del name
        for line in lines:
            self.kept_of_people += msgspec.json.encode(line) + b"\n"

    def broken(self) -> Sequence[Span]:
        """What stands after the last whole line."""
        begin = self.content.rfind(b"\n") + 1
        size = len(self.content) - begin
        return (Span(FILE, begin, size),) if self.content[begin:].strip() else ()

    def blank(self, spans: Sequence[Span]) -> None:
        """Overwrites bytes with blanks."""
        for file, offset, size in spans:
            content = self.kept_of_people if file == PEOPLE else self.content
            content[offset : offset + size] = b" " * size

    def intend(self, intent: bytes) -> None:
        """Keeps it."""
        self.kept = intent

    def intent(self) -> bytes | None:
        """What is kept."""
        return self.kept

    def forget(self) -> None:
        """Keeps nothing."""
        self.kept = None


def _read(content: bytearray, file: str, trace: bytes = b"") -> list[Held]:
    found, offset = [], 0
    for text in bytes(content).split(b"\n")[:-1]:  # the last one has no end
        if trace in text and text.strip():
            line = msgspec.json.decode(text, type=DisclosureLine)
            found.append(Held(line, Span(file, offset, len(text))))
        offset += len(text) + 1
    return found


class InMemoryPromptKeys:
    """Satisfies `PromptKeys`."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def prepare(self, tenants: Sequence[str], make: Callable[[], bytes]) -> None:
        """Makes what is not there yet."""
        for tenant in tenants:
            if tenant not in self.kept:
                self.kept[tenant] = make()

    def read(self, tenants: Sequence[str]) -> dict[str, bytes]:
        """Those that there are."""
        return {one: self.kept[one] for one in tenants if one in self.kept}
