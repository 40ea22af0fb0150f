"""Believable tokens: counts from sizes, lengths from a seeded distribution.

Everything follows from the seed and the request's bytes, so the same request gets
the same answer however many others run beside it.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from statistics import NormalDist
from typing import Final, NamedTuple

BYTES_PER_TOKEN: Final = 4
"""Close to English text in the tokenizers of all three providers."""

# Chat replies of a public trace: median about 130 tokens, 99 % below about 1,000.
OUTPUT_LOG_MEAN: Final = 4.9
OUTPUT_LOG_SIGMA: Final = 0.85
OUTPUT_TOKENS_MAX: Final = 4096

CACHE_TOKENS_MIN: Final = 1024
CACHED_PREFIXES_MAX: Final = 4096

_TEXT: Final = """
the of a to and in is that for it as was with be by on not he his but at are this
have from or had an they which one you were her all she there would their we him
been has when who will more no if out so said what up its about into than them can
"""
WORDS: Final = _TEXT.split()


class Draw:
    """Numbers for one request, from the seed and its bytes."""

    def __init__(self, seed: int, body: bytes) -> None:
        self._seed = seed.to_bytes(8, "big")
        self._body = hashlib.blake2b(body, digest_size=16, key=self._seed).digest()

    def share(self, what: str) -> float:
        """A number in (0, 1), the same for the same request and name."""
        digest = hashlib.blake2b(
            self._body + what.encode(), digest_size=8, key=self._seed
        ).digest()
        return (int.from_bytes(digest, "big") + 0.5) / 2**64

    def lognormal(self, what: str, log_mean: float, log_sigma: float) -> float:
        """A length whose logarithm is normally distributed."""
        return math.exp(NormalDist(log_mean, log_sigma).inv_cdf(self.share(what)))

    def identifier(self, prefix: str, serial: int) -> str:
        """An identifier as providers make them, unique by its serial number."""
        digest = hashlib.blake2b(
            serial.to_bytes(8, "big"), digest_size=12, key=self._seed
        )
        return f"{prefix}{digest.hexdigest()}"

    def output_tokens(self) -> int:
        """How long an answer would be if nothing bounded it."""
        drawn = self.lognormal("output", OUTPUT_LOG_MEAN, OUTPUT_LOG_SIGMA)
        return max(1, min(OUTPUT_TOKENS_MAX, round(drawn)))

    def reasoning_tokens(self, model: str) -> int:
        """Hidden tokens of a model that thinks; 0 for one that does not."""
        if not model.startswith(("gpt-5", "o1", "o3", "o4", "gemini-2.5", "gemini-3")):
            return 0
        return 64 * int(self.share("reasoning") * 8)


def tokens_of(bytes_count: int) -> int:
    """Tokens of so many bytes of text; at least one."""
    return max(1, -(-bytes_count // BYTES_PER_TOKEN))


class Length(NamedTuple):
    """An answer's length, and whether a ceiling cut it."""

    output: int
    reasoning: int
    cut: bool


def bounded(wanted: int, reasoning: int, ceiling: int | None) -> Length:
    """Applies the request's own maximum, which covers hidden tokens too."""
    if ceiling is None or wanted + reasoning <= ceiling:
        return Length(wanted, reasoning, cut=False)
    reasoning = min(reasoning, ceiling // 2)
    return Length(max(ceiling - reasoning, 0), reasoning, cut=True)


def pieces(count: int, start: int) -> list[str]:
    """So many tokens of text; joined they read as words."""
    size = len(WORDS)
    return [" " + WORDS[(start + 7 * index) % size] for index in range(count)]


class PrefixCache:
    """Prompt prefixes seen, as providers cache them; bounded, oldest out."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def seen_before(self, prefix: bytes) -> bool:
        """Whether this prefix came before; it is remembered from now on."""
        key = hashlib.blake2b(prefix, digest_size=16).digest()
        before = key in self._seen
        self._seen[key] = None
        self._seen.move_to_end(key)
        if len(self._seen) > CACHED_PREFIXES_MAX:
            self._seen.popitem(last=False)
        return before
