"""The provider's own books: what was asked, what was answered, what it bills."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from typing import Any, Final

from comptroller.core.usage import Usage
from comptroller.testing.provider.framing import Request

IDS_MAX: Final = 200_000
REQUESTS_MAX: Final = 100


class Group:
    """Requests whose tags begin with the same name: `checkout/17` is of `checkout`."""

    def __init__(self) -> None:
        self.requests = 0
        self.under_way = 0
        self.most_under_way = 0
        self.bill: dict[str, Counter[str]] = {}
        """As that of the books, whole replies and broken ones together."""

    def stats(self) -> dict[str, Any]:
        """What `GET /__stats` shows of it."""
        return {
            "requests": self.requests,
            "under_way": self.under_way,
            "most_under_way": self.most_under_way,
            "bill": {model: dict(line) for model, line in self.bill.items()},
        }


class Books:
    """Counts and bills of one provider. The server alone writes them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """`requests`, `completed`, `failed`, `aborted`, `malformed`, `connections`."""
        self.paths: Counter[str] = Counter()
        self.bill: dict[str, Counter[str]] = {}
        """Model to disjoint usage classes (core.usage), and `requests`."""
        self.bill_broken: dict[str, Counter[str]] = {}
        """Likewise for replies that broke off: the prompt, and what was generated."""
        self._groups: dict[str, Group] = {}
        self._tags: deque[str] = deque(maxlen=IDS_MAX)
        self._tag_bills: dict[str, Usage] = {}
        self._requests: deque[dict[str, Any]] = deque(maxlen=REQUESTS_MAX)

    def received(self, request: Request) -> None:
        """Notes a request as soon as it is complete, before any answer."""
        self.counts["requests"] += 1
        self.paths[request.path] += 1
        headers = request.headers
        tag = tag_of(request)
        if tag is not None:
            self._tags.append(tag)
            group = self._group(tag)
            group.requests += 1
            group.under_way += 1
            group.most_under_way = max(group.most_under_way, group.under_way)
        self._requests.append(
            {
                "method": request.method,
                "target": request.target,
                "headers": headers,
                "body_bytes": len(request.body),
                "body_sha256": hashlib.sha256(request.body).hexdigest(),
            }
        )

    def ended(self, tag: str | None) -> None:
        """Notes that a request is over, whatever became of it."""
        if tag is not None:
            self._group(tag).under_way -= 1

    def billed(self, model: str, usage: Usage, tag: str | None = None) -> None:
        """Puts a whole reply's usage on the bill."""
        _add(self.bill, model, usage)
        if tag is not None:
            _add(self._group(tag).bill, model, usage)
            if len(self._tag_bills) < IDS_MAX:
                self._tag_bills[tag] = usage

    def billed_broken(self, model: str, usage: Usage, tag: str | None = None) -> None:
        """Puts on the bill what a reply that broke off consumed."""
        _add(self.bill_broken, model, usage)
        if tag is not None:
            _add(self._group(tag).bill, model, usage)

    def stats(self) -> dict[str, Any]:
        """What `GET /__stats` shows."""
        return {
            "counts": dict(self.counts),
            "paths": dict(self.paths),
            "bill": {model: dict(line) for model, line in self.bill.items()},
            "bill_broken": {
                model: dict(line) for model, line in self.bill_broken.items()
            },
            "groups": {name: group.stats() for name, group in self._groups.items()},
            "tags": list(self._tags),
            "tag_bills": self._tag_bills,
            "requests": list(self._requests),
        }

    def _group(self, tag: str) -> Group:
        return self._groups.setdefault(tag.rpartition("/")[0], Group())


def tag_of(request: Request) -> str | None:
    """What a test's client names its request by; gateways pass `x-tag` on."""
    headers = request.headers
    return headers.get("x-comptroller-request-id") or headers.get("x-tag")


def _add(bill: dict[str, Counter[str]], model: str, usage: Usage) -> None:
    line = bill.setdefault(model, Counter())
    line["requests"] += 1
    line.update(usage)
