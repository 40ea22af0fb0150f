"""Wording: registry values and their differences in words, for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from datetime import date
from functools import singledispatch
from typing import Any, Final

from comptroller.core.money import NANO_PER_USD
from comptroller.core.registry import (
    DIALECT_PREFIXES,
    Budget,
    DeclaredPrice,
    Deployment,
    Downgrade,
    GatewaySettings,
    Limits,
    Model,
    Organization,
    Owners,
    Person,
    PolicyException,
    Privacy,
    Provider,
    Rate,
    Sandbox,
    Service,
    Tenant,
    Unit,
    Window,
)
from comptroller.core.usage import COUNTED_UNITS

_IDENTITY_FIELDS: Final = frozenset({"id", "tenant", "unit"})
_NESTED: Final = (Owners, Limits, Sandbox, Privacy)
_QUALIFIERS: Final = {
    "credential_limits": "credential ",
    "sandbox": "sandbox ",
    "privacy": "records ",
}
"""Nested values whose fields would read as if they were the service's own."""
_FIELD_WORDS: Final = {
    "policy": "policy owner",
    "billing": "billing owner",
    "technical": "technical owner",
    "base_url": "base URL",
    "ca_file": "CA file",
    "prices": "price catalogue",
    "requests": "requests limit",
    "tokens": "tokens limit",
    "concurrency": "concurrency limit",
    "output_tokens": "output tokens limit",
    "upstream_first_byte_timeout_s": "upstream first byte timeout (s)",
    "upstream_idle_timeout_s": "upstream idle timeout (s)",
    "drain_timeout_s": "drain timeout (s)",
    "drain_count_max": "most replies drained at once",
    "context_window_tokens": "context window (tokens)",
    "max_output_tokens": "largest output (tokens)",
    "body_bytes_max": "largest body (bytes)",
}
_PERIOD_WORDS: Final = {1: "second", 60: "minute", 3600: "hour", 86400: "day"}


@singledispatch
def words(value: object) -> str:
    """Writes a value of the registry as a person would say it."""
    return "none" if value is None else str(value)


@words.register
def _(value: Budget) -> str:
    said = " and ".join(words(one) for one in value.windows)
    notes = []
    if value.alert_at_percent:
        notes.append(f"alerts at {_percents(value.alert_at_percent)}")
    if value.on_shortfall != "refuse":
        notes.append(f"{value.on_shortfall} on shortfall")
    if value.hold != "full":
        notes.append(f"{value.hold} hold")
    notes += [words(one) for one in value.on_threshold]
    return f"{said} ({'; '.join(notes)})" if notes else said


@words.register
def _(value: Window) -> str:
    amount = f"{_decimal(value.limit_nano_usd, NANO_PER_USD)} USD"
    return f"{amount} in all" if value.window == "total" else f"{amount}/{value.window}"


@words.register
def _(value: Downgrade) -> str:
    return f"use {value.use} from {value.percent}%"


@words.register
def _(value: Deployment) -> str:
    notes = [f"weight {value.weight}"]
    notes += [f"price {words(value.price)}"] if value.price else []
    notes += [f"region {value.region}"] if value.region else []
    return f"{value.upstream} at {value.provider} ({'; '.join(notes)})"


@words.register
def _(value: PolicyException) -> str:
    until = words(value.until)
    return f"{value.id} until {until} (approved by {value.approved_by}: {value.reason})"


@words.register
def _(value: Rate) -> str:
    period = _PERIOD_WORDS.get(value.period_s, f"{value.period_s} s")
    return f"{value.count:,}/{period}"


@words.register
def _(value: DeclaredPrice) -> str:
    return ", ".join(
        # Pico-USD per token is, as a number, micro-USD per million tokens.
        f"{name} {_decimal(rate, 10**6)} USD per million"
        if name not in COUNTED_UNITS
        else f"{name} {_decimal(rate, 10**12)} USD each"
        for name, rate in value.rates_pico_usd.items()
    )


@words.register(Owners)
@words.register(Limits)
@words.register(Sandbox)
@words.register(Privacy)
def _(value: Owners | Limits | Sandbox | Privacy) -> str:
    return ", ".join(
        f"{_field_words(one.name)} {words(getattr(value, one.name))}"
        for one in fields(value)
        if getattr(value, one.name) is not None
    )


@words.register
def _(value: dict) -> str:  # type: ignore[type-arg]  # dispatch needs the bare class
    return ", ".join(f"{key} {words(one)}" for key, one in value.items())


@words.register
def _(value: tuple) -> str:  # type: ignore[type-arg]  # dispatch needs the bare class
    return ", ".join(words(one) for one in value)


@words.register
def _(value: date) -> str:
    return value.isoformat()


@words.register
def _(value: bool) -> str:  # noqa: FBT001  dispatch gives it by position
    return "true" if value else "false"


@words.register
def _(value: int) -> str:
    return f"{value:,}"


@singledispatch
def summary(value: object) -> str:
    """Says of a new object what matters most, to follow `added`."""
    raise TypeError(f"{type(value).__name__} is not an object of the registry")


@summary.register
def _(value: Service) -> str:
    return (
        f" in {value.tenant}/{value.unit} (policy owner {value.owners.policy}, "
        f"billing owner {value.owners.billing}, "
        f"technical owner {value.owners.technical}{_budget_note(value.budget)})"
    )


@summary.register
def _(value: Unit) -> str:
    return f" (owner {value.owner}{_budget_note(value.budget)})"


@summary.register
def _(value: Tenant) -> str:
    notes = [f"owner {value.owner}"] if value.owner else []
    notes += [f"budget {words(value.budget)}"] if value.budget else []
    return f" ({', '.join(notes)})" if notes else ""


@summary.register
def _(value: Person) -> str:
    return f" ({value.name}, {value.email})"


@summary.register
def _(value: Provider) -> str:
    spoken = (
        dialect if prefix == DIALECT_PREFIXES.get(dialect) else f"{dialect} at {prefix}"
        for dialect, prefix in value.speaks.items()
    )
    return f" ({value.base_url}, speaks {', '.join(spoken)})"


@summary.register
def _(value: Model) -> str:
    price = f", price {words(value.price)}" if value.price else ""
    return f" ({value.upstream} at {value.provider}{price})"


@summary.register
def _(value: GatewaySettings) -> str:
    return f" (owner {value.owner})"


@summary.register
def _(value: Organization) -> str:
    return f" ({value.name}, {value.timezone}{_budget_note(value.budget)})"


def details(value: object) -> str:
    """Says of a new object all that its summary leaves out and that was set.

    Args:
        value: a dataclass of core.registry.

    Returns:
        Field by field, with semicolons; empty when there is nothing more to say.
    """
    said = []
    for one in fields(value):  # type: ignore[arg-type]  # the registry's are
        field = getattr(value, one.name)
        if one.name in _SUMMARIZED[type(value)] or field == _default(one):
            continue
        if isinstance(field, Limits):
            # Each is said by itself, so that none is read as another's.
            qualifier = _QUALIFIERS.get(one.name, "")
            said += [
                f"{qualifier}{_field_words(limit.name)} {words(of_limit)}"
                for limit in fields(field)
                if (of_limit := getattr(field, limit.name)) is not None
            ]
        else:
            said.append(f"{_field_words(one.name)} {words(field)}")
    return "; ".join(said)


def changes(before: object, after: object, qualifier: str = "") -> list[str]:
    """Says field by field how one object differs from what it was.

    Args:
        before: a dataclass of core.registry.
        after: another of the same class.
        qualifier: what to say before each field's name.
    """
    lines: list[str] = []
    for one in fields(before):  # type: ignore[arg-type]  # the registry's are
        if one.name in _IDENTITY_FIELDS:
            continue
        old, new = getattr(before, one.name), getattr(after, one.name)
        if old == new:
            continue
        if isinstance(old, _NESTED) and isinstance(new, _NESTED):
            lines += changes(old, new, _QUALIFIERS.get(one.name, ""))
        elif isinstance(old, Budget) and isinstance(new, Budget):
            lines += _budget_changes(qualifier + _field_words(one.name), old, new)
        else:
            lines.append(_change(qualifier + _field_words(one.name), old, new))
    moved = [getattr(one, "tenant", None) for one in (before, after)]
    moved_unit = [getattr(one, "unit", None) for one in (before, after)]
    if moved[0] != moved[1] or moved_unit[0] != moved_unit[1]:
        lines.append(f"moved {moved[0]}/{moved_unit[0]} → {moved[1]}/{moved_unit[1]}")
    return lines


def _budget_changes(what: str, old: Budget, new: Budget) -> list[str]:
    lines: list[str] = []
    if old.windows != new.windows:
        lines.append(f"{what} {_windows_change(old.windows, new.windows)}")
    if old.alert_at_percent != new.alert_at_percent:
        was, now = _percents(old.alert_at_percent), _percents(new.alert_at_percent)
        lines.append(f"{what} alerts at {was} → {now}")
    if old.on_shortfall != new.on_shortfall:
        lines.append(f"{what} on shortfall {old.on_shortfall} → {new.on_shortfall}")
    if old.hold != new.hold:
        lines.append(f"{what} hold {old.hold} → {new.hold}")
    if old.on_threshold != new.on_threshold:
        lines.append(
            _change(f"{what} on threshold", old.on_threshold, new.on_threshold)
        )
    return lines


def _windows_change(old: tuple[Window, ...], new: tuple[Window, ...]) -> str:
    if [one.window for one in old] != [one.window for one in new]:
        return f"{words(Budget(old))} → {words(Budget(new))}"
    # The same windows with other amounts: their unit need not be said twice.
    return ", ".join(
        f"{_decimal(was.limit_nano_usd, NANO_PER_USD)} → {words(now)}"
        for was, now in zip(old, new, strict=True)
        if was != now
    )


def _change(what: str, old: object, new: object) -> str:
    if _is_nothing(old):
        return f"{what} added: {words(new)}"
    if _is_nothing(new):
        return f"{what} removed (was {words(old)})"
    if isinstance(old, tuple) and isinstance(new, tuple):
        return f"{what} {_list_change(old, new)}"
    if isinstance(old, dict) and isinstance(new, dict):
        return f"{what} {_mapping_change(old, new)}"
    return f"{what} {words(old)} → {words(new)}"


def _list_change(old: tuple[object, ...], new: tuple[object, ...]) -> str:
    gained = [f"+{words(one)}" for one in new if one not in old]
    lost = [f"-{words(one)}" for one in old if one not in new]
    # Without either, only the order differs, and that is what to show.
    return " ".join(gained + lost) or f"{words(old)} → {words(new)}"


def _mapping_change(old: Mapping[str, object], new: Mapping[str, object]) -> str:
    names = [*old, *(name for name in new if name not in old)]
    return (
        ", ".join(
            f"{name} {words(old.get(name))} → {words(new.get(name))}"
            for name in names
            if old.get(name) != new.get(name)
        )
        or f"{words(old)} → {words(new)}"
    )


_SUMMARIZED: Final[Mapping[type, frozenset[str]]] = {
    Service: _IDENTITY_FIELDS | {"owners", "budget"},
    Unit: _IDENTITY_FIELDS | {"owner", "budget"},
    Tenant: _IDENTITY_FIELDS | {"owner", "budget"},
    Person: _IDENTITY_FIELDS | {"name", "email"},
    Provider: _IDENTITY_FIELDS | {"base_url", "speaks"},
    Model: _IDENTITY_FIELDS | {"provider", "upstream", "price"},
    GatewaySettings: frozenset({"owner"}),
    Organization: frozenset({"name", "timezone", "budget"}),
}
"""What `summary` says of each; `details` says the rest."""


def _default(field: Field[Any]) -> object:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def _is_nothing(value: object) -> bool:
    return value is None or value in ((), {})


def _field_words(name: str) -> str:
    return _FIELD_WORDS.get(name) or name.removesuffix("_tokens").replace("_", " ")


def _budget_note(budget: Budget | None) -> str:
    return f", budget {words(budget)}" if budget else ""


def _percents(shares: tuple[int, ...]) -> str:
    return ", ".join(f"{one}%" for one in shares) or "none"


def _decimal(amount: int, scale: int) -> str:
    """Writes a scaled integer exactly; a fraction keeps two places at least."""
    whole, rest = divmod(amount, scale)
    digits = f"{rest:0{len(str(scale)) - 1}d}".rstrip("0")
    return f"{whole:,}.{digits.ljust(2, '0')}" if digits else f"{whole:,}"
