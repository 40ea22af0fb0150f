"""Failover: the attempts of one request at the deployments of its model.

Every attempt is a decision of its own, with its hold, its records and its end. The
next one begins when the one before has ended, and only while the client has been told
nothing. Where none can be made, the client gets the first one's answer.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec.structs import replace

from comptroller.engine.ports import UpstreamFailure
from comptroller.engine.refusals import Refusal
from comptroller.engine.verdicts import Admitted, Ask
from comptroller.gateway.floor import Floor
from comptroller.gateway.outward import Outward
from comptroller.wire.repeating import why_not_elsewhere, why_not_repeated
from comptroller.wire.routes import Route

ATTEMPTS_MAX: Final = 3
ANSWER_BYTES_MAX: Final = 64 * 1024
"""An error that says more is passed on as it is: it is not kept for later."""
LARGE_BODY_BYTES: Final = 16 * 1024
"""A larger request body is let go of when it was sent: a reply may take minutes, and
a thousand of them together would hold gigabytes. With a deployment left to try it is
kept until the reply's head has come, as far as the worker has room."""


class Answer(NamedTuple):
    """What the client would have got of an attempt that failed."""

    request_id: str
    refusal: Refusal | None
    """None: the provider's own answer follows."""
    status: int = 0
    head: bytes = b""
    """Header lines."""
    body: bytes = b""
    cost_nano_usd: int | None = None


class Attempts:
    """The attempts of one request.

    Args:
        floor: the worker.
    """

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._ask: Ask | None = None
        self._kept_bytes = 0
        self._first: Answer | None = None
        self.count = 0
        """How many went to a provider, or were to."""

    def sent(self, ask: Ask, admitted: Admitted) -> None:
        """An attempt goes out; keeps what another one would need."""
        self.count += 1
        if self.count >= ATTEMPTS_MAX or not has_others(self._floor, admitted, ask):
            return
        size = len(ask.body)
        if size > LARGE_BODY_BYTES and not self._floor.keep_body(size):
            return
        self._kept_bytes = size if size > LARGE_BODY_BYTES else 0
        self._ask = ask

    def unsent(self) -> Ask | None:
        """What to ask elsewhere when nothing was sent; None: nothing."""
        return self._elsewhere()

    def after(self, status: int) -> Ask | None:
        """What to ask elsewhere after a reply of this status; None: nothing."""
        ask = self._ask
        if ask is None or why_not_repeated(ask.route, status, ask.body) is not None:
            self.let_go()
            return None
        return self._elsewhere()

    def failed(self, answer: Answer, ask: Ask, admitted: Admitted) -> Ask:
        """An attempt has failed and ended.

        Args:
            answer: for the client, should it be the first and no other be made.
            ask: what was asked.
            admitted: of the attempt.

        Returns:
            What to ask next.
        """
        if self._first is None:
            self._first = answer
        return replace(
            ask,
            tried=(*ask.tried, admitted.entitlement.deployment),
            first_id=ask.first_id or answer.request_id,
            previous_id=answer.request_id,
        )

    def answer(self, out: Outward, route: Route | None) -> bool:
        """Answers with what came of the first attempt; False: it is under way."""
        first = self._first
        if first is None:
            return False
        out.request_id = first.request_id
        if first.refusal is not None:
            out.refuse(first.refusal, route)
        else:
            out.whole(first.status, first.head, first.body, first.cost_nano_usd)
        return True

    def let_go(self) -> None:
        """Keeps nothing for another attempt."""
        self._ask = None
        self._floor.kept_bytes -= self._kept_bytes
        self._kept_bytes = 0

    def _elsewhere(self) -> Ask | None:
        ask = self._ask
        if ask is not None and why_not_elsewhere(ask.route, ask.body) is not None:
            self.let_go()
        return self._ask


def attempts_at(floor: Floor, admitted: Admitted) -> Attempts | None:
    """The attempts of a request that goes out first; None: there can be but one."""
    assert floor.admission is not None  # noqa: S101  it has admitted the request
    if floor.admission.desk.is_one_of_many(admitted.entitlement):
        return Attempts(floor)
    return None


def unanswered(admitted: Admitted, failure: UpstreamFailure) -> Refusal:
    """What a client is told when a provider gave no whole reply."""
    status = 504 if failure.code == "timeout" else 502
    provider = admitted.entitlement.model.provider
    message = f"Provider {provider} did not answer this request: {failure.detail}."
    return Refusal(status, f"upstream_{failure.code}", message, retry=True)


def has_others(floor: Floor, admitted: Admitted, ask: Ask) -> bool:
    """Whether the model runs somewhere that this request was not tried at."""
    entitlement = admitted.entitlement
    assert floor.admission is not None  # noqa: S101  it has admitted the request
    desk = floor.admission.desk
    done = (*ask.tried, entitlement.deployment)
    all_of_them = desk.entitlements(
        entitlement.credential,
        entitlement.service,
        entitlement.model.id,
        entitlement.route,
    )
    for one in all_of_them:
        if one.refusal is None and one.deployment not in done:
            return True
    return False
