"""Discretion: what decision records say of persons, so that it can be unsaid.

A personal field is a commitment in the record and a disclosure in a side table
apart from the log (core/disclosure.py). The disclosure is written first: then a
process killed in between leaves a disclosure without a record, which an erasure
removes like any other. One that is lost, for want of disk or power, takes nothing
from the record: it only says less.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from comptroller.core.disclosure import (
    ALGORITHM,
    CLIENT_ADDRESS,
    END_USER,
    SALT_BYTES,
    base64url,
    commitment,
    disclosure,
)
from comptroller.core.registry import Privacy
from comptroller.engine.ports import Entropy
from comptroller.engine.privacy_ports import DisclosureLine, DisclosureSink
from comptroller.wire.end_user import end_user
from comptroller.wire.routes import Route

FINGERPRINT_BYTES_MAX: Final = 1024 * 1024
"""A larger body has no fingerprint: hashing it would hold up every other request."""

json = msgspec.json.Encoder().encode


class Asked(NamedTuple):
    """What a request says of persons, or may say."""

    route: Route
    body: bytes
    address: str
    """Of the client's end of the connection; empty: not known."""
    tenant: str | None
    """Whose service asks; None: not known."""


class Discretion:
    """Adds to decision records what is configured.

    Args:
        privacy: what is.
        entropy: for salts.
        sink: takes the disclosures.
        keys: of the tenants' fingerprints, by tenant.
    """

    def __init__(
        self,
        privacy: Privacy,
        entropy: Entropy,
        sink: DisclosureSink,
        keys: Mapping[str, bytes],
    ) -> None:
        self._privacy = privacy
        self._entropy = entropy
        self._sink = sink
        self._keys = keys

    def complete(self, request_id: str, data: bytes, asked: Asked) -> bytes:
        """The members of a decision record, with those of this module.

        What is disclosed is in the side table when this returns, or lost.

        Args:
            request_id: the decision's id.
            data: its members until now.
            asked: the request.
        """
        disclosures = self._disclosures(asked)
        if disclosures:
            line = DisclosureLine(request_id, disclosures)
            self._sink.append(json(line) + b"\n")
            committed = sorted(commitment(one) for one in disclosures)
            data = b'%b,"_sd":%b,"_sd_alg":"%b"' % (
                data,
                json(committed),
                ALGORITHM.encode(),
            )
        if self._privacy.prompt_fingerprint:
            fingerprint = json(self._fingerprint(asked))
            data = b'%b,"comptroller.prompt.hmac":%b' % (data, fingerprint)
        return data

    def _disclosures(self, asked: Asked) -> list[str]:
        fields = []
        if self._privacy.end_user:
            fields.append((END_USER, end_user(asked.route, asked.body)))
        if self._privacy.client_address:
            fields.append((CLIENT_ADDRESS, plain_address(asked.address)))
        return [
            disclosure(self._entropy.token(SALT_BYTES), name, value)
            for name, value in fields
            if value
        ]

    def _fingerprint(self, asked: Asked) -> str | None:
        body = asked.body
        key = self._keys.get(asked.tenant) if asked.tenant is not None else None
        if key is None or not 0 < len(body) <= FINGERPRINT_BYTES_MAX:
            return None
        return base64url(hmac.digest(key, body, "sha256"))


def plain_address(text: str) -> str:
    """An IP address in the one form that it is disclosed and looked for in.

    An IPv4 address in IPv6's clothes is an IPv4 address. What is no address stays
    as it is.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
