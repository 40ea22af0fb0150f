"""Activation while four workers are busy: nothing dropped, nothing unrecorded."""

from __future__ import annotations

import asyncio
import random  # noqa: TID251  the seed is here
from collections import Counter, defaultdict
from pathlib import Path
from typing import Final

import msgspec

from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.bootstrap.policies import read_bundle
from comptroller.bootstrap.policy_language import policy_of
from comptroller.core.policy.decide import decide
from comptroller.core.policy.plain import plain_set
from comptroller.core.policy.rules import Policy
from comptroller.engine import records
from comptroller.engine.policy_facts import restored
from comptroller.engine.policy_records import POLICY_LOADED
from comptroller.testing.load import FIRST, Load
from comptroller.testing.provider.process import running_provider
from comptroller.testing.small import small_configuration
from comptroller.testing.tree import ServeTree, await_true, run_command, told

SEED: Final = 20_261_122
WORKERS: Final = 4
CLIENTS: Final = 24
BUNDLES: Final = (0, 1, None, 2, 0, 1)
"""What is activated in turn, after the last of them; None: no policy is."""
GAP_S: Final = 0.6
CEILINGS: Final = (40, 50, 60)
"""Of the three bundles, below whatever is asked for: `FIRST` and more."""
POLICY: Final = """\
apiVersion: comptroller.policy/v1
kind: PolicySet
metadata: {{name: acme, owner: ada}}
allow:
  - {{id: allow.{ceiling}, models: {{acme: [chat, claude]}}}}
ceilings:
  - {{id: ceil.default, max_output_tokens: {ceiling}, on_exceed: clamp}}
rules:
  - {{id: no.{ceiling}, deny_if: "ctx.env == '{ceiling}'"}}
  - {{id: streams, mode: warn, deny_if: request.stream}}
"""


class Steady(random.Random):
    """Chance under which no client leaves and no provider fails by itself."""

    def random(self) -> float:
        """At least a tenth: what the load does seldom, it does not do."""
        return 0.1 + 0.9 * super().random()


def published(folder: Path, ceiling: int) -> str:
    """Publishes a bundle of its own; gives its revision."""
    place = folder / f"p{ceiling}"
    place.mkdir()
    (place / "acme.policy.yaml").write_text(POLICY.format(ceiling=ceiling))
    made = told(folder, "policy", "publish", place.name, "--author", "ada")
    return str(made["revision"])


def content(folder: Path, ceiling: int) -> Policy:
    """The same bundle, read again by whoever has its files."""
    found = read_bundle([folder / f"p{ceiling}"]).policy
    assert found is not None
    return policy_of([plain_set(one) for one in found.sets])


def activate(folder: Path, revision: str | None) -> None:
    words = ["activate", revision or ""]
    if revision is None:
        words = ["deactivate", "--author", "ada", "--note", "a test"]
    run_command(folder, "policy", *words, "--approver", "ada")


async def activate_under_load(
    folder: Path, load: Load, in_turn: list[str | None]
) -> None:
    """Activates each in turn while clients ask."""
    running = asyncio.create_task(load.run(CLIENTS))
    try:
        for revision in in_turn:
            await asyncio.sleep(GAP_S)
            await asyncio.to_thread(activate, folder, revision)
        await asyncio.sleep(GAP_S)
    finally:
        load.stop()
        await running


class Journals:
    """What the workers of a stopped gateway recorded, journal by journal."""

    def __init__(self, data: Path) -> None:
        self.loads: dict[str, list[str | None]] = defaultdict(list)
        self.decided: list[tuple[str | None, records.Decided]] = []
        """Each decision, with what its journal says was loaded last."""
        reader = DirectoryJournalReader(data / "journal")
        for source in reader.sources():
            offset = 0
            loaded: str | None = None
            while run := reader.read(source, offset, 1 << 20):
                for record in run:
                    loaded = self._take(source, record.line, loaded)
                offset = run[-1].offset + len(run[-1].line) + 1
        reader.close()

    def _take(self, source: str, line: bytes, loaded: str | None) -> str | None:
        envelope = msgspec.json.decode(line, type=records.Envelope)
        if envelope.type == POLICY_LOADED:
            told_of = msgspec.json.decode(envelope.data)
            assert told_of["previous"] == loaded
            revision: str | None = told_of["revision"]
            self.loads[source].append(revision)
            return revision
        if envelope.type == records.DECIDED:
            decided = msgspec.json.decode(envelope.data, type=records.Decided)
            self.decided.append((loaded, decided))
        return loaded


def loaded_by(folder: Path, revision: str | None) -> int:
    history = told(folder, "policy", "history")
    assert history["active"] == revision
    return len(history["bundles"][0]["loaded_by"])


def test_activation_under_load_drops_nothing_and_is_on_the_record(
    tmp_path: Path,
) -> None:
    """On 4 workers: no request is dropped, none decided by an unrecorded revision.

    Streams and whole replies, in both dialects. Each decision's revision is the one
    whose loading precedes it in its journal, its facts decide the same again by that
    revision's content, and the ceiling that was put into the request is that
    revision's own.
    """
    models = dict.fromkeys(
        ("chat", "claude"), "price: {input: 1, output: 2}, max_output_tokens: 900000"
    )
    with running_provider() as origin:
        speaks = f"{{base_url: {origin}, speaks: [openai, anthropic]}}"
        text = small_configuration(speaks, models)
        (tmp_path / "comptroller.yaml").write_text(text)
        run_command(tmp_path, "apply", "--yes")
        ceilings = {published(tmp_path, ceiling): ceiling for ceiling in CEILINGS}
        revisions = list(ceilings)
        in_turn = [None if one is None else revisions[one] for one in BUNDLES]
        activate(tmp_path, revisions[-1])
        key = told(tmp_path, "key", "issue", "checkout", "--for", "ada")["secret"]
        tree = ServeTree(tmp_path, WORKERS)
        try:
            load = Load(tree.port, key, Steady(SEED))
            asyncio.run(activate_under_load(tmp_path, load, in_turn))
            await_true(lambda: loaded_by(tmp_path, in_turn[-1]) == WORKERS, 10)
        finally:
            status = tree.stop()
    assert status == 0, tree.log()
    assert set(load.counts) == {"200"}, load.counts
    assert load.counts["200"] == len(load.asked) > 100
    journals = Journals(tmp_path / "comptroller-data")
    assert len(journals.loads) == WORKERS
    loads = [revisions[-1], *in_turn]
    assert all(found == loads for found in journals.loads.values())
    assert len(journals.decided) == len(load.asked)
    by_revision = decided_again(tmp_path, journals, ceilings)
    assert set(by_revision) == {None, *ceilings}
    replayed = told(tmp_path, "policy", "replay")
    decided = by_revision.total() - by_revision[None]
    assert (replayed["decided"], replayed["differing"]) == (decided, 0)
    kinds = {(one.dialect, one.stream) for _, one in journals.decided}
    assert len(kinds) == 4


def decided_again(
    folder: Path, journals: Journals, ceilings: dict[str, int]
) -> Counter[str | None]:
    """Decides again what was decided; how many by each revision."""
    policies = {name: content(folder, ceiling) for name, ceiling in ceilings.items()}
    counts: Counter[str | None] = Counter()
    for loaded, decided in journals.decided:
        revision = decided.bundles.get("policy", {"revision": None})["revision"]
        assert decided.result == "allow", decided
        assert revision == loaded
        counts[revision] += 1
        if revision is None:
            continue
        facts = restored(msgspec.json.decode(decided.policy_input))
        again = decide(policies[revision], facts)
        assert (decided.policy_effect, tuple(decided.policy_by)) == again[:2]
        assert decided.policy_max_output_tokens == ceilings[revision] < FIRST
        assert decided.hold_output_tokens == ceilings[revision]
    return counts
