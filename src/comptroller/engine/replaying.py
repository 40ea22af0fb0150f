"""Replaying: deciding recorded decisions once more, on their own recorded facts.

Two questions. Verification: does the bundle that decided still say the same? What
if: what would another bundle have said? Each decision stands for itself; what would
have followed from another one (an agent that asks differently) is not guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from comptroller.core.errors import RecordError
from comptroller.core.policy.decide import Effect, PolicyDecision, decide
from comptroller.core.policy.rules import Policy
from comptroller.core.timestamps import nanoseconds, rfc3339
from comptroller.engine import records
from comptroller.engine.policy_facts import restored
from comptroller.engine.ports import JournalReader
from comptroller.engine.replay_answers import Answering
from comptroller.engine.replay_tally import Difference, Kind, Replayed

CHUNK_BYTES: Final = 1024 * 1024
_MARK: Final = records.DECIDED.encode()
_TIME_CHARACTERS: Final = 27
_OF_POLICY: Final = frozenset({"policy_denied", "policy_error"})
"""Reasons of refusals that only a policy gives."""


def _named(name: str, default: Any = None) -> Any:  # noqa: ANN401  as msgspec.field
    return msgspec.field(name=name, default=default)


class _Bundle(msgspec.Struct, frozen=True, gc=False):
    revision: str = ""


class _Bundles(msgspec.Struct, frozen=True, gc=False):
    policy: _Bundle = _Bundle()


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay reads of `request.decided`; see `records.Decided`."""

    decision_id: str
    service: str = _named("service.name", "")
    owner: str = _named("comptroller.owner.policy", "")
    result: str
    reason: str
    first: str | None = _named("comptroller.attempt.of")
    """Of a further attempt at another deployment: the decision of the first."""
    bundles: _Bundles = _Bundles()
    facts: Any = _named("comptroller.policy.input")
    """As recorded; None: the policy was not asked."""
    effect: str | None = _named("comptroller.policy.effect")
    by: tuple[str, ...] = _named("comptroller.policy.by", ())
    would_deny: tuple[str, ...] = _named("comptroller.policy.would_deny", ())
    warnings: tuple[str, ...] = _named("comptroller.policy.warnings", ())
    errors: tuple[str, ...] = _named("comptroller.policy.errors", ())
    max_output_tokens: int | None = _named("comptroller.policy.max_output_tokens")
    ceiling: str | None = _named("comptroller.policy.ceiling")

    @property
    def revision(self) -> str:
        """Of the bundle that decided; empty: none is recorded."""
        return self.bundles.policy.revision


class _Line(msgspec.Struct, frozen=True, tag_field="type", tag=records.DECIDED):
    time: str
    data: Recorded


_line: Final = msgspec.json.Decoder(_Line).decode
_envelope: Final = msgspec.json.Decoder(records.Envelope).decode


class Bundles(Protocol):
    """The bundles of the past, ready to decide many requests."""

    def policy(self, revision: str) -> Policy | None:
        """The policy of a revision; None: it is not kept, or was changed."""

    def digests(self, revision: str) -> frozenset[str]:
        """Digests of system prompts that it speaks of; none where it is not kept."""


class Scope(NamedTuple):
    """Which decisions are replayed."""

    since_ns: int = 0
    service: str | None = None
    """None: of all."""


class Question(Protocol):
    """What a replay finds out of each decision."""

    def weigh(self, one: Recorded, found: Replayed) -> None:
        """Decides a recorded decision once more and adds what it finds."""


class Verification:
    """Whether each decision follows from its own facts and its own bundle (G4)."""

    def __init__(self, bundles: Bundles) -> None:
        self._bundles = bundles

    def weigh(self, one: Recorded, found: Replayed) -> None:
        """Decides a recorded decision once more and adds what it finds."""
        wrong = "; ".join(self._wrong(one))
        if wrong:
            found.differ(Difference(one.decision_id, one.service, wrong))

    def _wrong(self, one: Recorded) -> Iterator[str]:
        policy = self._bundles.policy(one.revision)
        if policy is None:
            yield f"its bundle {one.revision or '(none recorded)'} is not kept"
            return
        is_denied = one.effect == Effect.DENY
        if one.result == "allow" and is_denied:
            yield "it was let through, though the policy denied it"
        if is_denied != (one.reason in _OF_POLICY):
            yield f"its reason is {one.reason}, and its effect {one.effect}"
        decision = decide(policy, restored(_facts(one)))
        again = (
            decision.effect.value,
            decision.by,
            decision.would_deny,
            decision.warnings,
            decision.errors,
            decision.max_output_tokens,
            decision.ceiling,
        )
        recorded = (
            one.effect,
            one.by,
            one.would_deny,
            one.warnings,
            one.errors,
            one.max_output_tokens,
            one.ceiling,
        )
        if again == recorded:
            return
        for name, now, then in zip(_COMPARED, again, recorded, strict=True):
            if now != then:
                yield f"{name}: recorded {_shown(then)}, decided {_shown(now)}"


_COMPARED: Final = (
    "effect",
    "by",
    "would_deny",
    "warnings",
    "errors",
    "max_output_tokens",
    "ceiling",
)


class WhatIf:
    """What one policy would have said that the record, or another, does not."""

    def __init__(
        self, bundles: Bundles, after: Answering, before: Answering | None = None
    ) -> None:
        self._bundles = bundles
        self._after = after
        self._before = before

    def weigh(self, one: Recorded, found: Replayed) -> None:
        """Decides a recorded decision once more and adds what it finds."""
        facts, listed = _facts(one), self._bundles.digests(one.revision)
        after = self._after.decide(facts, listed)
        before: _Said | None = _recorded(one)
        if self._before is not None:
            said = self._before.decide(facts, listed)
            before = None if said is None else _said(said)
        if after is None or before is None:
            found.undecidable += 1
            self._count(one, Kind.UNDECIDABLE, found)
            return
        kinds = list(_changes(before, _said(after)))
        found.changed += bool(kinds)
        for kind in kinds:
            if kind is Kind.REFUSED and one.result != "allow":
                kind = Kind.REFUSED_ANYWAY  # noqa: PLW2901  another control did
            self._count(one, kind, found)

    @staticmethod
    def _count(one: Recorded, kind: Kind, found: Replayed) -> None:
        line = found.line(one.service, one.owner)
        # A further attempt is the same request; what it cost is a cost of its own.
        line.count(kind, one.decision_id, is_request=one.first is None)


class _Said(NamedTuple):
    """What of a decision a person would notice."""

    is_denied: bool
    is_clamped: bool
    warnings: tuple[str, ...]
    rest: tuple[object, ...]


def _said(decision: PolicyDecision) -> _Said:
    return _Said(
        decision.effect is Effect.DENY,
        decision.is_clamped and decision.effect is Effect.ALLOW,
        decision.warnings,
        (
            decision.by,
            decision.would_deny,
            decision.max_output_tokens,
            decision.ceiling,
        ),
    )


def _recorded(one: Recorded) -> _Said:
    """What was decided; without an effect no policy was active, which allows."""
    is_denied = one.effect == Effect.DENY
    return _Said(
        is_denied,
        not is_denied and _asks_for_more(one),
        one.warnings,
        (one.by, one.would_deny, one.max_output_tokens, one.ceiling),
    )


def _asks_for_more(one: Recorded) -> bool:
    """Whether it asked for more than its ceiling: allowed, it was clamped."""
    request = _facts(one).get("request")
    asked = request.get("max_tokens") if isinstance(request, dict) else None
    limit = one.max_output_tokens
    return isinstance(asked, int) and limit is not None and asked > limit


def _changes(before: _Said, after: _Said) -> Iterator[Kind]:
    if before == after:
        return
    if after.is_denied != before.is_denied:
        yield Kind.REFUSED if after.is_denied else Kind.ALLOWED
        return
    if after.is_denied:
        yield Kind.OTHERWISE
        return
    if after.is_clamped and not before.is_clamped:
        yield Kind.CLAMPED
    if set(after.warnings) - set(before.warnings):
        yield Kind.WARNED
    elif not after.is_clamped or before.is_clamped:
        yield Kind.OTHERWISE


def _facts(one: Recorded) -> dict[str, Any]:
    return one.facts if isinstance(one.facts, dict) else {}


def replay(question: Question, lines: Iterable[bytes], scope: Scope) -> Replayed:
    """Decides the decisions among records once more.

    Args:
        question: what to find out of each.
        lines: records of journals, of any type.
        scope: which of them.

    Raises:
        RecordError: a decision cannot be read.
    """
    found = Replayed()
    since = rfc3339(scope.since_ns)
    for text in lines:
        if _MARK not in text:
            continue
        read = _read(text)
        if read is None:
            continue
        one = read.data
        if scope.service is not None and one.service != scope.service:
            continue
        if _is_earlier(read.time, since, scope.since_ns):
            continue
        if one.facts is None and one.effect is None:
            found.leave_out(one.reason)
            continue
        found.decided += 1
        question.weigh(one, found)
    return found


def _read(text: bytes) -> _Line | None:
    try:
        return _line(text)
    except msgspec.DecodeError as error:
        try:
            envelope = _envelope(text)
        except msgspec.DecodeError as other:
            raise RecordError(f"a record cannot be read: {other}") from other
        if envelope.type != records.DECIDED:
            return None  # one that only mentions the type
        raise RecordError(f"record {envelope.id}: {error}") from error


def _is_earlier(time: str, since: str, since_ns: int) -> bool:
    if len(time) == _TIME_CHARACTERS and time[-1] == "Z":
        return time < since  # our own form orders as text does
    return nanoseconds(time) < since_ns


class RecordedDecisions(Protocol):
    """What a store knows of the decisions in the journals."""

    def decisions_begin(self, since_ns: int) -> dict[str, int]:
        """By journal where the first decision of a span stands; without others."""

    def ended_costs(self, ids: Sequence[str]) -> dict[str, int]:
        """What requests cost, in nano-USD; without those that have not ended."""


class Hands(Protocol):
    """Where parts of a replay are done: here, or in other processes, too."""

    def do(self, parts: Iterable[Sequence[bytes]]) -> Iterator[Replayed]:
        """Does each part, in any order; holds few parts at a time."""


class Replaying:
    """Replays what is recorded in the journals of a data directory."""

    def __init__(self, journals: JournalReader, decisions: RecordedDecisions) -> None:
        self._journals = journals
        self._decisions = decisions

    def run(self, hands: Hands, since_ns: int) -> Replayed:
        """Replays every decision of a span.

        Args:
            hands: who does it; they know what is asked.
            since_ns: the beginning of the span.

        Raises:
            RecordError: a decision cannot be read.
            JournalUnavailableError: a journal cannot be read.
            StoreUnavailableError: the database cannot be read.
        """
        whole = Replayed()
        for found in hands.do(self._parts(since_ns)):
            # Part by part, so that ids are not kept until all is done.
            for line in found.lines.values():
                line.price(self._decisions.ended_costs)
            whole.add(found)
        return whole

    def _parts(self, since_ns: int) -> Iterator[list[bytes]]:
        """The records of decisions, part by part, up to where the journals stand."""
        begins = dict.fromkeys(self._journals.sources(), 0)
        if since_ns > 0:
            begins = self._decisions.decisions_begin(since_ns)
        for source, begin in begins.items():
            offset, end = begin, self._journals.size(source)
            while offset < end:
                run = self._journals.read(source, offset, CHUNK_BYTES)
                if not run:
                    break
                offset = run[-1].offset + len(run[-1].line) + 1
                lines = [record.line for record in run if _MARK in record.line]
                if lines:
                    yield lines


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return "none" if value is None else str(value)
