"""Counts as providers write them: whole numbers, mostly.

What is not a plausible count is treated as missing and never raises: a meter
reads whatever a provider sends.
"""

from __future__ import annotations

import json
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

import msgspec

from comptroller.core.money import NANO_PER_USD

COUNT_MAX: Final = 10**12
_DIGITS_MAX: Final = 15
_COST_USD_MAX: Final = Decimal(10**6)
_REPAIR_BYTES_MAX: Final = 4 * 1024 * 1024

_BLOCK: Final = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)

UNREADABLE: Final = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)
"""What decoding bytes of a stranger may raise."""


def count(value: object) -> int:
    """Reads a count; 0 when it is none.

    Args:
        value: an int, a whole decimal, or a string of digits. Everything else,
            a bool, a negative and an absurd number included, counts as missing.
    """
    if type(value) is int:
        return value if 0 <= value <= COUNT_MAX else 0
    if isinstance(value, Decimal):
        # Bounds first: the integer of 1e999999 would not fit into memory.
        is_whole = 0 <= value <= COUNT_MAX and value == value.to_integral_value()
        return int(value) if is_whole else 0
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value) if len(value) <= _DIGITS_MAX else 0
    return 0


def first_count(*values: object) -> int:
    """The first that is more than nothing."""
    for value in values:
        found = count(value)
        if found:
            return found
    return 0


def block(raw: bytes) -> dict[str, Any] | None:
    """Reads a usage block; floats become exact decimals. None: not an object."""
    try:
        return _BLOCK.decode(raw)
    except UNREADABLE:
        return None


def inner(outer: dict[str, Any], *names: str) -> dict[str, Any]:
    """The first object under these names, else an empty one."""
    for name in names:
        value = outer.get(name)
        if isinstance(value, dict):
            return value
    return {}


def nano_usd(value: object) -> int | None:
    """A cost in USD as nano-USD, half up; None: not a plausible cost."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    amount = Decimal(value)
    if not 0 <= amount <= _COST_USD_MAX:
        return None
    return int((amount * NANO_PER_USD).to_integral_value(ROUND_HALF_UP))


def text_bytes(value: object) -> int:
    """UTF-8 bytes of a generated text; 0 when it is none."""
    if not isinstance(value, str):
        return 0
    return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))


def text_or_none(value: object) -> str | None:
    """The string, if it is one and not empty."""
    return value if isinstance(value, str) and value else None


def repaired(data: bytes) -> bytes | None:
    """Writes JSON anew that only a lenient parser reads.

    Half of a surrogate pair and NaN occur in real replies; they must not cost
    us the usage that stands beside them.
    """
    if len(data) > _REPAIR_BYTES_MAX:
        return None
    try:
        document = json.loads(
            data.decode("utf-8", "replace"), parse_constant=lambda _: None
        )
        return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
    except (ValueError, RecursionError):
        return None
