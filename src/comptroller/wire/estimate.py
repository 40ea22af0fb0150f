"""The estimate: what a reply probably consumed when it does not say so.

The rule: one token for every 4 bytes, rounded up, at least one. English text has
about 5 bytes a token and code about 3, so this errs to the dear side on prose.
It is an estimate and no bound, and whoever books it flags it `estimated`.
"""

from __future__ import annotations

from typing import Final

from comptroller.core.usage import Usage
from comptroller.wire.routes import Operation

BYTES_PER_TOKEN: Final = 4


def estimate_usage(operation: Operation, body_bytes: int, output_bytes: int) -> Usage:
    """Estimates a usage that was not stated.

    Args:
        operation: what was asked; embeddings generate nothing.
        body_bytes: of the request's body.
        output_bytes: UTF-8 bytes of generated text that were seen.

    Returns:
        Tokens of the prompt, never 0; and of the output, never 0 where anything
        may have been generated.
    """
    usage: Usage = {"input": _tokens(body_bytes)}
    if operation is not Operation.EMBEDDINGS:
        usage["output"] = _tokens(output_bytes)
    return usage


def _tokens(size: int) -> int:
    return max(-(-size // BYTES_PER_TOKEN), 1)
