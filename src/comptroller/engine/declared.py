"""What the applied configuration says of limits now, looked up and remembered."""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo

from comptroller.core.account import Account
from comptroller.core.budget_path import (
    Limited,
    RateLimit,
    declared_limit,
    declared_rate,
)
from comptroller.core.registry import Registry
from comptroller.core.window import Span, span_at
from comptroller.engine.ports import Store
from comptroller.engine.registry_fold import fold

LATE_NS: Final = 5 * 10**9
"""An ask may be of a window that ended so long ago: it waited meanwhile."""
KNOWN_MAX: Final = 10_000


class Declared:
    """The declared limits of one store; `refresh` when it may have changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._registry: Registry | None = None
        self._zone = ZoneInfo("UTC")
        self._limits: dict[Account, Limited | None] = {}
        self._rates: dict[str, RateLimit | None] = {}
        self._spans: dict[str, Span] = {}
        self._services: dict[str, str] = {}
        self.revision = 0
        """Of the registry that is known here; 0: none yet."""

    def refresh(self) -> bool:
        """Looks whether a new configuration was applied; True: one was.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        revision = self._store.revision()
        if revision == self.revision:
            return False
        self._registry = fold(self._store.registry_objects())
        if self._registry is not None:
            self._zone = ZoneInfo(self._registry.timezone)
        self._limits, self._rates, self._spans = {}, {}, {}
        self.revision = revision
        return True

    def limit(self, account: Account) -> Limited | None:
        """What is declared for an account; None: it is not limited any more."""
        try:
            return self._limits[account]
        except KeyError:
            pass
        found = None
        if self._registry is not None:
            found = declared_limit(self._registry, account, self._service_of)
        if len(self._limits) >= KNOWN_MAX:
            self._limits.clear()
        self._limits[account] = found
        return found

    def rate(self, limit_id: str) -> RateLimit | None:
        """What is declared for a rate; None: there is no such limit."""
        try:
            return self._rates[limit_id]
        except KeyError:
            pass
        found = None
        if self._registry is not None:
            found = declared_rate(self._registry, limit_id, self._service_of)
        if len(self._rates) >= KNOWN_MAX:
            self._rates.clear()
        self._rates[limit_id] = found
        return found

    def periods_s(self) -> set[int]:
        """The periods of all rates."""
        registry = self._registry
        if registry is None:
            return set()
        limits = [
            *(one.limits for one in registry.services.values()),
            *(one.credential_limits for one in registry.services.values()),
            *(one.limits for one in registry.models.values()),
        ]
        return {
            rate.period_s
            for one in limits
            for rate in (one.requests, one.tokens)
            if rate is not None
        }

    def span(self, account: Account, now_ns: int) -> Span | None:
        """The window of an account, if that is open or ended just now.

        Returns:
            None: it is another one.
        """
        span = self._spans.get(account.window)
        is_open = span is not None and span.starts_ns <= now_ns
        if not is_open or (
            span is not None and span.ends_ns is not None and span.ends_ns <= now_ns
        ):
            try:
                span = span_at(account.window, self._zone, now_ns)
            except ValueError:
                return None
            self._spans[account.window] = span
        if span is None or span.label == account.label:
            return span
        before = span_at(account.window, self._zone, now_ns - LATE_NS)
        return before if before.label == account.label else None

    def _service_of(self, credential_id: str) -> str | None:
        if credential_id not in self._services:
            self._services = {
                row.credential.id: row.credential.service
                for row in self._store.credentials()
            }
        return self._services.get(credential_id)
