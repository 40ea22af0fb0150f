"""Records of what was done to personal data; see `engine.records` for the envelope."""

from __future__ import annotations

from typing import Final

import msgspec

from comptroller.engine.records import Actor

PRIVACY_ERASED: Final = "comptroller.privacy.erased.v1"


class PrivacyErased(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `privacy.erased`: disclosures were destroyed; never what they said.

    An erasure that was interrupted right at its end may be recorded twice, under the
    same `erasure_id`.
    """

    erasure_id: str
    selected_by: str
    """`end_user`, `address`, `request`, `before` or `person`."""
    request: str | None
    """The request, where one was named."""
    before: str | None
    """RFC 3339, where a time was named."""
    person: str | None = None
    """The id of a person who was declared, where one was named."""
    requests: int
    """Whose disclosures were destroyed."""
    disclosures: int
    reason: str
    actor: Actor
