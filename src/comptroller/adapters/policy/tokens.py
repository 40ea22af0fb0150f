"""Words of CEL: as much of the language as reading needs without its engine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
    |(?P<text>[bB]?[rR](?:'''.*?'''|\"\"\".*?\"\"\"|'[^'\n]*'|"[^"\n]*")
      |[bB]?(?:'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\"
        |'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"))
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>[0-9][0-9A-Za-z.]*)
    |(?P<sign>&&|\|\||==|!=|<=|>=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_PLAIN_TEXT: Final = re.compile(r"""(['"])([^\\'"]*)\1""")


class Token(NamedTuple):
    """A word of an expression; names joined by dots are one: `request.tools`."""

    kind: str
    """`text`, `path`, `number` or `sign`."""
    text: str
    start: int
    end: int


def tokens(source: str) -> list[Token]:
    """The words of an expression, without blanks and comments."""
    found: list[Token] = []
    for match in _TOKEN.finditer(source):
        kind = str(match.lastgroup)
        if kind == "space":
            continue
        token = Token(
            "path" if kind == "name" else kind, match[0], match.start(), match.end()
        )
        if kind == "name" and _continues_path(found):
            head, _ = found[-2:]
            del found[-2:]
            joined = f"{head.text}.{token.text}"
            token = Token("path", joined, head.start, token.end)
        found.append(token)
    return found


def _continues_path(before: Sequence[Token]) -> bool:
    """Whether a name goes on a path: `head.`, and the head follows no dot itself."""
    return (
        len(before) >= 2
        and before[-1].text == "."
        and before[-2].kind == "path"
        and (len(before) == 2 or before[-3].text != ".")
    )


def normal_form(source: str) -> str:
    """The expression with one blank between words: equal texts mean the same."""
    return " ".join(token.text for token in tokens(source))


def inline(source: str, values: Mapping[str, Sequence[str]]) -> str:
    """Writes lists of texts into an expression where they are named.

    Args:
        source: an expression.
        values: lists by path, such as `lists.eu_tenants`.
    """
    written = []
    position = 0
    before = ""
    for token in tokens(source):
        head = next((path for path in values if _is_at(path, token)), None)
        if head is not None and before != ".":
            literals = ", ".join(_literal(one) for one in values[head])
            # What follows the list, such as `.size()`, stays as it was.
            rest = token.text[len(head) :]
            written += [source[position : token.start], f"[{literals}]{rest}"]
            position = token.end
        before = token.text
    return "".join([*written, source[position:]])


def _is_at(path: str, token: Token) -> bool:
    return token.kind == "path" and f"{token.text}.".startswith(f"{path}.")


def _literal(text: str) -> str:
    # JSON escapes as CEL does, but writes what lies beyond 16 bits as two halves.
    return json.dumps(text, ensure_ascii=False)


class Comparison(NamedTuple):
    """A fact that is compared with a literal text."""

    path: str
    text: str
    start: int


def comparisons(source: str) -> Iterator[Comparison]:
    """The literal texts that facts are compared with: by ==, != and `in [...]`."""
    words = tokens(source)
    for place, word in enumerate(words):
        near = words[place + 1 : place + 3]
        if word.text in {"==", "!="} and 0 < place < len(words) - 1:
            for one, other in (
                (words[place - 1], words[place + 1]),
                (words[place + 1], words[place - 1]),
            ):
                if one.kind == "path" and other.kind == "text":
                    yield from _compared(one.text, other)
        elif word.kind == "path" and [one.text for one in near] == ["in", "["]:
            for item in words[place + 3 :]:
                if item.text == "]":
                    break
                if item.kind == "text":
                    yield from _compared(word.text, item)


def _compared(path: str, literal: Token) -> Iterator[Comparison]:
    plain = _PLAIN_TEXT.fullmatch(literal.text)
    if plain is not None:
        yield Comparison(path, plain[2], literal.start)


def call_of(source: str, name: str) -> int | None:
    """Where a function is called by its bare name; None: nowhere."""
    words = tokens(source)
    for word, after in pairwise(words):
        if word.text == name and after.text == "(":
            return word.start
    return None
