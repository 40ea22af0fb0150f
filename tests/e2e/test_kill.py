"""Kill -9 of the whole system under load: nothing is lost, nothing counted twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random  # noqa: TID251  the seed is printed
import re
import sqlite3
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.core.usage import GENERATED_CLASSES, Usage
from comptroller.engine import records
from comptroller.testing.load import Load
from comptroller.testing.provider.process import running_provider
from comptroller.testing.small import small_configuration
from comptroller.testing.tree import (
    ServeTree,
    await_true,
    kill_dead,
    run_command,
    told,
)

KILLS = 44
EVERY_S = 0.3
CLIENTS = 30
WORKERS = 3
ENDS = {
    records.SETTLED: ("settled", records.Settled),
    records.RELEASED: ("released", records.Released),
    records.ABANDONED: ("abandoned", records.Abandoned),
}
MODELS = {
    "chat": "price: {input: 1, output: 2}, max_output_tokens: 999999",
    "claude": "price: {input: 3, output: 5}, max_output_tokens: 999999",
}


class End(NamedTuple):
    """How a request ended, as its record says."""

    state: str
    source: str
    cost_nano_usd: int
    usage: dict[str, int]
    is_exact: bool
    """Whether the provider's own usage of a whole reply was booked."""


class Facts:
    """What the journals alone say, each record held against the format's promises."""

    def __init__(self, data: Path) -> None:
        self.decided: dict[str, tuple[str, records.Decided]] = {}
        self.ends: dict[str, list[End]] = {}
        self.journals = Counter[str]()
        self._names = set[tuple[str, str]]()
        reader = DirectoryJournalReader(data / "journal")
        for source in reader.sources():
            offset, sequence = 0, 0
            while run := reader.read(source, offset, 1 << 20):
                for record in run:
                    self._take(source, sequence, record.line)
                    sequence += 1
                offset = run[-1].offset + len(run[-1].line) + 1
            assert reader.is_dead(source)
            self.journals[source.split("/")[2]] += 1
        reader.close()

    def _take(self, source: str, sequence: int, line: bytes) -> None:
        envelope = msgspec.json.decode(line, type=records.Envelope)
        assert envelope.source == source
        assert int(envelope.sequence) == sequence, "a gap in a journal"
        assert (source, envelope.id) not in self._names
        self._names.add((source, envelope.id))
        if envelope.type == records.DECIDED:
            decided = msgspec.json.decode(envelope.data, type=records.Decided)
            assert decided.decision_id not in self.decided, "decided twice"
            self.decided[decided.decision_id] = (source, decided)
        elif envelope.type in ENDS:
            state, shape = ENDS[envelope.type]
            data = msgspec.json.decode(envelope.data, type=shape)
            end = End(state, source, 0, {}, is_exact=False)
            if isinstance(data, records.Settled):
                is_exact = data.outcome == "completed"
                is_exact = is_exact and data.usage_source == "provider"
                end = end._replace(is_exact=is_exact)
            if not isinstance(data, records.Released):
                end = end._replace(cost_nano_usd=data.cost_nano_usd, usage=data.usage)
            self.ends.setdefault(data.decision_id, []).append(end)

    def request_of(self) -> dict[int, str]:
        """The load's number to the decision's id; no number was decided twice."""
        named = {
            decided.max_tokens: name
            for name, (_, decided) in self.decided.items()
            if decided.max_tokens is not None
        }
        assert len(named) == len(self.decided)
        return named


def stats(origin: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{origin}/__stats") as reply:  # noqa: S310  loopback
        found: dict[str, Any] = json.load(reply)
    return found


async def kill_at_random(tree: ServeTree, chance: random.Random) -> Counter[str]:
    """Kills one living process at a time; how often which."""
    killed: Counter[str] = Counter()
    while killed.total() < KILLS:
        await asyncio.sleep(chance.random() * 2 * EVERY_S)
        children = await asyncio.to_thread(tree.children)
        if children:
            name = chance.choice(sorted(children))
            killed[name] += await asyncio.to_thread(kill_dead, children[name])
    return killed


def said_killed(tree: ServeTree) -> Counter[str]:
    """How often which, as its supervisor saw it."""
    said = re.findall("(w[0-9]|control).* was ended by SIGKILL", tree.log())
    return Counter(said)


async def kill_under_load(
    tree: ServeTree, load: Load, chance: random.Random
) -> tuple[ServeTree, Counter[str]]:
    """The children at random, then the supervisor; a new one goes on in its place."""
    running = asyncio.create_task(load.run(CLIENTS))
    try:
        killed = await kill_at_random(tree, chance)
        await asyncio.to_thread(await_true, lambda: said_killed(tree) == killed, 10)
        await asyncio.to_thread(tree.kill)
        await asyncio.to_thread(await_true, tree.is_gone, 20)
        tree = await asyncio.to_thread(ServeTree, tree.folder, WORKERS, tree.port)
        answered = load.counts["200"]
        await asyncio.to_thread(
            await_true, lambda: load.counts["200"] > answered + CLIENTS, 20
        )
    finally:
        load.stop()
        await running
    return tree, killed


def generated(usage: Usage) -> int:
    return sum(usage.get(name, 0) for name in GENERATED_CLASSES)


def given(usage: Usage) -> int:
    return sum(usage.values()) - generated(usage)


def check_forwarded(facts: Facts, load: Load, books: dict[str, Any]) -> None:
    """What reached the provider is recorded, once, and booked at least at its bill."""
    request_of = facts.request_of()
    assert set(request_of) <= load.asked
    assert all(request_of[number] == name for number, name in load.ids.items())
    forwarded = [int(tag) for tag in books["tags"]]
    assert len(forwarded) == len(set(forwarded)), "forwarded twice"
    assert len(forwarded) == books["counts"]["requests"]
    assert set(forwarded) <= set(request_of), "forwarded and not recorded"
    ends = {number: facts.ends[name][0] for number, name in request_of.items()}
    assert not [n for n in forwarded if ends[n].state == "released"]
    for tag, bill in books["tag_bills"].items():
        booked = ends[int(tag)]
        if booked.is_exact:
            assert booked.usage == {
                name: count for name, count in bill.items() if count
            }
        elif booked.state == "abandoned":
            assert given(booked.usage) >= given(bill)
            assert generated(booked.usage) >= generated(bill)


def check_ended(facts: Facts) -> None:
    """Every decision has one end: its own worker's, or one by recovery."""
    assert facts.ends.keys() == facts.decided.keys()
    for name, (source, decided) in facts.decided.items():
        assert decided.result == "allow"
        (end,) = facts.ends[name]
        assert (end.source != source) == (end.state == "abandoned")


def check_answers(folder: Path, facts: Facts) -> None:
    """The store and the commands say what the journals say."""
    rows = told(folder, "requests", "--all")
    assert len(rows) == len(facts.decided)
    for row in rows:
        (end,) = facts.ends[row["request_id"]]
        assert row["state"] == end.state
        assert row["cost_nano_usd"] == end.cost_nano_usd
        assert row["usage"] == end.usage
        decided = facts.decided[row["request_id"]][1]
        assert (row["service"], row["model"]) == (decided.service, decided.model)
    costs = [end.cost_nano_usd for (end,) in facts.ends.values()]
    spent = told(folder, "spend", "--by", "model")
    assert sum(line["cost_nano_usd"] for line in spent) == sum(costs)
    store = sqlite3.connect(folder / "comptroller-data" / "store.sqlite3")
    with contextlib.closing(store):
        assert store.execute("SELECT count(*) FROM conflicts").fetchone() == (0,)


def test_the_whole_system_is_killed_under_load(tmp_path: Path) -> None:
    """Forwarded is recorded, once; every decision ends once; all books agree."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311  no secret
    with running_provider() as origin:
        provider = f"{{base_url: {origin}, speaks: [openai, anthropic]}}"
        text = small_configuration(provider, MODELS)
        (tmp_path / "comptroller.yaml").write_text(text)
        run_command(tmp_path, "apply", "--yes")
        key = told(tmp_path, "key", "issue", "checkout", "--for", "ada")["secret"]
        tree = ServeTree(tmp_path, WORKERS)
        try:
            load = Load(tree.port, key, chance)
            tree, killed = asyncio.run(kill_under_load(tree, load, chance))
        finally:
            status = tree.stop()
        assert status == 0, tree.log()
        books = stats(origin)
    facts = Facts(tmp_path / "comptroller-data")
    check_ended(facts)
    check_forwarded(facts, load, books)
    states = Counter(end.state for (end,) in facts.ends.values())
    print(f"{dict(killed)} kills, {dict(load.counts)}, {dict(states)}")
    assert killed.total() >= 40
    assert states["settled"] > 500
    assert states["abandoned"] > 0
    check_answers(tmp_path, facts)
    told(tmp_path, "audit", "rebuild", "--check")  # fails where it is not the same
