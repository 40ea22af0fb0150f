"""Records as workers and the control process write them, for tests and benches."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from comptroller.core.timestamps import rfc3339
from comptroller.core.usage import GENERATED_CLASSES, PROMPT_CLASSES, Usage, total
from comptroller.engine import records
from comptroller.engine.control_records import CONTROL_HEARTBEAT
from comptroller.engine.controls import BUNDLED, CONTROLS
from comptroller.engine.policy_records import (
    POLICY_ACTIVATED,
    POLICY_DEACTIVATED,
    POLICY_LOADED,
    POLICY_PUBLISHED,
)
from comptroller.engine.ports import Clock, Ids, Journal

_ACTOR: Final = {"person": "ada", "account": "ada@host"}
DECIDED: Final[dict[str, Any]] = {
    "path": "/v1/chat/completions",
    "gen_ai.operation.name": "chat",
    "comptroller.dialect": "openai",
    "gen_ai.provider.name": "openai",
    "comptroller.model.upstream": "gpt-5-mini",
    "server.address": "api.openai.com",
    "service.name": "checkout-assistant",
    "comptroller.unit.id": "retail",
    "comptroller.tenant.id": "acme",
    "comptroller.service.kind": "internal",
    "deployment.environment.name": "production",
    "comptroller.credential.id": "cred-1",
    "comptroller.credential.person": "ada",
    "comptroller.owner.policy": "ada",
    "comptroller.owner.billing": "grace",
    "comptroller.owner.technical": "alan",
    "comptroller.owner.unit": "grace",
    "comptroller.owner.gateway": "alan",
    "comptroller.operator": None,
    "comptroller.sponsor": None,
    "comptroller.registry.revision": 1,
    "bundles": {"registry": {"revision": "1"}},
    "comptroller.rate_card": "card-1",
    "result": "allow",
    "reason": "allowed",
    "gen_ai.request.model": "gpt-5-mini",
    "gen_ai.request.max_tokens": None,
    "gen_ai.request.stream": False,
    "comptroller.controls": [],
    "comptroller.hold.nano_usd": 1000,
    "comptroller.hold.input_tokens": 100,
    "comptroller.hold.output_tokens": 50,
    "http.request.body.size": 100,
}


class Script:
    """Appends whole records to a journal, with believable values.

    Keyword arguments named `members` replace members of `data`, by their names in
    engine/records.py on the wire, such as `{"service.name": "search"}`.
    """

    def __init__(self, journal: Journal, clock: Clock, ids: Ids) -> None:
        self._journal = journal
        self._clock = clock
        self._ids = ids

    def append(self, kind: str, subject: str, data: dict[str, Any]) -> None:
        """Appends a record of any type."""
        journal = self._journal
        record = {
            "specversion": "1.0",
            "id": self._ids.new(),
            "source": journal.source,
            "type": kind,
            "time": rfc3339(self._clock.now_ns()),
            "subject": subject,
            "sequence": str(journal.sequence),
            "data": data,
        }
        journal.append(records.encode(record))

    def decided(self, request_id: str, members: dict[str, Any] | None = None) -> None:
        """A decision; allowed unless members say otherwise."""
        data = {"decision_id": request_id, **DECIDED, **(members or {})}
        self.append(records.DECIDED, f"request/{request_id}", data)

    def settled(
        self,
        request_id: str,
        cost_nano_usd: int,
        usage: Usage,
        members: dict[str, Any] | None = None,
    ) -> None:
        """A settlement."""
        data = {
            "decision_id": request_id,
            "outcome": "completed",
            "http.response.status_code": 200,
            "gen_ai.response.model": "gpt-5-mini-2026",
            "gen_ai.response.id": "chatcmpl-1",
            "gen_ai.usage.input_tokens": total(usage, PROMPT_CLASSES),
            "gen_ai.usage.output_tokens": total(usage, GENERATED_CLASSES),
            "comptroller.usage": usage,
            "comptroller.usage.source": "provider",
            "comptroller.usage.raw": [],
            "comptroller.usage.passes": [],
            "comptroller.service_tier": None,
            "comptroller.rate_card": "card-1",
            "comptroller.cost.nano_usd": cost_nano_usd,
            "comptroller.cost.source": "rate_card",
            "comptroller.hold.exceeded": False,
            "comptroller.duration_us": 1234,
            "comptroller.first_byte_us": 345,
            **(members or {}),
        }
        self.append(records.SETTLED, f"request/{request_id}", data)

    def released(self, request_id: str) -> None:
        """A release: nothing was sent upstream."""
        data = {"decision_id": request_id, "reason": "upstream_unreachable"}
        self.append(records.RELEASED, f"request/{request_id}", data)

    def abandoned(self, request_id: str, journal: str) -> None:
        """What recovery says of a dead worker's request."""
        data = {
            "decision_id": request_id,
            "journal": journal,
            "comptroller.cost.nano_usd": 1000,
            "comptroller.usage": {"input": 100, "output": 50},
            "comptroller.usage.source": "hold",
        }
        self.append(records.ABANDONED, f"request/{request_id}", data)

    def applied(
        self, revision: int, objects: dict[tuple[str, str], Any | None]
    ) -> None:
        """Registry changes, (kind, id) to the new body or None, and their revision."""
        for (kind, name), after in objects.items():
            self.changed(revision, kind, name, after)
        data = {
            "revision": revision,
            "changes": len(objects),
            "digest": "sha256:00",
            "actor": _ACTOR,
        }
        self.append(records.REGISTRY_APPLIED, f"registry/{revision}", data)

    def changed(self, revision: int, kind: str, name: str, after: object) -> None:
        """One change; it takes effect with its revision."""
        data = {
            "revision": revision,
            "kind": kind,
            "id": name,
            "before": None,
            "after": after,
            "actor": _ACTOR,
        }
        type_ = records.OBJECT_REMOVED if after is None else records.OBJECT_CREATED
        self.append(type_, f"{kind}/{name}", data)

    def issued(self, credential: str, expires_ns: int | None = None) -> None:
        """A new credential."""
        data = {
            "credential_id": credential,
            "service": "checkout-assistant",
            "person": "ada",
            "secret_sha256": f"{credential}-0",
            "not_before_ns": 1,
            "expires_ns": expires_ns,
            "actor": _ACTOR,
        }
        self.append(records.CREDENTIAL_ISSUED, f"credential/{credential}", data)

    def rotated(self, credential: str, sha256: str, old_not_after_ns: int) -> None:
        """A new secret; the old ones end."""
        data = {
            "credential_id": credential,
            "secret_sha256": sha256,
            "not_before_ns": 2,
            "old_not_after_ns": old_not_after_ns,
            "actor": _ACTOR,
        }
        self.append(records.CREDENTIAL_ROTATED, f"credential/{credential}", data)

    def revoked(self, credential: str, revoked_ns: int) -> None:
        """The end of a credential."""
        data = {
            "credential_id": credential,
            "reason": "leaked",
            "revoked_ns": revoked_ns,
            "actor": _ACTOR,
        }
        self.append(records.CREDENTIAL_REVOKED, f"credential/{credential}", data)

    def policy_published(
        self, revision: str, members: dict[str, Any] | None = None
    ) -> None:
        """A bundle was checked and kept."""
        data = {
            "revision": revision,
            "author": "ada",
            "note": "",
            "files": [{"name": "acme.policy.yaml", "bytes": 1, "sha256": "00"}],
            "parts": ["allow", "ceil"],
            "parts_count": 2,
            "cases": 3,
            "sets_digest": "sha256:00",
            "actor": _ACTOR,
            **(members or {}),
        }
        self.append(POLICY_PUBLISHED, f"policy/{revision}", data)

    def policy_activated(self, revision: str | None, previous: str | None) -> None:
        """A bundle decides from now on; None: none does."""
        data = {
            "revision": revision,
            "previous": previous,
            "author": "ada",
            "approver": "grace",
            "note": "why",
            "separation_of_duties": True,
            "actor": _ACTOR,
        }
        kind = POLICY_DEACTIVATED if revision is None else POLICY_ACTIVATED
        self.append(kind, f"policy/{revision or previous}", data)

    def policy_loaded(self, revision: str | None, previous: str | None) -> None:
        """A worker decides by another bundle from now on."""
        data = {"revision": revision, "previous": previous}
        self.append(POLICY_LOADED, "policy", data)

    def heartbeat(
        self,
        revision: int = 1,
        policy: str | None = None,
        inactive: Collection[str] = (),
        members: dict[str, Any] | None = None,
        number: int | None = None,
    ) -> None:
        """A worker says what it enforces; the policy's controls only under one.

        Args:
            revision: of the registry.
            policy: the bundle that decides.
            inactive: controls that it does not enforce.
            members: of the state, instead of the usual ones.
            number: of the heartbeats in this journal; None: as older releases did.
        """
        controls = [
            {
                "id": name,
                "is_active": name not in inactive
                and (policy is not None or name not in BUNDLED),
                "revision": policy if name in BUNDLED else str(revision),
            }
            for name in CONTROLS
        ]
        state = {
            "registry_revision": revision,
            "policy_revision": policy,
            "policy_is_usable": True,
            "durability": "disk",
            "every_s": 30,
            "controls": controls,
            **(members or {}),
        }
        data = {"why": "interval", "snapshot": 1, "number": number, "state": state}
        self.append(CONTROL_HEARTBEAT, "controls", data)

    def journal_started(self) -> None:
        """The process began to record."""
        self.append(records.JOURNAL_STARTED, "journal", {"process": 1})

    def journal_closed(self) -> None:
        """The process ended in order."""
        self.append(records.JOURNAL_CLOSED, "journal", {})
