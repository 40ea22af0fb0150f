import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from comptroller.core.credential import Credential, CredentialId, Secret, hash_secret
from comptroller.core.registry import ServiceId
from comptroller.core.usage import Pass, Reading
from comptroller.engine import records
from comptroller.engine.admission import Admission, Admitted, Ask
from comptroller.engine.desk import Desk
from comptroller.engine.settlement import NOTHING_READ, Reply, settle
from comptroller.engine.snapshot import Snapshot
from comptroller.testing.answered import CARD, acme
from comptroller.testing.system import FixedSecrets
from comptroller.wire.routes import match

OUTCOMES = ("completed", "upstream_error", "client_left", "cut", "upstream_broke")
a_name = st.none() | st.text(max_size=20_000) | st.just("gpt-5-mini")
a_usage = st.dictionaries(
    st.sampled_from(["input", "output", "cache_read", "reasoning"]),
    st.integers(0, 1 << 40),
)
readings = st.builds(
    Reading,
    st.lists(st.builds(Pass, a_name, a_usage), max_size=3).map(tuple),
    a_name,
    a_name,
    st.none() | st.sampled_from(["priority", "flex", "x" * 9999]),
    st.lists(st.just(b'{"a":\n1}'), max_size=600).map(tuple),
    st.none() | st.integers(0, 1 << 40),
    st.integers(0, 1 << 30),
    complete=st.booleans(),
)


def admitted() -> Admitted:
    route = match(b"POST", b"/v1/chat/completions")
    assert route is not None
    secret = Secret(hash_secret("good"), 0)
    credential = Credential(
        CredentialId("c1"), ServiceId("checkout-assistant"), "ada", 0, (secret,)
    )
    desk = Desk(Snapshot(1, 1, acme(), [credential], CARD), FixedSecrets({}))
    body = b'{"model":"gpt-5-mini","messages":[]}'
    verdict = Admission(desk).admit(Ask(route, b"good", body), 1)
    assert isinstance(verdict, Admitted)
    return verdict


ADMITTED = admitted()


@settings(max_examples=300, deadline=None)
@given(readings, st.sampled_from(OUTCOMES), st.sampled_from([None, 200, 206]))
def test_a_settlement_is_one_bounded_record(
    reading: Reading, outcome: str, status: int | None
) -> None:
    """Whatever a provider says, its record has its shape and fits a journal."""
    settled = settle(ADMITTED, Reply("R", outcome, status, reading, 1, None))

    line = msgspec.json.encode(settled)

    assert len(line) < records.RECORD_BYTES_MAX // 2
    assert b"\n" not in line
    back = msgspec.json.decode(line, type=records.Settled)
    assert (back.usage, back.cost_nano_usd) == (settled.usage, settled.cost_nano_usd)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(OUTCOMES), st.integers(0, 1 << 20), st.booleans())
def test_what_states_no_usage_is_estimated_and_never_free(
    outcome: str, output_bytes: int, is_complete: bool
) -> None:
    """No usage and no error of the provider: at least a token each way, flagged."""
    reading = NOTHING_READ._replace(output_bytes=output_bytes, complete=is_complete)

    settled = settle(ADMITTED, Reply("R", outcome, 200, reading, 1, None))

    assert settled.usage_source == "estimated"
    assert settled.cost_source == "estimated"
    assert settled.usage["input"] >= 1
    assert settled.usage["output"] >= max(output_bytes // 4, 1)
    assert settled.cost_nano_usd > 0


def test_an_error_of_the_provider_costs_nothing() -> None:
    """A refusal by the provider without usage is booked at zero, with no source."""
    settled = settle(ADMITTED, Reply("R", "upstream_error", 500, NOTHING_READ, 1, 1))

    assert (settled.cost_nano_usd, settled.cost_source) == (0, "none")
