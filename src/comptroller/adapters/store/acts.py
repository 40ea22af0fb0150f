"""Projecting administrative acts: the registry, the credentials, retention."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    Connection,
    Delete,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import sqlite

from comptroller.adapters.store import schema
from comptroller.adapters.store.deletions import project_deleted
from comptroller.adapters.store.reports import last_revision
from comptroller.adapters.store.retention import (
    project_lifted,
    project_placed,
    project_pruned,
)
from comptroller.core.errors import RecordError
from comptroller.engine import deletion_records, fold, records, retention_records


def project_acts(
    connection: Connection, journal: int, acts: Sequence[fold.Act]
) -> None:
    """Projects acts in their order.

    Args:
        connection: in a transaction.
        journal: the row of the journal that they stand in.
        acts: of that journal.

    Raises:
        RecordError: one does not follow from what was projected before.
    """
    for act in acts:
        match act.data:
            case records.ObjectChange() as change:
                _stage(connection, journal, change)
            case records.RegistryApplied() as applied:
                _apply(connection, journal, applied, act)
            case records.CredentialIssued() as issued:
                _issue(connection, issued, act.time_ns)
            case records.CredentialRotated() as rotated:
                _rotate(connection, rotated)
            case records.CredentialRevoked() as revoked:
                _revoke(connection, revoked)
            case _:
                _retain(connection, act)


def _retain(connection: Connection, act: fold.Act) -> None:
    """Projects an act on what is kept."""
    match act.data:
        case retention_records.TrailPruned() as pruned:
            project_pruned(connection, pruned, act.time_ns)
        case retention_records.LegalHoldPlaced() as placed:
            project_placed(connection, placed, act.time_ns)
        case retention_records.LegalHoldLifted() as lifted:
            project_lifted(connection, lifted, act.time_ns)
        case deletion_records.JournalDeleted() as deleted:
            project_deleted(connection, deleted, act.time_ns)
        case _:
            pass


def _stage(connection: Connection, journal: int, change: records.ObjectChange) -> None:
    """Keeps a change aside until its revision is applied."""
    statement = sqlite.insert(schema.registry_changes).values(
        journal=journal,
        revision=change.revision,
        kind=change.kind,
        id=change.id,
        body=change.body,
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["journal", "revision", "kind", "id"],
            set_={"body": statement.excluded.body},
        )
    )


def _apply(
    connection: Connection,
    journal: int,
    applied: records.RegistryApplied,
    act: fold.Act,
) -> None:
    before = last_revision(connection)
    if applied.revision != before + 1:
        raise RecordError(f"revision {applied.revision} cannot follow {before}")
    changes, objects = schema.registry_changes, schema.registry_objects
    ours = (changes.c.journal == journal) & (changes.c.revision == applied.revision)
    touched = select(changes.c.kind, changes.c.id).where(ours)
    connection.execute(
        delete(objects).where(tuple_(objects.c.kind, objects.c.id).in_(touched))
    )
    new = select(changes.c.kind, changes.c.id, changes.c.body).where(
        ours, changes.c.body.is_not(None)
    )
    connection.execute(insert(objects).from_select(["kind", "id", "body"], new))
    columns = ["revision", "kind", "id", "body"]
    history = select(*[changes.c[name] for name in columns]).where(ours)
    connection.execute(insert(schema.registry_history).from_select(columns, history))
    connection.execute(_settled_changes(applied.revision))
    connection.execute(
        insert(schema.revisions).values(
            revision=applied.revision,
            time_ns=act.time_ns,
            digest=applied.digest,
            person=applied.actor.person,
            account=applied.actor.account,
            journal=journal,
            sequence=act.sequence,
        )
    )


def _settled_changes(revision: int) -> Delete:
    """Also drops what a process staged that died before it applied."""
    return delete(schema.registry_changes).where(
        schema.registry_changes.c.revision <= revision
    )


def _issue(
    connection: Connection, issued: records.CredentialIssued, time_ns: int
) -> None:
    connection.execute(
        insert(schema.credentials).values(
            id=issued.credential_id,
            service=issued.service,
            person=issued.person,
            issued_ns=time_ns,
            expires_ns=issued.expires_ns,
        )
    )
    connection.execute(
        insert(schema.credential_secrets).values(
            credential_id=issued.credential_id,
            ordinal=0,
            sha256=issued.secret_sha256,
            not_before_ns=issued.not_before_ns,
        )
    )


def _rotate(connection: Connection, rotated: records.CredentialRotated) -> None:
    table = schema.credential_secrets
    ours = table.c.credential_id == rotated.credential_id
    count = connection.scalar(select(func.count()).select_from(table).where(ours))
    if not count:
        raise _never_issued(rotated.credential_id)
    end = rotated.old_not_after_ns
    still_longer = or_(table.c.not_after_ns.is_(None), table.c.not_after_ns > end)
    connection.execute(update(table).where(ours, still_longer).values(not_after_ns=end))
    connection.execute(
        insert(table).values(
            credential_id=rotated.credential_id,
            ordinal=count,
            sha256=rotated.secret_sha256,
            not_before_ns=rotated.not_before_ns,
        )
    )


def _revoke(connection: Connection, revoked: records.CredentialRevoked) -> None:
    changed = connection.execute(
        update(schema.credentials)
        .where(schema.credentials.c.id == revoked.credential_id)
        .values(revoked_ns=revoked.revoked_ns, revoked_reason=revoked.reason)
    )
    if changed.rowcount != 1:
        raise _never_issued(revoked.credential_id)


def _never_issued(credential_id: str) -> RecordError:
    return RecordError(f"credential {credential_id} was never issued")
