from __future__ import annotations

from pathlib import Path

import pytest

from comptroller.adapters.system import (
    EnvFileSecretResolver,
    SystemClock,
    SystemEntropy,
    UlidIds,
)
from comptroller.core.errors import ConfigurationError
from comptroller.testing.system import FakeClock, SeededEntropy

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class LastDraw:
    """Entropy at its upper end, so that counting up runs over at once."""

    def token(self, bytes_count: int) -> bytes:
        """All ones."""
        return b"\xff" * bytes_count


def decode(ulid: str) -> int:
    number = 0
    for char in ulid:
        number = number << 5 | CROCKFORD.index(char)
    return number


def test_ulids_increase_whatever_the_clock_does() -> None:
    """Ids sort in the order of their making, also when the clock goes back."""
    clock = FakeClock()
    ids = UlidIds(clock, SeededEntropy())
    made: list[str] = []
    for step in (0, 0, 0.001, -5.0, 0, 7.0, 0):
        clock.advance(step)
        made.extend(ids.new() for _ in range(50))
    assert made == sorted(set(made))
    assert {len(one) for one in made} == {26}


def test_a_ulid_holds_its_time_and_randomness() -> None:
    """Its first 48 bits are the milliseconds, as the ULID format has it."""
    clock = FakeClock()
    first = decode(UlidIds(clock, SeededEntropy(1)).new())
    other = decode(UlidIds(clock, SeededEntropy(2)).new())
    assert first >> 80 == clock.now_ns() // 1_000_000
    drawn = int.from_bytes(SeededEntropy(1).token(10), "big")
    assert first & ((1 << 80) - 1) == drawn
    assert first != other


def test_a_used_up_random_part_borrows_the_next_millisecond() -> None:
    """Order holds even when the random part runs over."""
    clock = FakeClock()
    ids = UlidIds(clock, LastDraw())
    last, over = decode(ids.new()), decode(ids.new())
    assert over == last + 1
    assert over >> 80 == clock.now_ns() // 1_000_000 + 1


def test_ids_of_the_real_parts_are_unique() -> None:
    """Ten thousand ids on the system's clock and randomness are all different."""
    ids = UlidIds(SystemClock(), SystemEntropy())
    made = [ids.new() for _ in range(10_000)]
    assert made == sorted(set(made))


def test_monotonic_time_moves_on() -> None:
    """Durations are never negative."""
    clock = SystemClock()
    earlier = clock.monotonic_s()
    assert clock.monotonic_s() >= earlier
    assert clock.now_ns() > 1_700_000_000_000_000_000


def test_secrets_come_from_environment_and_files(tmp_path: Path) -> None:
    """Both kinds of reference give the secret without its trailing newline."""
    (tmp_path / "key").write_text("from-file\r\n")
    resolver = EnvFileSecretResolver({"KEY": "from-env\n"}, tmp_path)
    assert resolver.resolve("env:KEY") == "from-env"
    assert resolver.resolve("file:key") == "from-file"
    assert resolver.resolve(f"file:{tmp_path / 'key'}") == "from-file"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("env:ABSENT", "environment variable ABSENT is not set"),
        ("env:EMPTY", "env:EMPTY is empty"),
        ("file:absent", "file:absent cannot be read: No such file"),
        ("file:.", "file:. cannot be read: Is a directory"),
        ("file:binary", "file:binary is not text"),
        ("file:two", "file:two holds more than one line"),
        ("env:ODD", "env:ODD holds more than one line, or characters that no header"),
        ("sk-pasted-secret", "must read env:NAME or file:PATH"),
        ("env:", "must read env:NAME or file:PATH"),
    ],
)
def test_a_missing_secret_names_its_reference_only(
    tmp_path: Path, reference: str, message: str
) -> None:
    """The message says where to put the secret and never repeats a value."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00hush")
    (tmp_path / "two").write_text("hush\nhush\n")
    environment = {"EMPTY": "", "ODD": "sk-\u20acuro"}
    resolver = EnvFileSecretResolver(environment, tmp_path)
    with pytest.raises(ConfigurationError) as raised:
        resolver.resolve(reference)
    assert message in raised.value.message
    assert "hush" not in raised.value.message
    assert "pasted" not in raised.value.message
