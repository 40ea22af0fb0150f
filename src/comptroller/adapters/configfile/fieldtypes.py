"""Field types of the document: how each written value is read and described."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Final, NoReturn, TypeAlias
from urllib.parse import urlsplit

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from comptroller.adapters.configfile.timezones import timezone_problem
from comptroller.core import quantities
from comptroller.core.problem import did_you_mean, nearest
from comptroller.core.registry import DIALECT_PREFIXES, Rate, Window
from comptroller.core.roles import is_role_address

_ID: Final = r"^[a-z0-9][a-z0-9._-]{0,63}$"
_MODEL_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$"
_EMAIL: Final = r"^[^@\s<>,;]+@[^@\s<>,;.]+(\.[^@\s<>,;.]+)+$"
_REFERENCE: Final = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$"
_PREFIX: Final = r"^(/[A-Za-z0-9._~-]+)*$"
_URL_PATTERN: Final = r"^https?://[^/?#@\s]+/?$"
_EXCEPTION_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_USE: Final = r"^use [A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$"
_INT_MAX: Final = 10**15
_WEIGHT_MAX: Final = 1000


def refuse(what: str, hint: str | None = None) -> NoReturn:
    """Says what is wrong with a value; `shape.py` makes a problem of it."""
    raise PydanticCustomError("told", "{what}", {"what": what, "hint": hint})


def _text(value: object) -> str:
    match value:
        case str():
            text = value.strip()
            if not text:
                refuse("the text is empty", "give it a value, or take it out")
            return text
        case bool():
            refuse("this must be text", f'put it in quotes: "{str(value).lower()}"')
        case int() | Decimal():
            refuse("this must be text, not a number", f'put it in quotes: "{value}"')
        case list():
            refuse("this must be a single text, not a list")
        case _:
            refuse("this must be a single text, not keys with values")


def _quantity(read: Callable[[str], Any]) -> Callable[[object], Any]:
    def reading(value: object) -> Any:  # noqa: ANN401  whatever the reader gives
        if not isinstance(value, str | int | Decimal) or isinstance(value, bool):
            refuse("this must be a single quantity")
        try:
            return read(str(value).strip())
        except quantities.QuantityError as error:
            refuse(error.what, error.hint)

    return reading


def _identifier(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(_ID, text):
        near = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:64]
        hint = "ids are lower-case letters, digits and . _ -, 64 at the most"
        refuse(f'"{text}" is not an id', f'{hint}: "{near}"' if near else hint)
    return text


def _model_id(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(_MODEL_ID, text):
        refuse(
            f'"{text}" is not a name that a model can have',
            "letters, digits and . _ : / @ + -, 128 at the most",
        )
    return text


def _exception_id(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(_EXCEPTION_ID, text):
        refuse(
            f'"{text}" is not an exception\'s id',
            'letters, digits and . _ -, 64 at the most, such as "EXC-42"',
        )
    return text


def _use(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(_USE, text):
        named = re.fullmatch(r"(?:use\W+|\W*)(?P<model>\S+)", text, re.IGNORECASE)
        is_model = named is not None and re.fullmatch(_MODEL_ID, named["model"])
        refuse(
            f'"{text}" is not something to do at a threshold',
            f'did you mean "use {named["model"]}"?'
            if named is not None and is_model
            else 'write it like "use cheap-model"',
        )
    return text.removeprefix("use ")


def _email(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(_EMAIL, text):
        refuse(f'"{text}" is not an e-mail address', 'write it like "ada@acme.example"')
    reason = is_role_address(text)
    if reason is not None:
        refuse(
            f'"{text}" is not a person\'s own address: {reason}',
            "name the person who answers, with their own address",
        )
    return text


def _person_name(value: object) -> str:
    text = _text(value)
    last = re.split(r"[\s-]+", text.lower())[-1]
    if last in {"team", "teams", "group", "department", "support", "desk", "squad"}:
        refuse(
            f'"{text}" names a group, not a person',
            "an owner is one living person: write their name",
        )
    return text


def _base_url(value: object) -> str:
    text = _text(value)
    rule = 'write scheme and host, such as "https://api.openai.com"'
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        refuse("this is not a URL: its host or port cannot be read", rule)
    if parts.scheme not in {"http", "https"} or not host or re.search(r"\s", text):
        refuse(f'"{text}" is not a URL of http or https', rule)
    if parts.username is not None or parts.password is not None:
        refuse("a base URL names no user", "use credential: env:NAME")
    if parts.query or parts.fragment:
        refuse("a base URL has no query and no fragment", rule)
    origin = f"{parts.scheme}://{parts.netloc}"
    if parts.path.strip("/"):
        prefix = parts.path.rstrip("/")
        refuse(
            f'a base URL has no path, and this has "{prefix}"',
            f"write base_url: {origin} and speaks: {{openai: {prefix}}}",
        )
    return origin


def _reference(value: object) -> str:
    # What was written may be the secret itself, so no message repeats it.
    if not isinstance(value, str) or not re.fullmatch(_REFERENCE, value.strip()):
        refuse(
            "a credential is given by reference, never as itself",
            "use env:NAME or file:PATH, such as env:OPENAI_API_KEY",
        )
    return value.strip()


def _prefix(value: object) -> str:
    text = _text(value) if value != "" else ""
    if not re.fullmatch(_PREFIX, text):
        refuse(
            f'"{text}" is not a path prefix',
            'begin with "/" and end without one, such as "/api/v1"',
        )
    return text


def _dialects(value: object) -> dict[str, Any]:
    """A list of dialects means each at its usual prefix."""
    if isinstance(value, str):
        refuse("this must be a list of dialects", f"write [{value}]")
    if not isinstance(value, dict | list) or not value:
        refuse("this must name a dialect at least", "such as [openai]")
    seen: dict[str, Any] = {}
    for name in value:
        if not isinstance(name, str) or name not in DIALECT_PREFIXES:
            hint = did_you_mean(str(name), DIALECT_PREFIXES, "the dialects")
            refuse(f'"{name}" is not a dialect', hint)
        if name in seen:
            refuse(f'"{name}" is there twice', "name each dialect once")
        written = value[name] if isinstance(value, dict) else DIALECT_PREFIXES[name]
        seen[name] = _prefix(written)
    return seen


def _timezone(value: object) -> str:
    text = _text(value)
    problem = timezone_problem(text)
    if problem is not None:
        refuse(*problem)
    return text


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        refuse("this must be a whole number", 'write its digits, such as "50"')
    if value <= 0:
        refuse(
            f"{value} would let nothing through",
            "a limit is more than 0; leave it out for no limit",
        )
    if value > _INT_MAX:
        refuse(f"{value} is too large", f"at most {_INT_MAX}")
    return value


def _weight(value: object) -> int:
    is_flag = isinstance(value, bool)
    if is_flag or not isinstance(value, int) or not 1 <= value <= _WEIGHT_MAX:
        refuse(
            f"this must be a whole number from 1 to {_WEIGHT_MAX}",
            "a weight counts against the other weights; take the item out for none",
        )
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        refuse("this must be true or false", "write true or false, without quotes")
    return value


def _version(value: object) -> int:
    if value != 1 or isinstance(value, bool):
        refuse("this is not a version that this program reads", "write version: 1")
    return 1


def _day(value: object) -> date:
    try:
        return date.fromisoformat(_text(value))
    except ValueError:
        refuse(f'"{value}" is not a day', 'write it like "2027-03-31"')


def one_of(names: tuple[str, ...]) -> Callable[[object], str]:
    """Reads one of a few words."""

    def reading(value: object) -> str:
        text = _text(value)
        if text not in names:
            what = f'"{text}" is not one of {", ".join(names)}'
            near = nearest(text, names)
            refuse(what, f'did you mean "{near}"?' if near else None)
        return text

    return reading


def _string(pattern: str | None = None, **more: object) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", **({"pattern": pattern} if pattern else {}), **more}
    )


Text: TypeAlias = Annotated[str, PlainValidator(_text), _string(minLength=1)]
Id: TypeAlias = Annotated[str, PlainValidator(_identifier), _string(_ID)]
Ref: TypeAlias = Annotated[str, PlainValidator(_text), _string(_ID)]
"""The id of something that is declared elsewhere; `references.py` follows it."""
ModelRef: TypeAlias = Annotated[str, PlainValidator(_text), _string(_MODEL_ID)]
ModelName: TypeAlias = Annotated[str, PlainValidator(_model_id), _string(_MODEL_ID)]
ExceptionId: TypeAlias = Annotated[
    str, PlainValidator(_exception_id), _string(_EXCEPTION_ID)
]
UseText: TypeAlias = Annotated[
    str, PlainValidator(_use), _string(_USE, examples=["use cheap-model"])
]
"""`use MODEL`, read into the model's id."""
Email: TypeAlias = Annotated[
    str, PlainValidator(_email), _string(_EMAIL, format="email")
]
PersonName: TypeAlias = Annotated[
    str, PlainValidator(_person_name), _string(minLength=1)
]
BaseUrl: TypeAlias = Annotated[str, PlainValidator(_base_url), _string(_URL_PATTERN)]
Reference: TypeAlias = Annotated[str, PlainValidator(_reference), _string(_REFERENCE)]
Timezone: TypeAlias = Annotated[
    str, PlainValidator(_timezone), _string(examples=["Europe/Amsterdam"])
]
Count: TypeAlias = Annotated[
    int, PlainValidator(_count), WithJsonSchema({"type": "integer", "minimum": 1})
]
Weight: TypeAlias = Annotated[
    int,
    PlainValidator(_weight),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": _WEIGHT_MAX}),
]
Flag: TypeAlias = Annotated[
    bool, PlainValidator(_flag), WithJsonSchema({"type": "boolean"})
]
Version: TypeAlias = Annotated[
    int, PlainValidator(_version), WithJsonSchema({"const": 1})
]
Day: TypeAlias = Annotated[date, PlainValidator(_day), _string(format="date")]
LimitText: TypeAlias = Annotated[
    Window,
    PlainValidator(_quantity(quantities.window)),
    _string(quantities.LIMIT_PATTERN, examples=["1200 USD/month", "500 USD"]),
]
TotalText: TypeAlias = Annotated[
    Window,
    PlainValidator(_quantity(quantities.total)),
    _string(quantities.AMOUNT_PATTERN, examples=["500 USD"]),
]
RateText: TypeAlias = Annotated[
    Rate,
    PlainValidator(_quantity(quantities.rate)),
    _string(quantities.RATE_PATTERN, examples=["600/minute"]),
]
PercentText: TypeAlias = Annotated[
    int,
    PlainValidator(_quantity(quantities.percent)),
    _string(quantities.PERCENT_PATTERN, examples=["80%"]),
]
DurationText: TypeAlias = Annotated[
    int,
    PlainValidator(_quantity(quantities.duration_s)),
    _string(quantities.DURATION_PATTERN, examples=["10m"]),
]
SizeText: TypeAlias = Annotated[
    int,
    PlainValidator(_quantity(quantities.size_bytes)),
    _string(quantities.SIZE_PATTERN, examples=["32MiB"]),
]
_NUMBER: Final = WithJsonSchema(
    {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}]}
)
TokenPrice: TypeAlias = Annotated[
    int, PlainValidator(_quantity(quantities.price_per_token)), _NUMBER
]
UnitPrice: TypeAlias = Annotated[
    int, PlainValidator(_quantity(quantities.price_per_unit)), _NUMBER
]
Speaks: TypeAlias = Annotated[
    dict[str, str],
    PlainValidator(_dialects),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "array",
                    "items": {"enum": list(DIALECT_PREFIXES)},
                    "minItems": 1,
                    "uniqueItems": True,
                },
                {
                    "type": "object",
                    "propertyNames": {"enum": list(DIALECT_PREFIXES)},
                    "additionalProperties": {"type": "string", "pattern": _PREFIX},
                    "minProperties": 1,
                },
            ]
        }
    ),
]
