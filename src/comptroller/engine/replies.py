"""Replies of the control process: one line of JSON, a result or an error."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from comptroller.core import errors
from comptroller.engine.records import NULL


class Failure(msgspec.Struct, frozen=True):
    """Why a command was not done."""

    code: str
    message: str


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of answer: a result, or an error."""

    ok: msgspec.Raw = NULL
    error: Failure | None = None


_T = TypeVar("_T")
_REPLIES: Final[msgspec.json.Decoder[Reply]] = msgspec.json.Decoder(Reply)


def encode_result(result: msgspec.Struct) -> bytes:
    """Writes a result as an answer of one line."""
    return msgspec.json.encode(Reply(ok=msgspec.Raw(msgspec.json.encode(result))))


def encode_error(error: errors.ComptrollerError) -> bytes:
    """Writes an error as an answer of one line."""
    return msgspec.json.encode(Reply(error=Failure(error.code, error.message)))


def decode_as(kind: type[_T], line: bytes) -> _T:
    """Reads the answer to a command whose result is of a kind.

    Raises:
        ComptrollerError: the error that the answer states, of its own class.
        ControlUnavailableError: it is no answer of this release.
    """
    try:
        reply = _REPLIES.decode(line)
        if reply.error is None and reply.ok != NULL:
            return msgspec.json.decode(reply.ok, type=kind)
    except msgspec.DecodeError as error:
        raise errors.ControlUnavailableError(
            f"the control process answers what this release does not know: {error}"
        ) from error
    raise _raised(reply.error)


def _raised(failure: Failure | None) -> errors.ComptrollerError:
    if failure is None:
        return errors.ControlUnavailableError("the control process answers nothing")
    known = {one.code: one for one in errors.ComptrollerError.__subclasses__()}
    return known.get(failure.code, errors.ComptrollerError)(failure.message)
