"""Safe names: what clients call things, in a form that a record may hold.

A client may put a prompt or a secret into any field: records hold neither.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container

from comptroller.wire.request import RequestFacts

_MODEL_CHARACTERS_MAX = 200
_MODEL_NAME = re.compile(r"[A-Za-z0-9._:/@+-]{1,100}")
_SECRET = re.compile(r"ctl_|sk-|AIza|eyJ")
"""What our secrets begin with, and what others' keys and tokens do."""


def model(facts: RequestFacts | None, declared: Container[str]) -> str | None:
    """The model to record: one that is declared, or a name that could be a model's.

    A client may put a prompt or a secret into the field: records hold neither.
    """
    if facts is None:
        return None
    name = facts.model
    if name in declared:
        return name[:_MODEL_CHARACTERS_MAX]
    if _MODEL_NAME.fullmatch(name) is None or _SECRET.search(name) is not None:
        return None
    return name


_PLAIN_NAME = re.compile(r"[A-Za-z0-9._:/@+-]{1,128}")


def is_plain(name: str) -> bool:
    """Whether a name, such as a tool's, may stand in a record as it is."""
    return _PLAIN_NAME.fullmatch(name) is not None and _SECRET.search(name) is None


_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def session(name: str | None) -> str | None:
    """A session that a request names beside its end user, if it says nothing of them.

    What follows a user's id may be anything: only a UUID, which nobody can guess, is
    certain to be a session's.
    """
    if name is None or _UUID.fullmatch(name) is None:
        return None
    return name


_RUN = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def run(header: bytes, session: str | None) -> str | None:
    """The run that a request belongs to, in a form that is safe in names.

    What a client calls its run may be anything: what is no plain id, or looks like
    a secret, is known by its hash.
    """
    if not header and session is None:
        return None
    text = header.decode("latin-1") if header else session or ""
    if _RUN.fullmatch(text) is not None and _SECRET.search(text) is None:
        return text
    return "sha256-" + hashlib.sha256(text.encode()).hexdigest()[:32]
