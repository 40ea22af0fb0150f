"""Facts of a prompt: its size, its system text's digest, its tools; never its text.

Read only where a policy asks for them, and strictly: a body that cannot be read for
certain is an error, which a policy takes for a denial.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from comptroller.core.errors import BadRequestError
from comptroller.core.policy.prompt import PromptFacts, PromptText
from comptroller.wire import prompt_anthropic, prompt_gemini, prompt_openai
from comptroller.wire.prompt_json import JsonObject, read_document
from comptroller.wire.prompt_tally import Tally
from comptroller.wire.request import RequestFacts, read_facts
from comptroller.wire.routes import Operation, Route


def read_prompt(
    route: Route, body: bytes, facts: RequestFacts | None = None
) -> PromptFacts:
    """Reads what a prompt is like.

    Args:
        route: the request's route, not a local one.
        body: the whole body, decoded.
        facts: what `read_facts` has read from it; None: it is read here.

    Raises:
        BadRequestError: the body cannot be read for certain. The message names a
            field and never repeats a prompt.
    """
    return _read(route, body, facts, texts=False)[0]


def read_prompt_and_texts(
    route: Route, body: bytes, facts: RequestFacts | None = None
) -> tuple[PromptFacts, tuple[PromptText, ...]]:
    """Reads what a prompt is like, and all its text for a scan.

    The texts are to be scanned and dropped.

    Args:
        route: the request's route, not a local one.
        body: the whole body, decoded.
        facts: what `read_facts` has read from it; None: it is read here.

    Raises:
        BadRequestError: the body cannot be read for certain.
    """
    return _read(route, body, facts, texts=True)


def _read(
    route: Route, body: bytes, facts: RequestFacts | None, *, texts: bool
) -> tuple[PromptFacts, tuple[PromptText, ...]]:
    read = _READ.get(route.operation)
    if read is None:
        raise BadRequestError(f"{route.label} takes no prompt")
    if facts is None:
        facts = read_facts(route, body)
    tally = Tally(len(body), texts=texts)
    read(tally, read_document(body))
    return tally.facts(facts.other_models), tally.texts()


_READ: Final[dict[Operation, Callable[[Tally, JsonObject], None]]] = {
    Operation.CHAT: prompt_openai.read_chat,
    Operation.RESPONSES: prompt_openai.read_responses,
    Operation.EMBEDDINGS: prompt_openai.read_embeddings,
    Operation.MESSAGES: prompt_anthropic.read_messages,
    Operation.COUNT_TOKENS: prompt_anthropic.read_messages,
    Operation.GENERATE_CONTENT: prompt_gemini.read_contents,
    Operation.STREAM_GENERATE_CONTENT: prompt_gemini.read_contents,
    Operation.GEMINI_COUNT_TOKENS: prompt_gemini.read_contents,
}
