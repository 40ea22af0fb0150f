"""Legal holds: while one is in force, nothing of its scope is deleted.

Whom one is about is known by a commitment alone, as of the personal fields of
records; its salt is destroyed when it is lifted, and then nobody can tell any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from comptroller.core.errors import LegalHoldError
from comptroller.core.timestamps import rfc3339
from comptroller.engine.retention_ports import LegalHoldRow, RetentionReports


def in_force(reports: RetentionReports) -> Sequence[LegalHoldRow]:
    """The legal holds that are in force, oldest first.

    Raises:
        StoreUnavailableError: it is not known.
    """
    return [one for one in reports.legal_holds() if one.lifted_ns is None]


def check_no_legal_hold(reports: RetentionReports, consequence: str) -> None:
    """Lets a deletion go on that may be of anybody's records.

    Args:
        reports: of the store, with every act in it that was recorded.
        consequence: of a legal hold, such as `no journal is deleted`.

    Raises:
        LegalHoldError: a legal hold is in force, on whatever; the message names it.
        StoreUnavailableError: it is not known whether one is.
    """
    for held in in_force(reports):
        refuse(held, consequence)


def refuse(held: LegalHoldRow, consequence: str) -> NoReturn:
    """Says why something is not deleted, and what would have to be done.

    Raises:
        LegalHoldError: always.
    """
    scope = "everything" if held.end_user_trace is None else "an end user"
    raise LegalHoldError(
        f"legal hold {held.id} on {scope} is in force since"
        f" {rfc3339(held.placed_ns)}, placed by"
        f" {held.placed_by or held.placed_account} ({held.reason}): {consequence}"
        " until it is lifted with comptroller audit legal-hold lift"
    )
