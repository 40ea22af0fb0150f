"""Every error raised on purpose: one class per broken rule, each with a stable code."""

from __future__ import annotations

from typing import ClassVar


class ComptrollerError(Exception):
    """Something went wrong that a person can act on."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip())

    @property
    def message(self) -> str:
        """What was wrong, where, and what to do."""
        return str(self.args[0])


class ConfigurationError(ComptrollerError):
    """The configuration is not valid."""

    code = "configuration"


class NotFoundError(ComptrollerError):
    """There is no such thing."""

    code = "not_found"


class ConflictError(ComptrollerError):
    """The thing is not in a state in which that can be done."""

    code = "conflict"


class LegalHoldError(ComptrollerError):
    """A legal hold is in force: nothing of its scope is deleted."""

    code = "legal_hold"


class JournalUnavailableError(ComptrollerError):
    """The journal cannot record, so nothing may be forwarded."""

    code = "journal_unavailable"


class StoreUnavailableError(ComptrollerError):
    """The store cannot answer."""

    code = "store_unavailable"


class ControlUnavailableError(ComptrollerError):
    """The control process does not answer."""

    code = "control_unavailable"


class UnpricedError(ComptrollerError):
    """A model has no price."""

    code = "unpriced"


class BadRequestError(ComptrollerError):
    """The request is not one that can be decided on."""

    code = "bad_request"


class RecordError(ComptrollerError):
    """A record in a journal cannot be understood."""

    code = "record"


class InvalidArgumentError(ComptrollerError):
    """What was asked cannot be meant so."""

    code = "invalid_argument"


class ContentUnavailableError(ComptrollerError):
    """Kept content is not there, or is not what it was."""

    code = "content_unavailable"


class ScanLimitError(ComptrollerError):
    """The prompt is more than can be scanned."""

    code = "scan_limit"


class ProofError(ComptrollerError):
    """The proof does not prove it."""

    code = "proof"


class NoteError(ComptrollerError):
    """The signed note is not well formed, or not signed by a key that is known."""

    code = "note"


class TrailDamagedError(ComptrollerError):
    """The trail is not what was written: nothing is signed until a person looked."""

    code = "trail_damaged"


class TrailPrunedError(TrailDamagedError):
    """The record was pruned from the trail; its hash is still there."""

    code = "trail_pruned"
    index: int | None = None
    """Of the record, or of the first one in its bundle; None: it is not known."""


class WitnessUnavailableError(ComptrollerError):
    """The witness does not answer."""

    code = "witness_unavailable"


class AnchorError(ComptrollerError):
    """The repository cannot take or give a checkpoint."""

    code = "anchor"


class TrailUnavailableError(ComptrollerError):
    """The trail cannot be read or written."""

    code = "trail_unavailable"
