"""Ownership: what a worker remembers of stored objects, and asks of the others.

Only what belongs to the tenant that names it is remembered. Whatever else is named is
asked for equally often, equally long: an id of another tenant takes the time of one
that nobody made.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeAlias

from comptroller.engine.object_ports import ObjectDesk
from comptroller.engine.objects import IDS_MAX, AskedObject, Owned, Owners, Whose
from comptroller.engine.ports import Timers
from comptroller.wire.references import Reference, is_plain_id

REMEMBERED_MAX: Final = 10_000
WAITING_MAX: Final = 1024
"""Requests that wait for an answer."""
TENANT_WAITING_MAX: Final = 256
"""Of one tenant, so that no other's are turned away for its guesses."""
ASKS_MAX: Final = 3
"""What another worker has recorded may be on its way to the journal for a moment: a
rotation of its files takes the longest."""
AGAIN_S: Final = 0.2

OnOwned: TypeAlias = Callable[[tuple[Owned, ...] | None], None]
"""Takes those of the objects that belong to the tenant; None: nobody could say."""


class _Question:
    """One request that waits to learn what is its own."""

    def __init__(self, tenant: str, ids: list[str], on_owned: OnOwned) -> None:
        self.tenant: str = tenant
        self.ids: list[str] = ids
        """Those that are not known yet to be the tenant's."""
        self.found: list[Owned] = []
        self.on_owned: OnOwned = on_owned
        self.asks: int = 0


class Ownership:
    """Whose stored objects are, as far as one worker knows or can ask.

    Everything on it runs on the one event loop. One ask is under way at a time; who
    comes meanwhile goes with the next one.

    Args:
        desk: whom to ask.
        timers: for asking again.
    """

    def __init__(self, desk: ObjectDesk, timers: Timers) -> None:
        self._desk = desk
        self._timers = timers
        self._known: OrderedDict[tuple[str, str], tuple[Owned, ...]] = OrderedDict()
        self._waiting: list[_Question] = []
        self._counts: Counter[str] = Counter()
        """How many wait, by tenant."""
        self._is_asking = False

    def made(self, objects: Sequence[Owned]) -> None:
        """Remembers what this worker has just recorded."""
        for one in objects:
            self._remember(one)

    def known(
        self, tenant: str, references: Sequence[Reference]
    ) -> tuple[Owned, ...] | None:
        """What is remembered of all these objects; None: ask `whose`."""
        found: list[Owned] = []
        for one in references:
            objects = self._recall(tenant, one.id)
            if objects is None:
                return None
            found += objects
        return tuple(found)

    def whose(
        self, tenant: str, references: Sequence[Reference], on_owned: OnOwned
    ) -> None:
        """Finds out which of these objects belong to a tenant.

        Args:
            tenant: who names them.
            references: the objects.
            on_owned: called once, later, with the tenant's own; with None when the
                control process did not say.
        """
        wanted = dict.fromkeys(one.id for one in references if is_plain_id(one.id))
        question = _Question(tenant, list(wanted), on_owned)
        self._take_known(question)
        if self._is_full(tenant) or len(question.ids) > IDS_MAX:
            self._timers.call_later(0, partial(on_owned, None))
        elif not question.ids:
            found = tuple(question.found)
            self._timers.call_later(0, partial(on_owned, found))
        else:
            self._counts[tenant] += 1
            self._waiting.append(question)
            self._ask()

    def _ask(self) -> None:
        """Asks for what waits, unless an answer is still to come."""
        if self._is_asking or not self._waiting:
            return
        batch: list[_Question] = []
        size = 0
        while self._waiting and size + len(self._waiting[0].ids) <= IDS_MAX:
            question = self._waiting.pop(0)
            size += len(question.ids)
            batch.append(question)
        self._is_asking = True
        asked = Whose([AskedObject(q.tenant, one) for q in batch for one in q.ids])
        self._desk.whose(asked, partial(self._answered, batch))

    def _answered(self, batch: list[_Question], owners: Owners | None) -> None:
        self._is_asking = False
        for one in owners.objects if owners is not None else ():
            self._remember(one)
        for question in batch:
            if owners is None:
                self._end(question, None)
                continue
            question.asks += 1
            self._take_known(question)
            if not question.ids or question.asks >= ASKS_MAX:
                self._end(question, tuple(question.found))
            else:
                self._timers.call_later(AGAIN_S, partial(self._again, question))
        self._ask()

    def _is_full(self, tenant: str) -> bool:
        return (
            self._counts[tenant] >= TENANT_WAITING_MAX
            or self._counts.total() >= WAITING_MAX
        )

    def _again(self, question: _Question) -> None:
        self._waiting.append(question)
        self._ask()

    def _end(self, question: _Question, found: tuple[Owned, ...] | None) -> None:
        self._counts[question.tenant] -= 1
        if not self._counts[question.tenant]:
            del self._counts[question.tenant]
        question.on_owned(found)

    def _take_known(self, question: _Question) -> None:
        """Moves what is known to be the tenant's own to what was found."""
        left: list[str] = []
        for one in question.ids:
            objects = self._recall(question.tenant, one)
            if objects is None:
                left.append(one)
            else:
                question.found += objects
        question.ids = left

    def _recall(self, tenant: str, object_id: str) -> tuple[Owned, ...] | None:
        key = tenant, object_id
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
        return found

    def _remember(self, one: Owned) -> None:
        """Remembers an object; two providers may have given the same id."""
        key = one.tenant, one.id
        others = self._known.get(key, ())
        if one not in others:
            self._known[key] = (*others, one)
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
