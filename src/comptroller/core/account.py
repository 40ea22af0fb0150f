"""Accounts: what a limit is kept on, one a scope and window (design.md §4).

`service:checkout/month@2026-11` holds what service checkout may spend in that month,
in nano-USD; `service:checkout/parallel@now` how many of its requests may be under
way at once, in requests. Scopes are data: every limit goes the same way.
"""

from __future__ import annotations

from typing import Final, NamedTuple

SCOPES: Final = (
    "organization",
    "tenant",
    "unit",
    "service",
    "credential",
    "run",
    "model",
)
"""Everything that can have a limit; budgets nest in this order, `model` apart."""

PARALLEL: Final = "parallel"
"""The window of an account that counts requests under way, not money."""
PARALLEL_LABEL: Final = "now"


class Account(NamedTuple):
    """The name of an account, in parts."""

    scope: str
    """One of SCOPES."""
    key: str
    """The organization's name, `TENANT`, `TENANT/UNIT`, the service's id, the
    credential's, `SERVICE/RUN`, or the model's id."""
    window: str
    """`hour`, `day`, `week`, `month`, `total` or `parallel`."""
    label: str
    """Which window of that kind; holds no `@` and no `/`."""

    @property
    def id(self) -> str:
        """`SCOPE:KEY/WINDOW@LABEL`."""
        return f"{self.scope}:{self.key}/{self.window}@{self.label}"

    @property
    def is_money(self) -> bool:
        """Whether it counts nano-USD; else requests under way."""
        return self.window != PARALLEL


def parse_account(text: str) -> Account:
    """Reads an account's id.

    Raises:
        ValueError: it is none.
    """
    scope, colon, rest = text.partition(":")
    path, at, label = rest.rpartition("@")
    key, slash, window = path.rpartition("/")
    if not (colon and at and slash and key and label) or scope not in SCOPES:
        raise ValueError(f"{text!r} is not SCOPE:KEY/WINDOW@LABEL")
    return Account(scope, key, window, label)


def is_money(account_id: str) -> bool:
    """Whether an account counts nano-USD; else requests under way."""
    return not account_id.endswith("/parallel@now")


class Where(NamedTuple):
    """Whose a request is: every scope that it belongs to."""

    organization: str
    tenant: str
    unit: str
    """Of the tenant."""
    service: str
    credential: str
    run: str | None
    """Already made safe; None: it names none."""

    def scopes(self) -> tuple[tuple[str, str], ...]:
        """Scope and key of every account on its path, widest first."""
        path = (
            ("organization", self.organization),
            ("tenant", self.tenant),
            ("unit", f"{self.tenant}/{self.unit}"),
            ("service", self.service),
            ("credential", self.credential),
        )
        if self.run is None:
            return path
        return (*path, ("run", f"{self.service}/{self.run}"))
