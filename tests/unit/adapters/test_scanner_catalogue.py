"""Our table of secrets against the maintained catalogue that it was taken from."""

from __future__ import annotations

from importlib import resources

import kingfisher_sdk
import pytest

from comptroller.adapters.scanner import RE2Scanner
from comptroller.core.policy.prompt import Place, PromptText

QUOTED = r"""(?:\\?['"\x60]|[\s;]|\\[nr]|$)"""
OURS = r"(?:[^\w-]|$)"


@pytest.fixture(scope="module")
def catalogue() -> kingfisher_sdk.Rules:
    return kingfisher_sdk.Rules(confidence="high", cache=False)


def table() -> list[list[str]]:
    file = resources.files("comptroller.adapters.scanner") / "secret_rules.tsv"
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


def entropies(node: object) -> list[float]:
    """The least entropies that a rule's filter asks for."""
    if isinstance(node, list):
        return [found for one in node for found in entropies(one)]
    if not isinstance(node, dict):
        return []
    found = [bound for one in node.values() for bound in entropies(one)]
    left = node.get("left")
    called = left.get("callee") if isinstance(left, dict) else None
    if isinstance(called, dict) and called.get("value") == "entropy":
        found.append(float(node["right"]["value"]))
    return found


def test_every_rule_is_the_catalogues(catalogue: kingfisher_sdk.Rules) -> None:
    """Its expression, ended by the word alone, and its least entropy."""
    rules = table()
    for name, _, entropy, expression in rules:
        detail = catalogue.detail(f"betterleaks.{name}")
        assert detail["detection_regex"].replace(QUOTED, OURS) == expression, name
        assert max(entropies(detail["betterleaks_filter"]), default=0) == float(entropy)

    assert len(rules) > 150


def test_every_secret_that_the_catalogue_finds_is_found(
    catalogue: kingfisher_sdk.Rules,
) -> None:
    """In one text with a secret of every simple kind, the same rules match."""
    random = "9aD3kq1Xv7Zc5Lm2Qw8Er4Ty6Ui0Op3As5DfGh7JkB1nM" * 3
    made = [f"gh{kind}_{random[:36]}" for kind in "pors"] + [
        f"glpat-{random[:20]}",
        f"AIza{random[:35]}",
        f"sk_live_{random[:24]}",
        f"shpat_{'0123456789abcdef' * 2}",
        f"dop_v1_{'3e25960a79dbc69b674cd4ec67a72c62' * 2}",
        f"pul-{'3e25960a79dbc69b674cd4ec67a72c6203040506'}",
        f"npm_{random[:36].lower()}",
        f"sntryu_{'3e25960a79dbc69b674cd4ec67a72c62' * 2}",
    ]
    text = "\n".join(f'key = "{one}"' for one in made)
    theirs = {
        finding.to_dict()["rule_id"].replace("betterleaks.", "secret.")
        for finding in kingfisher_sdk.Scanner(catalogue).scan(text)
    }
    ours = {match.rule for match in RE2Scanner().scan([PromptText(Place.USER, text)])}

    assert len(theirs) >= 10
    assert theirs & set(RE2Scanner().rules) <= ours
