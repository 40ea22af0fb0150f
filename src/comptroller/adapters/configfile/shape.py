"""The shape of a tree: a document, or what of it is not as it must be."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from types import UnionType
from typing import Annotated, Any, Final, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from comptroller.adapters.configfile.document import Document
from comptroller.core.problem import Problem, did_you_mean
from comptroller.core.tree import (
    Mapping,
    key_place_at,
    place_at,
    plain,
)

Path: TypeAlias = tuple[str | int, ...]

_OWNERS: Final = {
    "policy": "policy owner",
    "billing": "billing owner",
    "technical": "technical owner",
}
_EXAMPLES: Final = {
    "owners": "owners: {policy: ada, billing: grace, technical: alan}",
    "gateway": "gateway: {owner: alan}",
    "people": "people: {ada: {name: Ada Lovelace, email: ada@acme.example}}",
    "speaks": "speaks: [openai]",
    "models": "models: [gpt-5-mini]",
    "version": "version: 1",
    "organization": "organization: acme",
    "limit": "limit: 1200 USD/month",
    "deployments": "deployments: [{provider: openai}, {provider: azure, weight: 2}]",
}
_ELSEWHERE: Final = {
    "credential_limits.output_tokens": "write it under limits, for the service",
    "limits.output_tokens": 'write "max_output_tokens" of the model',
}
"""Keys that belong somewhere else, by where they were written."""
_OF_A_BUDGET: Final = ("alert_at", "on_shortfall", "hold", "on_threshold")


def check_shape(tree: Mapping) -> tuple[Document | None, list[Problem]]:
    """Reads a tree into a document.

    Returns:
        The document when every part of it has the right shape, else None with
        a problem for each part that has not.
    """
    try:
        return Document.model_validate(plain(tree)), []
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return None, [_problem(tree, one) for one in details]


def subject_at(path: Path) -> str:
    """What a path belongs to, such as `service "a"`; empty at the top level."""
    return _split(path)[0]


def _split(path: Path) -> tuple[str, Path]:
    """What a path belongs to, and the rest of the path."""
    match path:
        case ("tenants", _, "units", _, "services", service, *rest):
            subject = f'service "{service}"'
        case ("tenants", tenant, "units", unit, *rest):
            subject = f'unit "{tenant}/{unit}"'
        case (("people" | "providers" | "models" | "tenants") as section, name, *rest):
            one = {"people": "person"}.get(str(section), str(section).removesuffix("s"))
            subject = f'{one} "{name}"'
        case ("gateway", *rest):
            subject = "the gateway"
        case _:
            subject, rest = "", list(path)
    return subject, tuple(rest)


def _said_of(path: Path, what: str) -> str:
    """Puts before a message what it is about: `service "a": limits.tokens: …`."""
    subject, rest = _split(path)
    # An item of a list is known by its place; its number says nothing to people.
    keys = ".".join(part for part in rest if isinstance(part, str))
    return ": ".join(part for part in (subject, keys, what) if part)


def _problem(tree: Mapping, error: ErrorDetails) -> Problem:
    path: Path = tuple(part for part in error["loc"] if part != "[key]")
    context: AnyMapping[str, Any] = error.get("ctx", {})
    name = str(path[-1]) if path else ""
    hint = _EXAMPLES.get(name)
    match error["type"]:
        case "told" if "[key]" in error["loc"]:
            what = _said_of(path[:-1], context["what"])
            return Problem(key_place_at(tree, path), what, context["hint"])
        case "told":
            what, hint = context["what"], context["hint"]
        case "extra_forbidden":
            hint = _belongs(path) or did_you_mean(
                name, _keys_at(path[:-1]), "what may stand here"
            )
            what = _said_of(path[:-1], f'unknown key "{name}"')
            return Problem(key_place_at(tree, path), what, hint)
        case "missing":
            return _missing(tree, path)
        case "too_short":
            what = "this is empty, and must name one at least"
        case "model_type" | "model_attributes_type" | "dict_type":
            what = "this must hold keys with values"
        case "list_type":
            what = "this must be a list"
            hint = hint or "write it in brackets, such as [a, b]"
        case _:
            what = error["msg"]
    return Problem(place_at(tree, path), _said_of(path, what), hint)


def _missing(tree: Mapping, path: Path) -> Problem:
    name = str(path[-1])
    noun = _OWNERS.get(name, name)
    description = _field_at(path[:-1], name)
    hint = f'add "{name}: …"'
    if name in _EXAMPLES:
        hint = f'add "{_EXAMPLES[name]}"'
    elif description:
        hint += f": {description[0].lower()}{description[1:].rstrip('.')}"
    # The key of what lacks it says where to add it.
    place = key_place_at(tree, path[:-1])
    what = f"{subject_at(path[:-1]) or 'the configuration'} has no {noun}"
    return Problem(place, what, hint)


def _belongs(path: Path) -> str | None:
    """Where a key belongs that may not stand where it was written."""
    name = path[-1]
    if name in _OF_A_BUDGET:
        return (
            f"write it inside the budget, such as {{limit: 1200 USD/month, {name}: …}}"
        )
    return _ELSEWHERE.get(".".join(map(str, path[-2:])))


def _field_at(path: Path, name: str) -> str | None:
    model = _model_at(path)
    return model.model_fields[name].description if model else None


def _keys_at(path: Path) -> list[str]:
    model = _model_at(path)
    return list(model.model_fields) if model else []


def _model_at(path: Path) -> type[BaseModel] | None:
    form: Any = Document
    for part in path:
        form = _within(_bare(form), part)
    bare = _bare(form)
    is_model = isinstance(bare, type) and issubclass(bare, BaseModel)
    return bare if is_model else None


def _within(form: Any, part: str | int) -> Any:  # noqa: ANN401  a type annotation
    if isinstance(form, type) and issubclass(form, BaseModel):
        field = form.model_fields.get(str(part))
        return field.annotation if field else None
    # Of a mapping the values, of a list the items.
    arguments = get_args(form)
    return arguments[-1] if arguments else None


def _bare(form: Any) -> Any:  # noqa: ANN401  a type annotation
    """Takes `Annotated` and `| None` off."""
    if get_origin(form) is Annotated:
        return _bare(get_args(form)[0])
    if get_origin(form) in {Union, UnionType}:
        return _bare(next(one for one in get_args(form) if one is not type(None)))
    return form
