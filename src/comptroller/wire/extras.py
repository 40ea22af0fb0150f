"""Extras: what lets a request cost more than its bytes and its ceiling say.

Read only where a limit has to hold. What a provider does by itself (searches, tools,
further passes) is bounded by what the request states, or it is called unbounded, with
what to set. Whatever is not understood is taken for the dearer of two meanings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from comptroller.core.bound import PLAIN_OVERHEAD_TOKENS, PROMPT_OVERHEAD_TOKENS
from comptroller.core.errors import BadRequestError
from comptroller.wire import splice
from comptroller.wire.raw import (
    RawObject,
    is_given,
    object_of,
    objects_of,
    one_or_more,
    text_at,
    text_of,
    texts_at,
    whole_at,
)
from comptroller.wire.response_items import WHOLE_ITEMS
from comptroller.wire.routes import Operation, Route

IMAGE_TOKENS_OPENAI: Final = 50_000
"""The most that one image is billed at: gpt-4o-mini's 2,833 and 8 tiles of 5,667."""
IMAGE_TOKENS_TILED: Final = 4_000
"""The most of one image to OpenAI's models named in _TILED: 1,536 patches at 2.46."""
IMAGE_TOKENS_ANTHROPIC: Final = 5_000
"""The most of one image: 4,784 at the highest resolution, 1,600 at the usual one."""
IMAGE_TOKENS_GEMINI: Final = 5_000
"""The most of one image: 16 tiles of 258 tokens, 2,240 at `ultra high`."""


ANTHROPIC_LOOPS_MAX: Final = 10
"""After so many rounds of its own tools the API pauses the turn (`pause_turn`)."""
RESPONSES_LOOPS_MAX: Final = 8
"""Rounds of a hosted tool search; the API states no bound, and bills one in all
recordings, however many there were."""


class Extras(NamedTuple):
    """What bounds a request beside its body's size and its ceiling."""

    input_bytes: int
    """Bound of the prompt's tokens for one pass, but for the provider's overhead:
    the body's bytes, where every image counts as what it is billed at the most."""
    is_by_reference: bool = False
    """The prompt holds what the body does not: only the context window bounds it."""
    passes: int = 1
    """How often the prompt may be read, and output generated: uses of tools + 1."""
    searches: int = 0
    """Hosted web searches that are billed at the most."""
    classes: tuple[str, ...] = ()
    """Usage classes beside text that may be billed: each needs a price of its own."""
    tier: str | None = None
    """A tier that is asked for in another way than by `service_tier`: `fast`."""
    unbounded: str | None = None
    """Why nothing bounds the cost, and what to do; None: it is bounded."""
    overhead: int = PROMPT_OVERHEAD_TOKENS
    """Tokens that the provider adds to the prompt, at the most."""


_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


class _Tally:
    """What has been found so far."""

    def __init__(self, body: bytes, image_tokens: int) -> None:
        self.input_bytes = len(body)
        self.is_by_reference = False
        self.uses = 0
        self.searches = 0
        self.classes: dict[str, None] = {}
        self.tier: str | None = None
        self.unbounded: str | None = None
        self._image_tokens = image_tokens
        # A body that only quotes the words is bounded a little less tightly.
        has_tools = b"tool" in body or b"function" in body
        self.overhead = PROMPT_OVERHEAD_TOKENS if has_tools else PLAIN_OVERHEAD_TOKENS

    def image(self, written: msgspec.Raw | None) -> None:
        """Counts an image at what it is billed at the most, not at its bytes."""
        size = 0 if written is None else len(written)
        self.input_bytes += self._image_tokens - size

    def refuse(self, why: str) -> None:
        """Notes the first reason for which nothing bounds the cost."""
        self.unbounded = self.unbounded or why

    def search(self, uses: int) -> None:
        """Counts hosted searches, each of which brings what the body does not hold."""
        self.uses += uses
        self.searches += uses
        self.is_by_reference = True

    def extras(self) -> Extras:
        """All of it."""
        return Extras(
            self.input_bytes,
            self.is_by_reference,
            self.uses + 1,
            self.searches,
            tuple(self.classes),
            self.tier,
            self.unbounded,
            self.overhead,
        )


def read_extras(route: Route, body: bytes, upstream: str) -> Extras:
    """Reads what bounds a request's cost, or why nothing does.

    Args:
        route: the request's route.
        body: a body that `read_facts` has read.
        upstream: the provider's name of the model: some search of their own accord.
    """
    read = _READ.get(route.operation)
    if read is None:
        return Extras(len(body), overhead=PLAIN_OVERHEAD_TOKENS)
    reader, image_tokens = read
    if image_tokens == IMAGE_TOKENS_OPENAI and _TILED.match(upstream) is not None:
        image_tokens = IMAGE_TOKENS_TILED
    tally = _Tally(body, image_tokens)
    if _AGENTS.search(upstream) is not None:
        tally.refuse("the model runs tools at its provider of its own accord")
    elif _SEARCHES.search(upstream) is not None:
        tally.search(1)
    for mark, usage_class in _GENERATES.items():
        if mark in upstream:
            tally.classes[usage_class] = None
    try:
        reader(tally, splice.members(body))
    except (msgspec.MsgspecError, BadRequestError, ValueError, RecursionError):
        tally.refuse("it is not of the form that the API describes; mend the request")
    return tally.extras()


_TILED: Final = re.compile(
    r"(?:openai/|ft:)?(?:gpt-4o(?!-mini)|gpt-4\.1|gpt-5(?![.\w])|o1|o3|o4-mini)\b"
)
_AGENTS: Final = re.compile(r"(?:^|/)compound(?:$|-)|deep-research")
"""Models that are agents: searches and passes as they like."""
_SEARCHES: Final = re.compile(r"-search-(?:preview|api)")
"""Models that search before they answer, asked to or not."""
_GENERATES: Final = {"-image": "output_image", "-tts": "output_audio"}
"""What models with such names generate, asked to or not."""


def _chat(tally: _Tally, found: RawObject) -> None:
    if is_given(found, "web_search_options") and not tally.searches:
        # The models that take it search once, before they answer.
        tally.search(1)
    for name, what in _CHAT_UNBOUNDED.items():
        if is_given(found, name) and bytes(found[name]) != b"false":
            tally.refuse(what)
    if (whole_at(found, "best_of") or 1) > 1:
        tally.refuse("'best_of' generates more than it returns; use 'n' instead")
    if "audio" in texts_at(found, "modalities"):
        tally.classes["output_audio"] = None
    _everywhere(tally, found)
    _chat_tools(tally, found.get("tools"))
    for message in objects_of(found.get("messages")):
        if is_given(message, "audio"):
            tally.is_by_reference = True
        for part in objects_of(message.get("content")):
            _openai_part(tally, part)


def _chat_tools(tally: _Tally, tools: msgspec.Raw | None) -> None:
    for tool in objects_of(tools):
        kind = text_at(tool, "type")
        if kind not in (None, "function", "custom"):
            tally.refuse(_runs_at_provider(kind))


def _responses(tally: _Tally, found: RawObject) -> None:
    if is_given(found, "prompt"):
        tally.refuse("a stored prompt may bring its own tools; send its text instead")
    if is_given(found, "context_management"):
        tally.refuse("compaction reads the context once more; leave it out")
    if is_given(found, "previous_response_id", "conversation"):
        tally.is_by_reference = True
    if text_at(object_of(found.get("reasoning")), "mode") not in (None, "default"):
        tally.refuse("other modes of reasoning run the model more than once")
    _everywhere(tally, found)
    _response_tools(tally, found.get("tools"), whole_at(found, "max_tool_calls"))
    for item in objects_of(found.get("input")):
        _response_item(tally, item)


def _response_tools(
    tally: _Tally, tools: msgspec.Raw | None, calls: int | None
) -> None:
    for tool in objects_of(tools):
        kind = text_at(tool, "type")
        if kind == "namespace":
            _response_tools(tally, tool.get("tools"), calls)
        elif kind is not None and kind.startswith("web_search"):
            if calls is None:
                tally.refuse(f"the tool {kind[:64]!r} needs 'max_tool_calls' to be set")
            else:
                tally.search(calls - tally.searches)
        elif kind == "shell":
            place = object_of(tool.get("environment"))
            if text_at(place, "type") != "local":
                tally.refuse(_runs_at_provider(kind))
        elif kind == "tool_search":
            if text_at(tool, "execution") != "client":
                tally.uses = max(tally.uses, calls or RESPONSES_LOOPS_MAX)
        elif kind not in _RESPONSE_TOOLS:
            tally.refuse(_runs_at_provider(kind))


def _response_item(tally: _Tally, item: RawObject) -> None:
    kind = text_at(item, "type") or "message"
    if kind == "additional_tools":
        _response_tools(tally, item.get("tools"), None)
    elif kind == "reasoning":
        # Without it, the reasoning is looked up where the provider has stored it.
        if not is_given(item, "encrypted_content", "content"):
            tally.is_by_reference = True
    elif kind not in _RESPONSE_ITEMS:
        tally.is_by_reference = True
    for name in ("content", "output"):
        written = item.get(name)
        parts = objects_of(written) if kind != "computer_call_output" else ()
        for part in parts:
            _openai_part(tally, part)
    if kind == "computer_call_output":
        tally.image(item.get("output"))


def _openai_part(tally: _Tally, part: RawObject) -> None:
    kind = text_at(part, "type")
    if kind in ("image_url", "input_image"):
        written = part.get("image_url")
        url = text_of(written) or text_at(object_of(written), "url") or ""
        if _OTHER_DATA.match(url) is not None:
            tally.is_by_reference = True
        tally.image(written)
    elif kind == "input_audio":
        tally.classes["input_audio"] = None
    elif kind not in _OPENAI_PARTS:
        tally.is_by_reference = True


def _messages(tally: _Tally, found: RawObject) -> None:
    if is_given(found, "mcp_servers"):
        tally.refuse("the provider calls MCP servers as often as it likes")
    if text_of(found.get("speed")) == "fast":
        tally.tier = "fast"
    for edit in objects_of(object_of(found.get("context_management")).get("edits")):
        if (text_at(edit, "type") or "").startswith("compact"):
            tally.refuse("compaction reads the context once more; leave it out")
    _everywhere(tally, found)
    for tool in objects_of(found.get("tools")):
        _anthropic_tool(tally, tool)
    for message in objects_of(found.get("messages")):
        for part in objects_of(message.get("content")):
            _anthropic_part(tally, part)


def _anthropic_tool(tally: _Tally, tool: RawObject) -> None:
    kind = text_at(tool, "type")
    if kind in (None, "custom"):
        return
    if kind.startswith("web_search_"):
        uses = whole_at(tool, "max_uses")
        if uses is None:
            tally.refuse(f"the tool {kind[:64]!r} needs 'max_uses' to be set")
        else:
            tally.search(uses)
    elif kind.startswith("web_fetch_"):
        tally.uses += whole_at(tool, "max_uses") or ANTHROPIC_LOOPS_MAX
        tally.is_by_reference = True
    elif kind.startswith("tool_search_tool_"):
        tally.uses += ANTHROPIC_LOOPS_MAX
        tally.input_bytes += PROMPT_OVERHEAD_TOKENS
    elif kind.startswith(_CLIENT_TOOLS):
        # The provider adds instructions of its own for each.
        tally.input_bytes += PROMPT_OVERHEAD_TOKENS
    else:
        tally.refuse(_runs_at_provider(kind))


def _anthropic_part(tally: _Tally, part: RawObject) -> None:
    kind = text_at(part, "type")
    if kind == "image":
        tally.image(part.get("source"))
    elif kind == "document":
        source = object_of(part.get("source"))
        if text_at(source, "type") not in ("text", "content"):
            tally.is_by_reference = True
        for inner in objects_of(source.get("content")):
            _anthropic_part(tally, inner)
    elif kind == "container_upload":
        tally.is_by_reference = True
    elif kind == "tool_addition":
        tally.refuse("tools may be added by reference; name them under 'tools'")
    elif kind not in _ANTHROPIC_PARTS:
        tally.is_by_reference = True
    for inner in objects_of(part.get("content")):
        if kind == "tool_result":
            _anthropic_part(tally, inner)


def _gemini(tally: _Tally, found: RawObject) -> None:
    if is_given(found, "cachedContent", "cached_content"):
        tally.refuse("cached content may bring its own tools; send the content itself")
    tools = found.get("tools")
    for tool in one_or_more(tools):
        for name in tool:
            if name not in _GEMINI_TOOLS and is_given(tool, name):
                tally.refuse(_runs_at_provider(name))
    settings = found.get("generationConfig", found.get("generation_config"))
    config = object_of(settings)
    for name in ("responseModalities", "response_modalities"):
        for modality in texts_at(config, name):
            if modality.lower() in ("image", "audio"):
                tally.classes[f"output_{modality.lower()}"] = None
    for name in ("contents", "systemInstruction", "system_instruction"):
        for content in one_or_more(found.get(name)):
            _gemini_parts(tally, content.get("parts"))


def _gemini_parts(tally: _Tally, written: msgspec.Raw | None) -> None:
    for part in one_or_more(written):
        for name, value in part.items():
            if name in ("inlineData", "inline_data"):
                _gemini_data(tally, value)
            elif name in ("functionResponse", "function_response"):
                _gemini_parts(tally, object_of(value).get("parts"))
            elif name in ("fileData", "file_data"):
                tally.is_by_reference = True
                kind = text_at(object_of(value), "mimeType") or ""
                if not kind.startswith(("image/", "text/", "application/")):
                    tally.classes["input_audio"] = None
            elif name not in _GEMINI_PARTS:
                tally.is_by_reference = True


def _gemini_data(tally: _Tally, value: msgspec.Raw) -> None:
    data = object_of(value)
    kind = text_at(data, "mimeType") or text_at(data, "mime_type") or ""
    if kind.startswith("image/"):
        tally.image(value)
    elif not kind.startswith(("audio/", "text/")):
        # A page or a frame of nothing takes few bytes and as many tokens as any.
        tally.is_by_reference = True
    if kind.startswith(("audio/", "video/")):
        tally.classes["input_audio"] = None


def _embeddings(tally: _Tally, found: RawObject) -> None:
    """Some servers embed images, by URL, too."""
    written = found.get("input")
    has_objects = written is not None and b"{" in bytes(written)
    if is_given(found, "messages") or (has_objects and objects_of(written)):
        tally.is_by_reference = True


_READ: Final[dict[Operation, tuple[Callable[[_Tally, RawObject], None], int]]] = {
    Operation.CHAT: (_chat, IMAGE_TOKENS_OPENAI),
    Operation.RESPONSES: (_responses, IMAGE_TOKENS_OPENAI),
    Operation.MESSAGES: (_messages, IMAGE_TOKENS_ANTHROPIC),
    Operation.EMBEDDINGS: (_embeddings, IMAGE_TOKENS_OPENAI),
    Operation.GENERATE_CONTENT: (_gemini, IMAGE_TOKENS_GEMINI),
    Operation.STREAM_GENERATE_CONTENT: (_gemini, IMAGE_TOKENS_GEMINI),
}

_OTHER_DATA: Final = re.compile(r"\s*data:(?!image/)", re.IGNORECASE)
"""Some servers take a document, or a video, where an image is to stand."""

_CHAT_UNBOUNDED: Final = {
    "deferred": "the reply would come later, and unmetered; leave it out",
    "enable_search": "the searches that it asks for are not bounded; leave it out",
    "preset": "a preset may bring another model, or tools; leave it out",
    "prediction": "a prediction is billed beside the output; leave it out",
    "search_parameters": "the searches that it asks for are not bounded; ask for none",
    "plugins": "plugins run at the provider, as often as they like; leave them out",
}
_OPENAI_PARTS: Final = frozenset(
    {
        "text",
        "input_text",
        "output_text",
        "refusal",
        "thinking",
        "reasoning_text",
        "reasoning.text",
        "summary_text",
    }
)
_RESPONSE_TOOLS: Final = frozenset(
    {
        None,
        "function",
        "custom",
        "local_shell",
        "apply_patch",
        "computer",
        "computer_use",
        "computer_use_preview",
    }
)
"""Tools that the client runs."""
_RESPONSE_ITEMS: Final = WHOLE_ITEMS | {"message"}
_CLIENT_TOOLS: Final = ("bash_", "text_editor_", "computer_", "memory_")
_ANTHROPIC_PARTS: Final = frozenset(
    {
        "text",
        "tool_use",
        "tool_result",
        "thinking",
        "redacted_thinking",
        "server_tool_use",
        "web_search_tool_result",
        "search_result",
        "tool_reference",
        "tool_search_tool_result",
        "mcp_tool_use",
        "mcp_tool_result",
        "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result",
        "code_execution_tool_result",
    }
)
_GEMINI_TOOLS: Final = frozenset(
    {"functionDeclarations", "function_declarations", "computerUse", "computer_use"}
)
_GEMINI_PARTS: Final = frozenset(
    {
        "text",
        "thought",
        "thoughtSignature",
        "thought_signature",
        "functionCall",
        "function_call",
        "executableCode",
        "executable_code",
        "codeExecutionResult",
        "code_execution_result",
        "mediaResolution",
        "media_resolution",
        "partMetadata",
        "part_metadata",
    }
)


def _runs_at_provider(kind: str | None) -> str:
    named = f"the tool {kind!r}" if kind and _NAME.fullmatch(kind) else "a tool"
    return f"{named} runs at the provider, with no bound on what it costs; leave it out"


def _everywhere(tally: _Tally, found: RawObject) -> None:
    """What servers of several dialects take beside the fields of the dialect."""
    if is_given(found, "models", "fallbacks"):
        tally.refuse("other models may answer, at other prices; ask for one model")
    if is_given(found, "n_predict", "max_new_tokens"):
        # Servers that know these prefer them to the ceiling that we read, and put.
        tally.refuse("the output's ceiling has another name; use that of the API")
