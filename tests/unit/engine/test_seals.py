"""Seals, compared with their lines as somebody else would."""

from __future__ import annotations

from hashlib import sha256

import msgspec
import pytest

from comptroller.engine.records import JOURNAL_CLOSED, JOURNAL_SEALED
from comptroller.engine.seals import SealCheck
from comptroller.testing.seals import check_seals

SOURCE = "/n/w0/1"


def line(sequence: int, kind: str = "t", /, **data: object) -> bytes:
    return msgspec.json.encode(
        {"source": SOURCE, "type": kind, "sequence": str(sequence), "data": data}
    )


def journal(*seals: int, count: int = 12) -> list[bytes]:
    """A journal that is sealed at these places and at its end."""
    lines: list[bytes] = []
    begin = 0
    for place in range(count):
        is_last = place == count - 1
        if place in seals or is_last:
            covered = b"".join(one + b"\n" for one in lines[begin:])
            said = {"from": begin, "sha256": sha256(covered).hexdigest()}
            kind = JOURNAL_CLOSED if is_last else JOURNAL_SEALED
            lines.append(line(place, kind, **said))
            begin = place
        else:
            lines.append(line(place, n=place))
    return lines


def problems(lines: list[bytes], check: SealCheck | None = None) -> list[str]:
    """What is found, of lines at their places."""
    check = check or SealCheck()
    found = []
    for one in lines:
        head = msgspec.json.decode(one)
        found.append(check.take(SOURCE, int(head["sequence"]), head["type"], one))
    return [one for one in found if one]


@pytest.mark.parametrize("seals", [(), (3,), (4, 8), (1, 2, 3)])
def test_seals_that_are_right_are_passed(seals: tuple[int, ...]) -> None:
    """And another program says the same."""
    lines = journal(*seals)
    assert problems(lines) == []
    assert check_seals(lines).broken == []


@pytest.mark.parametrize("place", range(11))
def test_every_edited_line_breaks_the_seal_after_it(place: int) -> None:
    """One seal, and only that one: the one that another program names, too."""
    lines = journal(4, 8)
    lines[place] = lines[place].replace(b'"source"', b'"Source"', 1)
    lines[place] = lines[place].replace(b'"Source"', b'"source"', 1) + b" "
    [problem] = problems(lines)
    [broken] = check_seals(lines).broken
    assert f" to {broken - 1}: the journal was edited" in problem


def test_a_line_that_is_missing_is_no_edited_one() -> None:
    """Its gap is told by whoever counts; the seal after the next is checked again."""
    lines = journal(4, 8)
    assert problems([*lines[:2], *lines[3:]]) == []
    lines[6] += b" "
    assert len(problems([*lines[:2], *lines[3:]])) == 1
    assert problems(lines[6:]) == [], "its begin is not there"


def test_a_journal_of_which_lines_do_not_come_is_passed_once() -> None:
    """A broken line has no sequence, and is not among those that are taken."""
    lines, check = journal(4, 8), SealCheck()
    assert problems(lines[:2], check) == []
    check.forget(SOURCE)
    check.forget("/n/w9/9")
    lines[2] += b" "
    assert problems(lines[2:], check) == []


def test_a_journal_from_before_seals_has_none() -> None:
    """Its end says nothing; where there was a seal, its end says something."""
    plain = [line(0), line(1), line(2, JOURNAL_CLOSED)]
    assert problems(plain) == []
    sealed = journal(4)
    sealed[-1] = line(11, JOURNAL_CLOSED)
    assert len(problems(sealed)) == 1


@pytest.mark.parametrize("data", [b"3", b"[]", b'{"from":"0"}', b"{"])
def test_a_seal_that_cannot_be_read_is_wrong(data: bytes) -> None:
    """Nobody's process writes one."""
    lines = journal()
    lines[-1] = line(11, JOURNAL_CLOSED).replace(b'"data":{}', b'"data":' + data)
    check = SealCheck()
    for place, one in enumerate(lines[:-1]):
        assert not check.take(SOURCE, place, "t", one)
    assert check.take(SOURCE, 11, JOURNAL_CLOSED, lines[-1])
