"""Loading: how a worker takes up another policy, on the record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from comptroller.core.policy.plain import PlainSet
from comptroller.core.policy.rules import Policy
from comptroller.engine.judging import Judge
from comptroller.engine.recording import Recorder
from comptroller.engine.scanning import PromptScanner
from comptroller.engine.snapshot import ActivePolicy

log = logging.getLogger(__name__)


class Loading(NamedTuple):
    """What takes up policies in one worker."""

    policy_of: Callable[[Sequence[PlainSet]], Policy]
    """Compiles a policy that was checked before; raises where it is none."""
    scanner: PromptScanner
    recorder: Recorder

    def load(self, active: ActivePolicy | None, before: Judge | None) -> Judge | None:
        """Decides by the active policy; another one is recorded before its use.

        A bundle that this process cannot read does not replace the one it has. Where
        it has none, nothing is allowed.

        Args:
            active: of the newest snapshot; None: there is none.
            before: what decides until now.

        Returns:
            What decides from now on; None: what the registry declares, alone.

        Raises:
            JournalUnavailableError: it cannot be recorded; nothing is to be decided
                by it.
        """
        if active is None:
            judge = None
        elif before is not None and before.revision == active.revision:
            return before
        else:
            judge = Judge(active, self._compiled(active), self.scanner)
            if judge.policy is None and before is not None:
                return before
        was = before.revision if before is not None else None
        now = judge.revision if judge is not None else None
        if now != was:
            self.recorder.policy_loaded(now, was)
        return judge

    def _compiled(self, active: ActivePolicy) -> Policy | None:
        """The policy; None, and a line in the log, where it cannot be read."""
        try:
            policy = self.policy_of(active.sets)
            _refuse_unknown_patterns(policy, self.scanner)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            log.error("policy %s cannot be read: %s", active.revision, error)  # noqa: TRY400  the message says it all
            return None
        return policy


def _refuse_unknown_patterns(policy: Policy, scanner: PromptScanner) -> None:
    """Makes sure that this release still looks for all that the bundle names.

    Raises:
        ValueError: a pattern is not known here: it would silently match nothing.
    """
    if not policy.scans:
        return
    rules = set(scanner.rules)
    rules |= {rule.partition(".")[0] for rule in rules}
    for restriction in policy.prompts:
        for pattern in restriction.patterns:
            if pattern not in rules:
                raise ValueError(f"{restriction.id}: there is no pattern {pattern}")
