"""Every rule of the table, on a secret that is made from its expression.

A mark that is not in every match would let secrets pass unseen; so would an
expression that RE2 takes for something else than the catalogue does.
"""

from __future__ import annotations

import re
import re._parser as sre  # type: ignore[import-not-found]  # the parser of `re`
from importlib import resources
from typing import Any

import pytest

from comptroller.adapters.scanner import RE2Scanner
from comptroller.core.policy.prompt import Place, PromptText

LETTERS = "q7Zf3Kx0Ld9Aw2Mc5Ye8Bn4Ub6DaE1CtGoHiJjNkOlPrQsRuSvTpVzWgXhyYmI/+=_-.~:@ "
TURNS = 8
"""No rule has more alternatives."""
NARROWED = {
    # A token's header begins with `{"`, a dot of a host is a dot.
    "jwt": (r"\b(ey", r"\b(eyJ"),
    "slack-webhook-url": ("hooks.slack.com", r"hooks\.slack\.com"),
}
"""Rules of which our mark asks for a little more than the expression."""


def table() -> list[list[str]]:
    file = resources.files("comptroller.adapters.scanner") / "secret_rules.tsv"
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


def in_pythons_syntax(expression: str) -> str:
    """A flag within holds to the end of its group, which Python has to be told."""
    expression = expression.replace("[[:alnum:]]", "[a-zA-Z0-9]").replace(r"\z", r"\Z")
    # Letters of either case are in every class that is made from, so no flag counts.
    return re.sub(r"\(\?i\)", "", expression)


class Maker:
    """Makes a text that an expression matches, another one at each turn.

    Args:
        turn: which of several alternatives is taken, and where the letters begin.
    """

    def __init__(self, turn: int) -> None:
        self._turn = turn
        self._at = turn * 7

    def text(self, parsed: Any) -> str:  # noqa: ANN401  of a private module
        """What one sequence of the parser's makes."""
        return "".join(self._one(str(kind), value) for kind, value in parsed)

    def _one(self, kind: str, value: Any) -> str:  # noqa: ANN401
        match kind:
            case "LITERAL":
                return chr(value)
            case "IN" | "ANY" | "NOT_LITERAL":
                return self._of_class(kind, value)
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, inner = value
                times = least or min(int(most), 1)
                return "".join(self.text(inner) for _ in range(times))
            case "SUBPATTERN":
                return self.text(value[3])
            case "BRANCH":
                return self.text(value[1][self._turn % len(value[1])])
            case _:
                return ""  # a place, such as the end of a word

    def _of_class(self, kind: str, value: Any) -> str:  # noqa: ANN401
        parsed = sre.SubPattern(sre.State(), [(getattr(sre, kind), value)])
        one = re._compiler.compile(parsed)  # type: ignore[attr-defined]  # likewise
        for _ in LETTERS:
            self._at += 1
            letter = LETTERS[self._at % len(LETTERS)]
            if one.fullmatch(letter):
                return letter
        raise AssertionError(f"no letter is in {value}")


@pytest.mark.parametrize(("name", "expression"), [(r[0], r[3]) for r in table()])
def test_a_secret_made_from_a_rule_is_found(name: str, expression: str) -> None:
    """By that very rule, in the middle of a sentence, whichever alternative it has."""
    narrowed = expression.replace(*NARROWED.get(name, ("", "")))
    scanner = RE2Scanner()
    for turn in range(TURNS):
        secret = Maker(turn).text(sre.parse(in_pythons_syntax(narrowed)))
        found = scanner.scan([PromptText(Place.USER, f"Please use {secret} now.")])

        assert f"secret.{name}" in {match.rule for match in found}, secret
