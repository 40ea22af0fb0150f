"""Money: whole numbers of nano-dollars, never a float.

Amounts are nano-USD (10⁻⁹ USD), rates are pico-USD (10⁻¹² USD) per unit.
"""

from __future__ import annotations

from typing import Final, NewType

NanoUsd = NewType("NanoUsd", int)
PicoUsd = NewType("PicoUsd", int)

NANO_PER_USD: Final = 10**9
PICO_PER_NANO: Final = 1000


def nano_from_pico(pico: int) -> NanoUsd:
    """Rounds pico-USD half up to nano-USD."""
    return NanoUsd((pico + PICO_PER_NANO // 2) // PICO_PER_NANO)


def nano_from_pico_ceiling(pico: int) -> NanoUsd:
    """Rounds pico-USD up to nano-USD, as every hold does."""
    return NanoUsd(-(-pico // PICO_PER_NANO))


def usd(amount: int, places: int = 6) -> str:
    """Writes nano-USD as USD for people, such as ``0.001234``; rounded half up.

    Args:
        amount: nano-USD.
        places: decimals shown, 0 to 9.
    """
    unit = 10 ** (9 - places)
    rounded = (abs(amount) + unit // 2) // unit
    sign = "-" if amount < 0 and rounded else ""
    whole, fraction = divmod(rounded, 10**places)
    digits = f".{fraction:0{places}d}" if places else ""
    return f"{sign}{whole:,}{digits}"
