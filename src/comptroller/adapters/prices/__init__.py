"""Prices: rate cards compiled from the pinned price catalogue and the registry."""

from comptroller.adapters.prices.compiler import (
    CompiledCard,
    PriceWarning,
    compile_card,
)

__all__ = ["CompiledCard", "PriceWarning", "compile_card"]
