"""The life of policy bundles: published, activated, replaced, ended.

What is published was checked and tested by this side, whoever sent it, and kept
before it is recorded. What is active was approved by name. A bundle that is not
fit, or that is not what was kept, changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from comptroller.core.errors import (
    ConflictError,
    ContentUnavailableError,
    InvalidArgumentError,
    NotFoundError,
)
from comptroller.core.policy.plain import PlainSet
from comptroller.core.problem import Place, Problem, did_you_mean
from comptroller.core.registry import Registry
from comptroller.engine import policy_records
from comptroller.engine.arguments import REASON_CHARS_MAX, one_line, require
from comptroller.engine.batch import Batch
from comptroller.engine.policy_ports import (
    BundleArchive,
    BundleChecker,
    BundleFile,
    CheckedBundle,
    FailedCase,
    PolicyReports,
    PolicyRow,
    active_policy,
    decode_sets,
    encode_sets,
)
from comptroller.engine.records import Actor
from comptroller.engine.separation import check_separation
from comptroller.engine.snapshot import ActivePolicy

BUNDLE_BYTES_MAX: Final = 4 * 1024 * 1024
FILES_MAX: Final = 100
NAME_BYTES_MAX: Final = 100
PREFIX: Final = "sha256:"
APPROVER: Final = "--approver"
UNAVAILABLE: Final = "unavailable"
"""What stands for a revision where the content of the active one is lost."""
_PREFIX_CHARS_MIN: Final = 4
_PARTS_BYTES_MAX: Final = 16 * 1024
"""Of a record, which has 64 KiB at most; the rest is in what was kept."""


class PolicyParts(NamedTuple):
    """What the life of policies needs of the process that administers."""

    store: PolicyReports
    archive: BundleArchive
    check: BundleChecker
    registry: Callable[[], Registry]
    """What is applied.

    Raises:
        ConflictError: nothing is.
    """
    batch: Callable[[], Batch]
    take_effect: Callable[[Batch], None]
    """Records, projects and publishes to the workers."""
    record: Callable[[Batch], None]
    """Records and projects; workers need not hear of it."""
    publish: Callable[[], None]
    """Publishes to the workers what holds now."""


class PublishedPolicy(msgspec.Struct, frozen=True):
    """What became of a bundle that was to be published."""

    revision: str
    state: Literal["published", "known", "refused"]
    """`known`: this revision was published before, and nothing changed."""
    author: str
    """Of a known one, whoever published it."""
    files: int
    parts: int
    cases: int
    problems: list[Problem] = []
    failed: list[FailedCase] = []


class ActivatedPolicy(msgspec.Struct, frozen=True):
    """Which bundle decides now."""

    revision: str | None
    """None: none."""
    previous: str | None
    """The same as before: it was active already, and nothing changed."""
    author: str
    approver: str


class PolicyLife:
    """The acts on policies, for the one process that holds the control lock."""

    def __init__(self, parts: PolicyParts) -> None:
        self._parts = parts
        self._held: tuple[str, ActivePolicy] | None = None
        """The active policy with the digest of its sets, once it was verified."""
        self._last: ActivePolicy | None = None
        self.problem: str | None = None
        """Why what is kept of the active policy cannot be used; None: it can."""

    # -- what is active --------------------------------------------------------

    def take_up(self, last: ActivePolicy | None) -> None:
        """Remembers the last publication's policy, in case its content is gone."""
        self._last = last

    def active(self) -> ActivePolicy | None:
        """The policy that workers have to decide by; None: none is active.

        Where its content is lost or changed, that of the last publication goes on,
        and where there is none either, a policy without sets: it denies everything,
        and goes by a name of its own, for it is not what was activated.
        """
        row = active_policy(self._parts.store)
        if row is None:
            self._held = self.problem = None
            return None
        if self._held is not None and self._held[1].revision == row.revision:
            digest, held = self._held
            if digest == row.sets_digest:
                return held
        try:
            sets = self._sets(row)
            self.problem = None
        except ContentUnavailableError as error:
            self.problem = f"policy: {error.message}"
            last = self._last
            if last is None or _digest(encode_sets(last.sets)) != row.sets_digest:
                return ActivePolicy(UNAVAILABLE, [])
            sets = last.sets
        policy = ActivePolicy(row.revision, sets)
        self._held = row.sets_digest, policy
        return policy

    def check_owners(self, after: Registry) -> None:
        """Refuses a configuration without an owner of the active policy.

        Raises:
            ConflictError: it takes one away.
        """
        policy = self.active()
        for one in policy.sets if policy is not None else ():
            if one["owner"] not in after.people:
                raise ConflictError(
                    f"person {one['owner']} owns policy set {one['name']}, which is in"
                    " force: activate a bundle that another person owns, or keep the"
                    " person"
                )

    # -- acts ------------------------------------------------------------------

    def check(self, files: Sequence[BundleFile]) -> CheckedBundle:
        """Checks and tests a bundle; takes about a second, in any thread.

        Raises:
            InvalidArgumentError: it is too large, or a file's name cannot be kept.
            ContentUnavailableError: it could not be checked now.
        """
        size = sum(len(one.content) for one in files)
        if size > BUNDLE_BYTES_MAX or len(files) > FILES_MAX:
            raise InvalidArgumentError(
                f"the bundle has {len(files)} files of {size:,} bytes together; at"
                f" most {FILES_MAX} files of {BUNDLE_BYTES_MAX:,} bytes are kept"
            )
        for one in files:
            name = one.name
            is_kept = name.isprintable() and "/" not in name
            if not is_kept or len(name.encode()) > NAME_BYTES_MAX:
                raise InvalidArgumentError(
                    f"a file of the bundle is named {name!r}: give it a name of"
                    f" printable characters, at most {NAME_BYTES_MAX} bytes long"
                )
        return self._parts.check(files)

    def publish(
        self,
        files: Sequence[BundleFile],
        note: str,
        actor: Actor,
        checked: CheckedBundle | None = None,
    ) -> PublishedPolicy:
        """Keeps and records a bundle that is fit; nothing is decided by it yet.

        Args:
            files: its policy and test files.
            note: what its author says of it; may be empty.
            actor: who does this, and answers for it as its author.
            checked: what `check` found, where it was called before.

        Raises:
            NotFoundError: its author is not declared.
            InvalidArgumentError: no author is named, or as of `check`.
            ContentUnavailableError: it could not be checked, or not be kept.
            JournalUnavailableError: it was not published.
        """
        registry = self._parts.registry()
        author = _named(actor.person, registry, "--author PERSON")
        said = one_line(note, "--note TEXT") if note.strip() else ""
        found = checked if checked is not None else self.check(files)
        found = _with_more_problems(found, files, registry)
        if found.problems or found.failed:
            return self._refuse(found, len(files), author, actor)
        known = self._row(found.revision)
        content = encode_sets(found.sets)
        digest = _digest(content)
        self._parts.archive.keep(found.revision, files, content)
        if known is not None and known.sets_digest == digest:
            if self.problem is not None:
                # What the disk had lost is back.
                self._held = None
                self._parts.publish()
            counts = known.file_count, known.part_count, known.case_count
            return PublishedPolicy(known.revision, "known", known.author, *counts)
        published = policy_records.PolicyPublished(
            revision=found.revision,
            author=author,
            note=said,
            files=[_kept(one) for one in files],
            parts=_as_many_as_fit(found.parts()),
            parts_count=len(found.parts()),
            cases=found.passed,
            sets_digest=digest,
            actor=actor,
        )
        self._record(policy_records.POLICY_PUBLISHED, found.revision, published)
        if known is not None:
            # Another release makes other sets of the same files.
            self._parts.publish()
        counts = len(files), len(found.parts()), found.passed
        return PublishedPolicy(found.revision, "published", author, *counts)

    def activate(self, revision: str, actor: Actor) -> ActivatedPolicy:
        """Lets a published bundle decide from now on; an earlier one, too.

        Args:
            revision: of the bundle, or how it begins, if that is enough.
            actor: who does this, and answers for it as its approver.

        Raises:
            NotFoundError: no such bundle was published, or the approver or an owner
                of it is not declared.
            ConflictError: another person has to approve it.
            ContentUnavailableError: what was kept of it is gone, or was changed.
            JournalUnavailableError: it was not activated.
        """
        registry = self._parts.registry()
        approver = _named(actor.person, registry, "--approver PERSON")
        row = self._find(revision)
        before = active_policy(self._parts.store)
        previous = before.revision if before is not None else None
        result = ActivatedPolicy(row.revision, previous, row.author, approver)
        if previous == row.revision:
            return result
        is_separated = check_separation(
            registry, row.author, approver, "wrote it", APPROVER
        )
        sets = self._sets(row)
        for one in sets:
            require(one["owner"], registry.people, "person")
        activated = policy_records.PolicyActivated(
            revision=row.revision,
            previous=previous,
            author=row.author,
            approver=approver,
            separation_of_duties=is_separated,
            actor=actor,
        )
        batch = self._parts.batch()
        batch.add(policy_records.POLICY_ACTIVATED, f"policy/{row.revision}", activated)
        self._parts.take_effect(batch)
        return result

    def deactivate(self, author: str, note: str, actor: Actor) -> ActivatedPolicy:
        """Lets no bundle decide from now on.

        Args:
            author: who asks for it.
            note: why.
            actor: who does this, and answers for it as its approver.

        Raises:
            NotFoundError: one of the two is not declared.
            ConflictError: no policy is active, or another person has to approve it.
            InvalidArgumentError: no reason is given.
            JournalUnavailableError: it was not done.
        """
        registry = self._parts.registry()
        approver = _named(actor.person, registry, "--approver PERSON")
        require(author, registry.people, "person")
        why = one_line(note, "--note TEXT")
        before = active_policy(self._parts.store)
        if before is None:
            raise ConflictError("no policy is active")
        is_separated = check_separation(
            registry, author, approver, "asks for it", APPROVER
        )
        ended = policy_records.PolicyDeactivated(
            previous=before.revision,
            author=author,
            approver=approver,
            note=why,
            separation_of_duties=is_separated,
            actor=actor,
        )
        batch = self._parts.batch()
        batch.add(policy_records.POLICY_DEACTIVATED, f"policy/{before.revision}", ended)
        self._parts.take_effect(batch)
        return ActivatedPolicy(None, before.revision, author, approver)

    # -- inside ----------------------------------------------------------------

    def _refuse(
        self, found: CheckedBundle, count: int, author: str, actor: Actor
    ) -> PublishedPolicy:
        if found.problems:
            first = found.problems[0]
            reason = f"{first.place}: {first.what}"
        else:
            case = found.failed[0]
            reason = f"{case.place}: failed: {case.name}"
        refused = policy_records.PolicyRefused(
            revision=found.revision,
            author=author,
            reason=reason[:REASON_CHARS_MAX],
            problems=len(found.problems),
            failed_cases=len(found.failed),
            actor=actor,
        )
        self._record(policy_records.POLICY_REFUSED, found.revision, refused)
        return PublishedPolicy(
            found.revision,
            "refused",
            author,
            count,
            len(found.parts()),
            found.passed,
            found.problems,
            found.failed,
        )

    def _record(self, kind: str, revision: str, data: msgspec.Struct) -> None:
        batch = self._parts.batch()
        batch.add(kind, f"policy/{revision}", data)
        self._parts.record(batch)

    def _row(self, revision: str) -> PolicyRow | None:
        rows = self._parts.store.policies()
        return next((one for one in rows if one.revision == revision), None)

    def _find(self, revision: str) -> PolicyRow:
        return find_policy(self._parts.store.policies(), revision)

    def _sets(self, row: PolicyRow) -> list[PlainSet]:
        content = self._parts.archive.sets(row.revision, row.sets_digest)
        try:
            return decode_sets(content)
        except msgspec.DecodeError as error:
            raise ContentUnavailableError(
                f"what was kept of {row.revision} cannot be read: {error}"
            ) from error


def find_policy(published: Sequence[PolicyRow], revision: str) -> PolicyRow:
    """The published bundle that a revision, or the beginning of one, names.

    Raises:
        NotFoundError: there is none.
        ConflictError: there are several.
        InvalidArgumentError: it is too short to name one.
    """
    digits = revision.removeprefix(PREFIX).rstrip("…").lower()
    if len(digits) < _PREFIX_CHARS_MIN:
        raise InvalidArgumentError(
            f"a revision is named by at least its first {_PREFIX_CHARS_MIN} digits:"
            " comptroller policy history shows them"
        )
    found = [
        one for one in published if one.revision.removeprefix(PREFIX).startswith(digits)
    ]
    if not found:
        raise NotFoundError(
            f"no bundle {revision} was published; comptroller policy history shows"
            " those that were"
        )
    if len(found) > 1:
        raise ConflictError(f"{len(found)} bundles begin with {revision}: say more")
    return found[0]


def _named(person: str | None, registry: Registry, option: str) -> str:
    if person is None:
        raise InvalidArgumentError(f"say who answers for this: {option}")
    require(person, registry.people, "person")
    return person


def _with_more_problems(
    found: CheckedBundle, files: Sequence[BundleFile], registry: Registry
) -> CheckedBundle:
    """Adds what is wrong for whoever publishes, though the bundle may be tested."""
    problems = list(found.problems)
    first: dict[str, BundleFile] = {}
    for one in files:
        before = first.setdefault(one.name, one)
        if before is not one and not found.problems:
            what = f"another file of the bundle is named {one.name}, too"
            hint = f"it is {before.path}; rename one"
            problems.append(Problem(Place(one.path, 0, 0), what, hint))
    for owned in found.owners:
        if owned.owner not in registry.people:
            what = f'the owner "{owned.owner}" of this set is not declared'
            hint = did_you_mean(owned.owner, registry.people, "people")
            problems.append(Problem(owned.place, what, hint).printable())
    return msgspec.structs.replace(found, problems=problems)


def _kept(one: BundleFile) -> policy_records.KeptFile:
    digest = hashlib.sha256(one.content).hexdigest()
    return policy_records.KeptFile(one.name, len(one.content), digest)


def _as_many_as_fit(ids: Sequence[str]) -> list[str]:
    kept: list[str] = []
    left = _PARTS_BYTES_MAX
    for one in ids:
        left -= len(msgspec.json.encode(one)) + 1
        if left < 0:
            break
        kept.append(one)
    return kept


def _digest(content: bytes) -> str:
    return f"{PREFIX}{hashlib.sha256(content).hexdigest()}"
