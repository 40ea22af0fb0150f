"""OpenAI: the Responses API."""

from __future__ import annotations

from typing import Any

from comptroller.core.usage import Usage
from comptroller.testing.provider.answer import (
    CREATED_S,
    EVENT_STREAM,
    JSON,
    Answer,
    Ask,
    RefusedError,
    encode,
    whole,
)
from comptroller.testing.provider.openai_chat import disjoint, prompt
from comptroller.testing.provider.stored import StoredResponse
from comptroller.testing.provider.tokens import Length, pieces


def responses_usage(usage: Usage) -> dict[str, Any]:
    """The usage block of a response."""
    cached, reasoning = usage.get("cache_read", 0), usage.get("reasoning", 0)
    input_tokens = usage.get("input", 0) + cached
    output_tokens = usage.get("output", 0) + reasoning
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": input_tokens + output_tokens,
    }


def message(ask: Ask, text: str | None) -> dict[str, Any]:
    """The message item; None as text: it has only begun."""
    part: dict[str, Any] = {
        "type": "output_text",
        "annotations": [],
        "logprobs": [],
        "text": text,
    }
    return {
        "id": ask.identifier("msg_"),
        "type": "message",
        "status": "in_progress" if text is None else "completed",
        "role": "assistant",
        "content": [] if text is None else [part],
    }


def response(ask: Ask, model: str, status: str) -> dict[str, Any]:
    """The response object, without output and usage."""
    body = ask.body
    return {
        "id": ask.identifier("resp_"),
        "object": "response",
        "created_at": CREATED_S,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": None,
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": bool(body.get("store", True)),
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": body.get("tools") or [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": body.get("metadata") or {},
    }


def finished(ask: Ask, model: str, length: Length, usage: Usage) -> dict[str, Any]:
    """The response object at its end."""
    text = "".join(pieces(length.output, ask.serial)).strip()
    done = response(ask, model, "incomplete" if length.cut else "completed")
    if length.cut:
        done["incomplete_details"] = {"reason": "max_output_tokens"}
    if length.reasoning:
        thought = {"id": ask.identifier("rs_"), "type": "reasoning", "summary": []}
        done["output"].append(thought)
    done["output"].append(message(ask, text))
    if ask.states_usage():
        done["usage"] = responses_usage(usage)
    return done


def responses(ask: Ask) -> Answer:
    """`POST /v1/responses`, body or stream."""
    given = ask.body.get("input")
    prefix = ask.body.get("instructions") or (
        given[0] if isinstance(given, list) and given else given
    )
    tokens, cached = prompt(ask, "input", prefix)
    previous = ask.body.get("previous_response_id")
    if previous is not None:
        tokens += _found(ask, previous, "Previous response").context_tokens
    length = ask.length(ask.model, whole(ask.body.get("max_output_tokens")))
    usage = disjoint(tokens, cached, length)
    model = ask.answered_as(ask.model)
    done = finished(ask, model, length, usage)
    if done["store"]:
        ask.stored.keep(done, given)
    if ask.body.get("stream"):
        parts = responses_stream(ask, done, pieces(length.output, ask.serial))
        return Answer(EVENT_STREAM, parts, model, usage)
    return Answer(JSON, [encode(done)], model, usage)


def get_response(ask: Ask) -> Answer:
    """`GET /v1/responses/{id}`; nothing is billed for it."""
    return Answer(JSON, [encode(_found(ask, _named(ask)).response)])


def delete_response(ask: Ask) -> Answer:
    """`DELETE /v1/responses/{id}`."""
    name = _named(ask)
    _found(ask, name)
    ask.stored.delete(name)
    gone = {"id": name, "object": "response.deleted", "deleted": True}
    return Answer(JSON, [encode(gone)])


def cancel_response(ask: Ask) -> Answer:
    """`POST /v1/responses/{id}/cancel`; none of them runs in the background."""
    _found(ask, _named(ask))
    raise RefusedError(400, "Cannot cancel a synchronous response.")


def input_items(ask: Ask) -> Answer:
    """`GET /v1/responses/{id}/input_items`."""
    items = _found(ask, _named(ask)).input_items
    listed = {"object": "list", "data": items, "has_more": False}
    return Answer(JSON, [encode({**listed, "first_id": None, "last_id": None})])


def _named(ask: Ask) -> str:
    return ask.path.rpartition("/responses/")[2].partition("/")[0]


def _found(ask: Ask, name: object, what: str = "Response") -> StoredResponse:
    found = ask.stored.find(name)
    if found is None:
        status = 404 if what == "Response" else 400
        raise RefusedError(status, f"{what} with id '{name}' not found.")
    return found


def responses_stream(ask: Ask, done: dict[str, Any], text: list[str]) -> list[bytes]:
    """The named, numbered events of a streamed response."""
    parts: list[bytes] = []

    def event(kind: str, **fields: Any) -> None:  # noqa: ANN401  JSON
        value = {"type": kind, "sequence_number": len(parts), **fields}
        parts.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), encode(value)))

    started = response(ask, done["model"], "in_progress")
    event("response.created", response=started)
    event("response.in_progress", response=started)
    for index, item in enumerate(done["output"][:-1]):
        event("response.output_item.added", output_index=index, item=item)
        event("response.output_item.done", output_index=index, item=item)
    item = done["output"][-1]
    place: dict[str, Any] = {"output_index": len(done["output"]) - 1}
    event("response.output_item.added", item=message(ask, None), **place)
    part = item["content"][0]
    inside = {**place, "item_id": item["id"], "content_index": 0}
    event("response.content_part.added", part={**part, "text": ""}, **inside)
    for piece in text:
        event("response.output_text.delta", delta=piece, logprobs=[], **inside)
    event("response.output_text.done", text=part["text"], logprobs=[], **inside)
    event("response.content_part.done", part=part, **inside)
    event("response.output_item.done", item=item, **place)
    event(f"response.{done['status']}", response=done)
    return parts
