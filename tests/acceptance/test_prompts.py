"""Recorded prompts: how many can be read, and how often a pattern is found."""

from __future__ import annotations

import json
from collections import Counter
from typing import NamedTuple

import pytest
from tests.acceptance.exchanges import PATHS, Exchange, recorded

from comptroller.adapters.scanner import RE2Scanner
from comptroller.core.errors import BadRequestError
from comptroller.core.policy.prompt import PromptFacts, PromptText
from comptroller.wire.prompt_facts import read_prompt_and_texts
from comptroller.wire.routes import match

HITS_PER_1000_MAX = 5
"""What the recordings have is made up or their authors' own; hardly any is a hit."""


class Read(NamedTuple):
    """One recorded prompt that could be read."""

    id: str
    facts: PromptFacts
    texts: tuple[PromptText, ...]


class Corpus(NamedTuple):
    """All of them, and why the others could not be read."""

    read: list[Read]
    refused: Counter[str]
    refused_though_served: list[str]
    by_wire: Counter[tuple[str, str]]


def body_of(exchange: Exchange) -> bytes:
    written = json.dumps(exchange.request, ensure_ascii=False)
    return written.encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    found = Corpus([], Counter(), [], Counter())
    for exchange in recorded():
        if exchange.request is None:
            continue
        path = PATHS[exchange.wire].format(model=exchange.model)
        route = match(b"POST", path.encode())
        assert route is not None
        try:
            facts, texts = read_prompt_and_texts(route, body_of(exchange))
        except BadRequestError as error:
            found.refused[error.message] += 1
            found.by_wire[exchange.wire, "refused"] += 1
            if exchange.status == 200 and "'model'" not in error.message:
                found.refused_though_served.append(f"{exchange.id} {error.message}")
            continue
        found.by_wire[exchange.wire, "read"] += 1
        found.read.append(Read(exchange.id, facts, texts))
    return found


def test_recorded_prompts_can_be_read(corpus: Corpus) -> None:
    """Of those that a provider took and that name a model, every one."""
    for (wire, how), count in sorted(corpus.by_wire.items()):
        print(f"{wire:32} {how:8} {count:6}")
    for why, count in corpus.refused.most_common():
        print(f"refused {count:4}: {why}")
    tools = sum(1 for one in corpus.read if one.facts.tools)
    builtin = Counter(t for one in corpus.read for t in one.facts.builtin_tools)
    elsewhere = Counter(e for one in corpus.read for e in one.facts.elsewhere)
    systems = {one.facts.system_digest for one in corpus.read}
    print(f"with tools {tools}; system texts {len(systems)}; elsewhere {elsewhere}")
    print(f"provider's tools {builtin}")

    assert len(corpus.read) > 3000
    assert corpus.refused_though_served == []


def test_patterns_are_seldom_found_in_recorded_prompts(corpus: Corpus) -> None:
    """Prints the hits of each rule; secrets were removed, so none may be found."""
    scanner = RE2Scanner()
    hits: Counter[str] = Counter()
    for one in corpus.read:
        for rule in {found.rule for found in scanner.scan(one.texts)}:
            hits[rule] += 1
    for rule, count in hits.most_common():
        print(f"{rule:32} {count:5} {count * 1000 / len(corpus.read):7.2f} per 1,000")
    print(
        f"{len(corpus.read)} prompts, {len(scanner.rules)} rules, {hits.total()} hits"
    )

    assert not [rule for rule in hits if rule.startswith("secret.")]
    assert hits.total() * 1000 <= HITS_PER_1000_MAX * len(corpus.read)
