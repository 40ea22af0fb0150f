"""Inbound: one request as a client sent it, parsed and judged as HTTP."""

from __future__ import annotations

import zlib
from typing import Final
from urllib.parse import unquote_to_bytes

import httptools
import msgspec

from comptroller.engine import refusals
from comptroller.engine.refusals import Refusal

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers that concern one connection only (RFC 9110 §7.6.1)."""

CREDENTIALS: Final = frozenset({b"authorization", b"x-api-key", b"x-goog-api-key"})
_OURS: Final = frozenset(
    {b"host", b"content-length", b"expect", b"accept-encoding", b"content-encoding"}
)
_MISLEADING: Final = frozenset(
    {
        b"x-http-method-override",
        b"x-http-method",
        b"x-method-override",
        b"x-goog-fieldmask",
        b"x-vertex-ai-llm-request-type",
        b"x-vertex-ai-llm-shared-request-type",
    }
)
"""Headers that would make the provider do another thing than was decided on, bill it
by another tier, or leave the usage out of its reply."""
RUN: Final = b"x-comptroller-run"
_SESSIONS: Final = frozenset(
    {b"x-claude-code-session-id", b"session-id", b"session_id", b"x-session-id"}
    | {b"x-qwen-code-session-id", b"x-session-affinity"}
)
"""By which coding agents name the session that a request belongs to."""
_JUDGED: Final = frozenset({b"content-type"}) | _SESSIONS
"""Passed on, after a look at it."""
_CHARSETS: Final = frozenset(
    {b"", b"utf-8", b"utf8", b"us-ascii", b"ascii", b"iso-8859-1", b"latin1"}
)
"""In which JSON's own characters are the bytes that we read."""
HEAD_BYTES_MAX: Final = 64 * 1024
TARGET_BYTES_MAX: Final = 8 * 1024
OWN_PREFIX: Final = b"x-comptroller-"
"""Of our own headers: they are for the gateway or from it, never passed on."""

_WITHHELD: Final = HOP_BY_HOP | CREDENTIALS | _OURS | _MISLEADING | _JUDGED
_NAMES_MAX: Final = 1024


HEAD_TOO_LARGE: Final = Refusal(
    431,
    "head_too_large",
    f"The request's head is larger than {HEAD_BYTES_MAX} bytes.",
)
TARGET_TOO_LONG: Final = Refusal(
    414,
    "target_too_long",
    f"The request's target is longer than {TARGET_BYTES_MAX} bytes.",
)
HTTP_VERSION: Final = Refusal(
    505,
    "http_version",
    "This gateway speaks HTTP/1.1, and HTTP/1.0 without Transfer-Encoding.",
)


CHARSET: Final = refusals.bad_request("the body must be JSON in UTF-8")


class HeaderNames:
    """What a header's name means, remembered by its exact bytes.

    Clients send the same few names again and again; remembering what each means
    saves folding its case every time. Bounded, as names are the client's choice.
    """

    def __init__(self, withheld: frozenset[bytes]) -> None:
        self._withheld = withheld
        self._known: dict[bytes, bytes] = {}

    def withheld(self, name: bytes) -> bytes:
        """The name in lower case if the header is not passed on, else nothing."""
        known = self._known.get(name)
        if known is None:
            lower = name.lower()
            keep = lower not in self._withheld and not lower.startswith(OWN_PREFIX)
            known = b"" if keep else lower
            if len(self._known) < _NAMES_MAX:
                self._known[name] = known
        return known


REQUEST_HEADERS: Final = HeaderNames(_WITHHELD)


class Inbound(msgspec.Struct, frozen=True):
    """A whole request."""

    method: bytes
    path: bytes
    query: bytes
    """Without the question mark, and without a credential."""
    lines: list[bytes]
    """Headers to forward, as `name: value`."""
    secrets: list[bytes]
    """Every credential that the request carries."""
    coding: bytes
    """Its content coding; empty for none."""
    body: bytes
    keep_alive: bool
    chunked_allowed: bool
    """Whether the client understands chunked replies (HTTP/1.1)."""
    has_host: bool
    is_head: bool
    run: bytes = b""
    """The run that it belongs to, as the client names it; empty: it names none."""


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Splits a request target into path and query; the origin is cut off."""
    if not target.startswith(b"/"):
        # RFC 9112 §3.2.2: a server must understand the absolute form.
        _, mark, rest = target.partition(b"://")
        target = b"/" + rest.partition(b"/")[2] if mark else target
    path, _, query = target.partition(b"?")
    return path, query


def take_key(query: bytes) -> tuple[bytes, list[bytes]]:
    """Takes every `key=` out of a query: it is a credential (Google's form)."""
    if b"key" not in query and b"%" not in query:
        return query, []
    kept, keys = [], []
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        # However it is spelt: the provider would read it as a credential, too.
        if unquote_to_bytes(name) == b"key":
            keys.append(unquote_to_bytes(value))
        else:
            kept.append(part)
    return b"&".join(kept), keys


def is_session(lower: bytes) -> bool:
    """Whether a header names an agent's session."""
    return lower in _SESSIONS


def secret_of(name: bytes, value: bytes) -> bytes:
    """The secret that a credential header carries."""
    if name == b"authorization":
        scheme, _, rest = value.partition(b" ")
        return rest.strip() if scheme.lower() == b"bearer" else value
    return value.strip()


def is_readable(content_type: bytes) -> bool:
    """Whether a body of this type says to the provider what it says to us."""
    _, mark, rest = content_type.lower().partition(b"charset=")
    return not mark or rest.partition(b";")[0].strip(b" \t\"'") in _CHARSETS


def one_secret(secrets: list[bytes]) -> bytes | Refusal | None:
    """The one credential of a request; the same twice is one."""
    if not secrets:
        return None
    first = secrets[0]
    for other in secrets[1:]:
        if other != first:
            return refusals.CONFLICTING_CREDENTIALS
    return first


def decoded(inbound: Inbound, bytes_max: int) -> bytes | Refusal:
    """Undoes a request's content coding, within bounds.

    Returns:
        The plain body, or why it cannot be read.
    """
    coding = inbound.coding.strip().lower()
    if coding in (b"", b"identity"):
        return inbound.body
    if coding not in (b"gzip", b"x-gzip", b"deflate"):
        return Refusal(
            415,
            "unsupported_content_encoding",
            "Send the body uncompressed, or with Content-Encoding gzip or deflate.",
        )
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32 if b"gzip" in coding else 15)
    try:
        body = inflate.decompress(inbound.body, bytes_max)
    except zlib.error:
        return refusals.bad_request("the body is not what its Content-Encoding says")
    if inflate.unconsumed_tail:
        return too_large(bytes_max)
    if not inflate.eof or inflate.unused_data:
        return refusals.bad_request("the coded body is cut off, or more follows it")
    return body


def too_large(bytes_max: int) -> Refusal:
    """A body over the limit."""
    return Refusal(
        413,
        "body_too_large",
        f"The request's body is larger than {bytes_max} bytes, the gateway's limit "
        "('gateway: body_max' in its configuration).",
    )


def timed_out(what: str) -> Refusal:
    """A request whose head or body does not come."""
    message = f"The request's {what} did not arrive in time."
    return Refusal(408, "request_timeout", message, retry=True)


def not_http(error: httptools.HttpParserError) -> Refusal:
    """Bytes that no request begins with or goes on with."""
    return refusals.bad_request(f"this is not HTTP/1.1 as RFC 9112 has it: {error}")
