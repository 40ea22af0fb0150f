"""What the simulated provider stores: responses, for as long as it runs."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final, NamedTuple

STORED_MAX: Final = 10_000


class StoredResponse(NamedTuple):
    """One response, and what it was made from."""

    response: dict[str, Any]
    input_items: list[Any]

    @property
    def context_tokens(self) -> int:
        """What a response that goes on from it has to read again."""
        usage = self.response.get("usage") or {}
        return int(usage.get("total_tokens", 0))


class StoredResponses:
    """All responses of one provider; the oldest are forgotten."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, StoredResponse] = OrderedDict()

    def keep(self, response: dict[str, Any], given: object) -> None:
        """Keeps a response with its input, a text or a list of items."""
        items = given if isinstance(given, list) else []
        if isinstance(given, str):
            part = {"type": "input_text", "text": given}
            items = [{"type": "message", "role": "user", "content": [part]}]
        self._found[response["id"]] = StoredResponse(response, items)
        if len(self._found) > STORED_MAX:
            self._found.popitem(last=False)

    def find(self, name: object) -> StoredResponse | None:
        """A response by its id; None: there is none, or it was deleted."""
        return self._found.get(name) if isinstance(name, str) else None

    def delete(self, name: str) -> bool:
        """Deletes a response; False: there is none."""
        return self._found.pop(name, None) is not None
