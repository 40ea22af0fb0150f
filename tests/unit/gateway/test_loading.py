from collections.abc import Sequence

import msgspec
import pytest

from comptroller.core.errors import JournalUnavailableError
from comptroller.core.policy.plain import PlainSet
from comptroller.core.policy.rules import Policy, PolicySet, PromptRestriction
from comptroller.engine.judging import Judge
from comptroller.engine.recording import Recorder
from comptroller.engine.snapshot import ActivePolicy
from comptroller.gateway.loading import Loading
from comptroller.testing.journal import InMemoryJournal
from comptroller.testing.scanner import WordScanner
from comptroller.testing.system import FakeClock

SCANNER = WordScanner({"secret.word": "hunter2"})


def compiled(plain: Sequence[PlainSet]) -> Policy:
    """As bootstrap's, for sets that are only a name and patterns."""
    restrictions = tuple(
        PromptRestriction(f"p.{pattern}", patterns=(pattern,))
        for one in plain
        for pattern in one["patterns"]
    )
    return Policy.of([PolicySet(plain[0]["name"], "ada", prompts=restrictions)])


def active(name: str, *patterns: str) -> ActivePolicy:
    return ActivePolicy(f"sha256:{name}", [{"name": name, "patterns": list(patterns)}])


BROKEN = ActivePolicy("sha256:broken", [{"nothing": "of use"}])


class Worker:
    """A worker's loading, with its journal."""

    def __init__(self) -> None:
        self.journal = InMemoryJournal("/n/w0/1")
        recorder = Recorder(self.journal, FakeClock())
        self.loading = Loading(compiled, SCANNER, recorder)
        self.judge: Judge | None = None

    def take(self, policy: ActivePolicy | None) -> str | None:
        """Takes up a policy; the revision that decides then."""
        self.judge = self.loading.load(policy, self.judge)
        return self.judge.revision if self.judge is not None else None

    @property
    def loads(self) -> list[tuple[str | None, str | None]]:
        """What the journal says was loaded, after what."""
        found = [msgspec.json.decode(one.line)["data"] for one in self.journal.records]
        return [(one["revision"], one["previous"]) for one in found]


def test_every_change_of_policy_is_recorded_once() -> None:
    """None, one, the same again, another, none: each change and no more."""
    worker = Worker()

    for policy in (None, active("a"), active("a"), active("b"), None, None):
        worker.take(policy)

    assert worker.loads == [
        ("sha256:a", None),
        ("sha256:b", "sha256:a"),
        (None, "sha256:b"),
    ]


def test_a_bundle_that_cannot_be_read_never_replaces_a_good_one() -> None:
    """The worker goes on by the one it has, and by a readable one after it."""
    worker = Worker()
    worker.take(active("good"))

    assert worker.take(BROKEN) == "sha256:good"
    assert worker.take(active("better")) == "sha256:better"
    assert worker.loads == [
        ("sha256:good", None),
        ("sha256:better", "sha256:good"),
    ]


def test_without_a_good_one_nothing_is_allowed() -> None:
    """A worker that starts with an unreadable bundle fails closed, on the record."""
    worker = Worker()

    assert worker.take(BROKEN) == "sha256:broken"
    assert worker.judge is not None
    assert worker.judge.policy is None
    assert worker.take(active("good")) == "sha256:good"


@pytest.mark.parametrize(
    ("pattern", "is_known"),
    [("secret.word", True), ("secret", True), ("secret.gone", False), ("gone", False)],
)
def test_a_pattern_that_nobody_looks_for_is_not_ignored(
    pattern: str, is_known: bool
) -> None:
    """A bundle that names a pattern of another release is not one to decide by."""
    worker = Worker()

    worker.take(active("a", pattern))

    assert worker.judge is not None
    assert (worker.judge.policy is not None) is is_known


def test_nothing_is_decided_by_what_cannot_be_recorded() -> None:
    """A journal that fails keeps the worker from the policy."""
    worker = Worker()
    worker.journal.failed = True

    with pytest.raises(JournalUnavailableError):
        worker.take(active("a"))

    assert worker.judge is None
