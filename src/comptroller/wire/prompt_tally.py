"""What is found in a prompt while it is read: names, digests, texts by their place."""

from __future__ import annotations

import hashlib
import re
from typing import Final, TypeAlias

from comptroller.core.errors import BadRequestError
from comptroller.core.policy.prompt import (
    SYSTEM_JOINT,
    Place,
    PromptFacts,
    PromptText,
)
from comptroller.wire.prompt_json import DEPTH_MAX, NODES_MAX, Json, JsonObject

NAMES_MAX: Final = 4096
NAME_CHARACTERS_MAX: Final = 256

_Node: TypeAlias = tuple[str, Json, int]
"""What it is called, what it is, how deep it is."""

_BASE64: Final = re.compile(r"[A-Za-z0-9+/=_\-\r\n]*")
_DATA_URL: Final = re.compile(r"data:(?!text/)[\w.+/;=,-]{0,200}?;base64,")
_CARRIERS: Final = frozenset(
    {"source", "inlineData", "inline_data", "input_audio", "audio", "file"}
)
"""What an object with media is called."""
_OPAQUE: Final = frozenset(
    {
        "encrypted_content",
        "signature",
        "thoughtSignature",
        "thought_signature",
    }
)
"""What the provider wrote, and only it can read."""


class Tally:
    """Collects what a reader finds.

    Args:
        body_bytes: of the request.
        texts: whether the texts are wanted.
    """

    def __init__(self, body_bytes: int, *, texts: bool) -> None:
        self._bytes = body_bytes
        self._nodes = 0
        self._texts: dict[Place, list[str]] | None = {} if texts else None
        self._system: list[str] = []
        self._tools: dict[str, None] = {}
        self._builtin: dict[str, None] = {}
        self._elsewhere: dict[str, None] = {}

    def tool(self, name: str) -> None:
        """Notes a tool that the client defines."""
        _note(self._tools, name)

    def builtin(self, kind: str) -> None:
        """Notes a tool that the provider defines."""
        _note(self._builtin, kind)

    def elsewhere(self, found: JsonObject, *fields: str) -> None:
        """Notes which of these fields bring in what the body does not hold."""
        for field in fields:
            if found.get(field) is not None:
                self._elsewhere[field] = None

    def by_reference(self, what: str) -> None:
        """Notes that something is in the prompt which the body only names."""
        self._elsewhere[what] = None

    def system(self, content: Json, kinds: tuple[str | None, ...]) -> None:
        """Notes a system text: a string, or a list of parts that are texts.

        Raises:
            BadRequestError: it holds anything but text.
        """
        parts = content if isinstance(content, list) else [content]
        for part in parts:
            text = part
            if isinstance(part, dict) and part.get("type") in kinds:
                text = part.get("text")
            if text is None and content is None:
                continue
            if not isinstance(text, str):
                raise BadRequestError("a system prompt must be text")
            if text:
                self._system.append(text)
        self.take(Place.SYSTEM, content)

    def take(self, place: Place, value: Json, name: str = "", depth: int = 2) -> None:
        """Takes all the text within a value.

        Raises:
            BadRequestError: it is nested too deeply, or there is too much of it.
        """
        texts = None if self._texts is None else self._texts.setdefault(place, [])
        stack: list[_Node] = [(name, value, depth)]
        while stack:
            name, value, depth = stack.pop()
            self._nodes += 1
            if depth > DEPTH_MAX or self._nodes > NODES_MAX:
                raise BadRequestError("the body is nested too deeply, or has too much")
            if isinstance(value, str):
                if texts is not None and name not in _OPAQUE:
                    texts.append(value)
            elif isinstance(value, dict):
                stack += self._members(name, value, depth + 1)
            elif isinstance(value, list):
                # In reverse: what is put on the stack last is read first.
                stack += [
                    (name, inner, depth + 1)
                    for inner in reversed(value)
                    if inner.__class__ in _WITH_TEXT
                ]

    def _members(self, name: str, value: JsonObject, depth: int) -> list[_Node]:
        """An object's members that may hold text, the last one first."""
        nodes: list[_Node] = []
        media = _media(name, value)
        for key, inner in reversed(value.items()):
            if key == media and isinstance(inner, str):
                self._bytes -= len(inner)
            elif inner.__class__ in _WITH_TEXT:
                nodes.append((key, inner, depth))
            if key in _REFERENCES and inner is not None:
                self.by_reference("file")
        return nodes

    def facts(self, other_models: tuple[str, ...]) -> PromptFacts:
        """What was found.

        Raises:
            BadRequestError: the system text is not one that can be written.
        """
        digest = None
        if self._system:
            digest = system_digest(SYSTEM_JOINT.join(self._system))
        return PromptFacts(
            max(self._bytes, 0),
            digest,
            tuple(self._tools),
            tuple(self._builtin),
            other_models,
            tuple(self._elsewhere),
        )

    def texts(self) -> tuple[PromptText, ...]:
        """The texts of each place, joined by line ends."""
        places = self._texts or {}
        return tuple(
            PromptText(place, "\n".join(texts))
            for place, texts in places.items()
            if texts
        )


def system_digest(text: str) -> str:
    """SHA-256 of a system text in its canonical form, as 64 hexadecimal digits.

    Raises:
        BadRequestError: the text has half a character, which UTF-8 cannot write.
    """
    try:
        return hashlib.sha256(text.encode()).hexdigest()
    except UnicodeEncodeError:
        raise BadRequestError("the system prompt is not text") from None


_WITH_TEXT: Final = frozenset({str, dict, list})
_REFERENCES: Final = frozenset(
    {"file_id", "file_url", "fileData", "file_data_uri", "fileUri", "file_uri"}
)
"""Members that name a file for the provider to fetch."""


def _media(name: str, value: JsonObject) -> str | None:
    """The member that holds an image, audio or a file in base64."""
    for key in ("url", "image_url", "file_data", "data"):
        inner = value.get(key)
        if not isinstance(inner, str):
            continue
        url = _DATA_URL.match(inner)
        carried = key in ("data", "file_data") and name in _CARRIERS
        if url is None and not (carried and not _is_text(value)):
            continue
        if _BASE64.fullmatch(inner, url.end() if url is not None else 0) is not None:
            return key
    return None


def _is_text(value: JsonObject) -> bool:
    kinds = [value.get(key) for key in ("mimeType", "mime_type", "media_type")]
    return value.get("type") == "text" or any(
        isinstance(kind, str) and kind.startswith("text/") for kind in kinds
    )


def _note(names: dict[str, None], name: str) -> None:
    if not name or len(name) > NAME_CHARACTERS_MAX or not name.isprintable():
        raise BadRequestError("the name or type of a tool is not one")
    names[name] = None
    if len(names) > NAMES_MAX:
        raise BadRequestError(f"there are more than {NAMES_MAX} tools")
