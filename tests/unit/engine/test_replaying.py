"""Replays over real journals and kept bundles: what was decided, decided again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from comptroller.adapters.journal.naming import journal_name
from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.adapters.journal.writer import SyncJournal
from comptroller.adapters.policy.archive import PolicyArchive
from comptroller.adapters.processes.hands import ProcessHands
from comptroller.bootstrap.policies import read_bundle
from comptroller.bootstrap.replaying import Asked, work
from comptroller.core.errors import RecordError
from comptroller.core.policy.bundle import Bundle
from comptroller.core.policy.plain import plain_set
from comptroller.engine.policy_facts import UNLISTED_DIGEST
from comptroller.engine.policy_ports import BundleFile, encode_sets
from comptroller.engine.replay_tally import Kind, Replayed
from comptroller.engine.replaying import Replaying, Scope
from comptroller.testing.decisions import BatchedJournal, DecisionScript
from comptroller.testing.policy_requests import RandomRequests
from comptroller.testing.system import FakeClock, SequentialIds

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "policy" / "acme.policy.yaml"
DECISIONS = 100_000
Facts = dict[str, dict[str, Any]]


class Store:
    """A store in which every request has cost a dollar; where is not asked."""

    def decisions_begin(self, since_ns: int) -> dict[str, int]:
        """Only of a part of the journals, and here all of them are read."""
        raise AssertionError(since_ns)

    def ended_costs(self, ids: Sequence[str]) -> dict[str, int]:
        """What requests cost; that of the last one is not known yet."""
        return dict.fromkeys(ids[:2], 10**9)


class Past:
    """A data directory with a kept bundle and the decisions that it made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.bundle = bundle_of(EXAMPLE.read_text(), folder / "example")
        self.kept = (self.keep(self.bundle),)
        self._sync = SyncJournal(
            folder / "journal",
            journal_name("host", "w0", "01A"),
            self.clock,
            SequentialIds(),
        )
        self._journal = BatchedJournal(self._sync)
        assert self.bundle.policy is not None
        self.script = DecisionScript(
            self._journal,
            self.clock,
            SequentialIds(),
            self.bundle.policy,
            self.bundle.revision,
        )

    def keep(self, bundle: Bundle) -> tuple[str, str]:
        """Keeps a bundle as publishing does."""
        assert bundle.policy is not None
        sets = encode_sets([plain_set(one) for one in bundle.policy.sets])
        files = [
            BundleFile(one, Path(one).name, Path(one).read_bytes())
            for one in bundle.files
        ]
        PolicyArchive(self.folder / "policy").keep(bundle.revision, files, sets)
        return bundle.revision, f"sha256:{hashlib.sha256(sets).hexdigest()}"

    def replay(
        self,
        *,
        after: Bundle | None = None,
        before: Bundle | None = None,
        scope: Scope | None = None,
        processes: int = 0,
    ) -> Replayed:
        """Replays it all; without `after` each by its own bundle."""
        self._journal.flush()
        asked = Asked(
            str(self.folder / "policy"),
            self.kept,
            scope or Scope(),
            None if after is None else sets_of(after),
            None if before is None else sets_of(before),
        )
        reader = DirectoryJournalReader(self.folder / "journal")
        try:
            replaying = Replaying(reader, Store())
            return replaying.run(ProcessHands(partial(work, asked), processes), 0)
        finally:
            reader.close()

    def close(self) -> None:
        """Closes the journal."""
        self._sync.close()


def bundle_of(text: str, folder: Path) -> Bundle:
    folder.mkdir(exist_ok=True)
    (folder / "acme.policy.yaml").write_text(text)
    bundle = read_bundle([folder])
    assert not bundle.problems
    return bundle


def sets_of(bundle: Bundle) -> bytes:
    assert bundle.policy is not None
    return encode_sets([plain_set(one) for one in bundle.policy.sets])


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    one = Past(tmp_path)
    yield one
    one.close()


def allowed_facts(changes: Mapping[str, object] | None = None) -> Facts:
    """Facts that the example allows, with some changed."""
    facts = RandomRequests(1).next()
    plain: dict[str, object] = {
        "principal.kind": "internal",
        "principal.tenant": "acme",
        "model.id": "gpt-4o",
        "model.self_hosted": False,
        "model.envs": ["prod"],
        "ctx.env": "prod",
        "data.classification": "internal",
        "request.max_tokens": 1024,
        "request.prompt_bytes": 10,
        "request.builtin_tools": [],
        "request.tools": [],
        "request.choices": 1,
        "prompt.bytes": 10,
        "prompt.tools": [],
        "prompt.builtin_tools": [],
        "prompt.other_models": [],
        "prompt.elsewhere": [],
        "prompt.matches": [],
    }
    for path, value in {**plain, **(changes or {})}.items():
        section, _, key = path.partition(".")
        facts[section][key] = value
    return facts


def count(found: Replayed, kind: Kind) -> int:
    return found.total(kind)


def edited(past: Past, *changes: tuple[str, str]) -> Bundle:
    """The example with some of its text changed."""
    text = EXAMPLE.read_text()
    for before, after in changes:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return bundle_of(text, past.folder / "edited")


def test_each_of_many_decisions_follows_from_its_own_record(past: Past) -> None:
    """G4 over 100,000 decisions; of three that were tampered with each is found."""
    source = RandomRequests(4)
    base = [source.next() for _ in range(DECISIONS // 10)]
    for place in range(DECISIONS // 2):
        facts = base[place % len(base)]
        facts["request"]["prompt_bytes"] = place * 50
        past.clock.advance(0.001)
        past.script.decided_twice(facts)
    other = allowed_facts({"data.classification": "restricted"})
    planted = {
        past.script.decided(allowed_facts(), {"comptroller.policy.effect": "deny"}),
        past.script.decided(allowed_facts(), {"comptroller.policy.by": ["allow.x"]}),
        past.script.decided(allowed_facts(), {"comptroller.policy.input": other}),
    }
    past.script.refused_before("model_not_allowed")

    found = past.replay(processes=1)

    assert {one.decision_id for one in found.differences} == planted
    assert (found.decided, found.differing) == (DECISIONS + 3, 3)
    assert found.left_out == {"model_not_allowed": 1}


def test_a_decision_must_agree_with_what_became_of_it(past: Past) -> None:
    """Let through although denied, or refused for another reason, is a difference."""
    denied = allowed_facts({"data.classification": "restricted"})
    through = past.script.decided(denied, {"result": "allow", "reason": "allowed"})
    other = past.script.decided(denied, {"reason": "budget_exhausted"})
    blamed = past.script.decided(
        allowed_facts(), {"result": "deny", "reason": "policy_denied"}
    )
    past.script.decided(
        allowed_facts(), {"result": "deny", "reason": "budget_exhausted"}
    )

    found = past.replay()

    assert [one.decision_id for one in found.differences] == [through, other, blamed]
    assert "let through" in found.differences[0].what


def test_a_bundle_that_was_changed_on_disk_verifies_nothing(past: Past) -> None:
    """A decision whose bundle is not there as it was published is a difference."""
    past.script.decided(allowed_facts())
    folder = past.folder / "policy" / past.bundle.revision.removeprefix("sha256:")
    file = folder / "acme.policy.yaml"
    file.write_text(file.read_text().replace("max_output_tokens: 1024", "max: 2"))

    found = past.replay()

    assert found.differing == 1
    assert found.differences[0].what == f"its bundle {past.bundle.revision} is not kept"


def test_an_input_that_was_taken_out_is_a_difference(past: Past) -> None:
    """A decision of a policy without facts is not passed over."""
    past.script.decided(allowed_facts(), {"comptroller.policy.input": None})

    assert past.replay().differing == 1


def test_what_another_bundle_would_change_is_told_by_service_and_owner(
    past: Past,
) -> None:
    """In requests and what they cost, with examples; both directions and clamps."""
    refused = past.script.decided(
        allowed_facts({"request.max_tokens": 8000}), {"service.name": "a"}
    )
    past.script.decided(
        allowed_facts({"request.max_tokens": 8000}),
        {"service.name": "a", "comptroller.attempt.of": refused},
    )
    past.script.decided(
        allowed_facts({"request.max_tokens": 8000}), {"service.name": "a"}
    )
    past.script.decided(
        allowed_facts({"request.max_tokens": 8000}),
        {"service.name": "a", "result": "deny", "reason": "rate_limited"},
    )
    allowed = past.script.decided(
        allowed_facts({"model.id": "claude-haiku"}),
        {"service.name": "b", "comptroller.owner.policy": "grace"},
    )
    past.script.decided(allowed_facts({"request.max_tokens": 5000}))
    after = edited(
        past,
        (
            "{id: ceil.default, max_output_tokens: 8192",
            "{id: ceil.new, max_output_tokens: 6000",
        ),
        ("acme: [gpt-4o,", "acme: [claude-haiku, gpt-4o,"),
        (
            "max_output_tokens: 6000\n    mode: audit",
            "max_output_tokens: 7000\n    mode: audit",
        ),
    )

    found = past.replay(after=after)

    a, b = found.lines["a", "ada"], found.lines["b", "grace"]
    assert a.counts == {Kind.REFUSED: 2, Kind.REFUSED_ANYWAY: 1}
    assert a.examples[Kind.REFUSED][0] == refused
    assert (a.cost_nano_usd, a.unpriced) == (2 * 10**9, 1)
    assert b.counts == {Kind.ALLOWED: 1}
    assert b.examples == {Kind.ALLOWED: [allowed]}
    assert count(found, Kind.OTHERWISE) == 1
    assert (found.decided, found.changed, found.undecidable) == (6, 6, 0)


def test_a_clamp_and_a_warning_are_told_where_they_are_new(past: Past) -> None:
    """A request that was clamped before is not clamped anew."""
    past.script.decided(allowed_facts({"request.max_tokens": 1500}))
    past.script.decided(
        allowed_facts({"request.max_tokens": 1500, "principal.kind": "external"})
    )
    past.script.decided(allowed_facts({"request.choices": 3}))
    after = edited(
        past,
        (
            "max_output_tokens: 8192, on_exceed: deny",
            "max_output_tokens: 1200, on_exceed: clamp",
        ),
        ("max_output_tokens: 4096, on", "max_output_tokens: 1100, on"),
        ("max_output_tokens: 2048, on", "max_output_tokens: 1101, on"),
        ("request.choices > 4", "request.choices > 2"),
    )

    found = past.replay(after=after)

    assert (count(found, Kind.CLAMPED), count(found, Kind.WARNED)) == (1, 1)


def test_what_was_never_scanned_is_not_decided_by_patterns(past: Past) -> None:
    """Unless it is denied for another reason, or the restriction does not deny."""
    unscanned = {"prompt.matches": None, "principal.kind": "external"}
    past.script.decided(allowed_facts(unscanned | {"principal.kind": "internal"}))
    past.script.decided(
        allowed_facts(
            unscanned
            | {"principal.kind": "internal", "data.classification": "restricted"}
        )
    )
    after = edited(past, ("for: {kind: [external, agent]}\n    patterns", "patterns"))

    assert count(past.replay(after=after), Kind.UNDECIDABLE) == 1
    assert count(past.replay(after=past.bundle), Kind.UNDECIDABLE) == 0


def test_an_unlisted_system_prompt_may_be_any(past: Past) -> None:
    """A bundle that speaks of a further prompt cannot know whether it was that."""
    facts = allowed_facts(
        {"request.system_digest": UNLISTED_DIGEST, "principal.kind": "external"}
    )
    past.script.decided(facts)
    enforced = (
        "    mode: audit                            # recorded",
        "    # recorded",
    )
    listed = (
        "  approved_system_prompts:  ",
        f"  approved_system_prompts: [sha256:{'7' * 64}]  \n  approved_then:",
    )

    found = past.replay(after=edited(past, enforced))
    assert count(found, Kind.REFUSED) == 1
    found = past.replay(after=edited(past, enforced, listed))
    assert count(found, Kind.UNDECIDABLE) == 1


def test_two_bundles_are_compared_over_what_is_recorded(past: Past) -> None:
    """What both say alike is no change, whatever was decided then."""
    past.script.decided(allowed_facts({"request.max_tokens": 8000}))
    after = edited(past, ("max_output_tokens: 8192", "max_output_tokens: 7000"))

    assert count(past.replay(after=after, before=after), Kind.REFUSED) == 0
    assert count(past.replay(after=after, before=past.bundle), Kind.REFUSED) == 1


def test_a_replay_keeps_to_a_span_and_a_service(past: Past) -> None:
    """Decisions of another time or service are not counted at all."""
    past.script.decided(allowed_facts())
    past.clock.advance(10)
    past.script.decided(allowed_facts())
    past.script.decided(allowed_facts(), {"service.name": "b"})
    since_ns = past.clock.now_ns()

    assert past.replay(scope=Scope(since_ns)).decided == 2
    assert past.replay(scope=Scope(since_ns, "b")).decided == 1


def test_a_record_that_cannot_be_read_stops_a_replay(past: Past) -> None:
    """It says which; nothing is counted as verified around it."""
    id_ = past.script.decided(allowed_facts(), {"comptroller.policy.by": 7})

    with pytest.raises(RecordError, match=id_):
        past.replay()
