"""Requests for one stored object: what may be asked of it beside its path."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

from comptroller.core.errors import BadRequestError
from comptroller.wire.routes import Operation, Route

_NOTHING: Final = frozenset({b"", b"{}", b"null"})
_LISTED: Final = frozenset({b"include", b"include[]", b"after", b"limit", b"order"})
_PARAMETERS: Final = {
    Operation.GET_RESPONSE: frozenset({b"include", b"include[]", b"stream"}),
    Operation.RESPONSE_INPUT_ITEMS: _LISTED,
}


def refuse_other_requests(route: Route, query: bytes, body: bytes) -> None:
    """Makes sure that a request asks for a stored object, and for nothing else.

    Args:
        route: of an object operation.
        query: as on the wire, without a credential.
        body: the whole body.

    Raises:
        BadRequestError: a parameter or a body may ask for more; the message names
            the parameter.
    """
    if body.strip() not in _NOTHING:
        raise BadRequestError("a request for a stored response has no body")
    known = _PARAMETERS.get(route.operation, frozenset())
    for part in filter(None, query.split(b"&")):
        name, _, value = part.partition(b"=")
        parameter = unquote_to_bytes(name)
        if parameter not in known:
            raise BadRequestError(
                "the query may have no other parameters than: "
                + (b", ".join(sorted(known)).decode() or "none")
            )
        if parameter == b"stream" and unquote_to_bytes(value) not in (b"", b"false"):
            raise BadRequestError("a stored response is not streamed again")
