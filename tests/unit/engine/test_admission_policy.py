import hashlib
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptroller.core.policy.decide import decide
from comptroller.core.policy.plain import plain_set
from comptroller.core.policy.prompt import Match
from comptroller.core.policy.rules import (
    CeilingRule,
    EnvironmentTable,
    Mode,
    OnExceed,
    Policy,
    PolicySet,
    PromptRestriction,
    Rule,
    Selector,
)
from comptroller.core.rates import ModelRates, Step, rate_card
from comptroller.core.registry import (
    Deployment,
    Model,
    ModelId,
    Provider,
    ProviderId,
    Registry,
)
from comptroller.engine import records
from comptroller.engine.admission import Admission
from comptroller.engine.controls import CONTROLS
from comptroller.engine.desk import Desk
from comptroller.engine.judging import Judge
from comptroller.engine.policy_facts import UNLISTED_DIGEST, restored
from comptroller.engine.snapshot import ActivePolicy, Snapshot
from comptroller.engine.verdicts import Admitted, Ask, Missing, Refused
from comptroller.testing.answered import CARD, acme
from comptroller.testing.deployed import CREDENTIAL, SERVICE
from comptroller.testing.policy import EVERYTHING, PythonExpression
from comptroller.testing.routes import CHAT, MESSAGES
from comptroller.testing.system import FixedSecrets

NOW_NS = 1_760_000_000_000_000_000
REVISION = "sha256:" + "ab" * 32
SECRET_TEXT = "the merger with Initech is on Friday"


def deny_when(id_: str, name: str, value: object, mode: Mode = Mode.ENFORCE) -> Rule:
    condition = PythonExpression(lambda facts: facts[name] == value, f"{name} == …")
    return Rule(id_, condition, mode=mode)


def policy_set(**parts: Any) -> PolicySet:  # noqa: ANN401  parts of any kind
    return PolicySet("test", "ada", **({"allow": (EVERYTHING,)} | parts))


def admission(
    declared: PolicySet | None, registry: Registry | None = None
) -> Admission:
    policy = Policy.of([declared]) if declared is not None else None
    plain = [plain_set(declared)] if declared is not None else []
    judge = Judge(ActivePolicy(REVISION, plain), policy)
    snapshot = Snapshot(1, 7, registry or acme(), [CREDENTIAL], CARD)
    return Admission(Desk(snapshot, FixedSecrets({}), judge))


def body_of(**fields: object) -> bytes:
    return msgspec.json.encode({"model": "gpt-5-mini", "messages": []} | fields)


def admit(
    declared: PolicySet | None,
    body: bytes | None = None,
    registry: Registry | None = None,
    **asked: Any,  # noqa: ANN401  members of Ask
) -> Any:  # noqa: ANN401  one of three
    ask = Ask(CHAT, b"good", body if body is not None else body_of(), b"", **asked)
    return admission(declared, registry).admit(ask, NOW_NS)


def recorded(verdict: Admitted | Refused) -> records.Decided:
    assert verdict.data is not None
    return msgspec.json.decode(
        b'{"decision_id":"D",%b}' % verdict.data, type=records.Decided
    )


def outcomes(verdict: Admitted | Refused) -> dict[str, str]:
    return {one.id: one.outcome for one in recorded(verdict).controls}


def test_what_nothing_allows_is_denied() -> None:
    """With a policy active the default is to deny, in words that say whom to ask."""
    refused = admit(policy_set(allow=()))

    assert isinstance(refused, Refused)
    assert (refused.refusal.status, refused.refusal.code) == (400, "policy_denied")
    assert not refused.refusal.retry
    assert "default-deny" in refused.refusal.message
    assert "Ada Lovelace <ada@acme.example>" in refused.refusal.message
    assert recorded(refused).policy_by == ["default-deny"]
    assert outcomes(refused)["entitlement"] == "deny"
    assert outcomes(refused)["budget"] == "not_applicable"


def test_a_decision_holds_all_that_it_was_made_of() -> None:
    """G4: from the record alone the policy decides the same again."""
    declared = policy_set(
        rules=(deny_when("r.stream", "request.stream", True, Mode.AUDIT),),
        ceilings=(CeilingRule("ceil", 100, OnExceed.CLAMP),),
        prompts=(PromptRestriction("p.size", max_bytes=10, mode=Mode.WARN),),
    )
    admitted = admit(declared, body_of(stream=True, max_tokens=500))

    data = recorded(admitted)
    facts = restored(msgspec.json.decode(data.policy_input))
    again = decide(Policy.of([declared]), facts)
    assert data.bundles["policy"]["revision"] == REVISION
    assert data.policy_effect == again.effect == "allow"
    assert tuple(data.policy_by) == again.by == ("allow.all",)
    assert tuple(data.policy_would_deny) == again.would_deny == ("r.stream",)
    assert tuple(data.policy_warnings) == again.warnings == ("p.size",)
    assert data.policy_max_output_tokens == again.max_output_tokens == 100
    assert data.policy_ceiling == again.ceiling == "ceil"


def test_every_control_is_listed_whatever_came_of_it() -> None:
    """A decision names each control, in order, with version and outcome."""
    declared = policy_set(
        rules=(deny_when("r", "request.choices", 2),),
        environments=(EnvironmentTable("env", {"*": frozenset({"staging"})}),),
    )

    refused = admit(declared, body_of(n=2))

    listed = recorded(refused).controls
    assert [one.id for one in listed] == list(CONTROLS)
    denied = {one.id: one.observed for one in listed if one.outcome == "deny"}
    assert denied == {"entitlement": "r", "environment": "env"}
    assert {one.id: one.outcome for one in listed}["prompt_restriction"] == (
        "not_applicable"
    )
    assert {one.version for one in listed} == {"7", REVISION}


def test_no_policy_is_said_to_be_off() -> None:
    """Without an active bundle its controls are disabled, not silently passed."""
    snapshot = Snapshot(1, 7, acme(), [CREDENTIAL], CARD)
    ask = Ask(CHAT, b"good", body_of(), b"")

    admitted = Admission(Desk(snapshot, FixedSecrets({}))).admit(ask, NOW_NS)

    assert isinstance(admitted, Admitted)
    found = outcomes(admitted)
    assert {name for name in found if found[name] == "disabled"} == {
        "entitlement",
        "environment",
        "prompt_restriction",
    }
    assert recorded(admitted).policy_input == records.NULL


@pytest.mark.parametrize("asked", [None, 500])
def test_a_ceiling_is_put_into_what_is_sent(asked: int | None) -> None:
    """A policy's ceiling lowers a higher maximum, and stands where there is none."""
    declared = policy_set(ceilings=(CeilingRule("ceil", 100, OnExceed.CLAMP),))
    body = body_of() if asked is None else body_of(max_tokens=asked)

    admitted = admit(declared, body)

    sent = msgspec.json.decode(admitted.body)
    found = {sent.get("max_tokens"), sent.get("max_completion_tokens")} - {None}
    assert found == {100}
    (ceiling,) = [c for c in recorded(admitted).controls if c.id == "token_ceiling"]
    assert (ceiling.observed, ceiling.limit) == (asked or -1, 100)
    assert ceiling.version == REVISION
    assert ceiling.outcome == ("pass" if asked is None else "clamp")


def test_a_lower_maximum_of_the_request_stands() -> None:
    """A ceiling never raises what a client asks for."""
    declared = policy_set(ceilings=(CeilingRule("ceil", 100, OnExceed.CLAMP),))

    admitted = admit(declared, body_of(max_tokens=7))

    assert b'"max_tokens":7' in admitted.body
    assert outcomes(admitted)["token_ceiling"] == "pass"


def test_a_ceiling_may_deny() -> None:
    """Where a ceiling says so, more is refused by its control."""
    declared = policy_set(ceilings=(CeilingRule("ceil", 100, OnExceed.DENY),))

    refused = admit(declared, body_of(max_tokens=101))

    assert outcomes(refused)["token_ceiling"] == "deny"
    assert "asks for 101 output tokens, of at most 100" in refused.refusal.message


def test_a_warning_is_told_and_recorded_but_nothing_is_refused() -> None:
    """A rule in `warn` becomes a header line that cannot end early."""
    rule = replace(
        deny_when("r.many", "request.choices", 2, Mode.WARN),
        message=PythonExpression(lambda _: "too många\r\nx-evil: 1"),
    )

    admitted = admit(policy_set(rules=(rule,)), body_of(n=2))

    assert admitted.notes == (
        b"x-comptroller-policy-warning: r.many: too m?nga??x-evil: 1\r\n"
    )
    assert outcomes(admitted)["entitlement"] == "would_deny"


def test_a_rule_in_audit_is_recorded_alone() -> None:
    """A rule in `audit` changes nothing for the caller."""
    declared = policy_set(rules=(deny_when("r", "request.choices", 2, Mode.AUDIT),))

    admitted = admit(declared, body_of(n=2))

    assert isinstance(admitted, Admitted)
    assert admitted.notes == b""
    assert recorded(admitted).policy_would_deny == ["r"]
    assert outcomes(admitted)["entitlement"] == "would_deny"


SCANNING = policy_set(prompts=(PromptRestriction("p.secrets", patterns=("secret",)),))


def test_patterns_are_looked_for_before_the_decision() -> None:
    """A policy that asks for patterns gets the texts scanned, then decides."""
    body = body_of(messages=[{"role": "user", "content": SECRET_TEXT}])

    missing = admit(SCANNING, body)

    assert isinstance(missing, Missing)
    assert SECRET_TEXT in "".join(one.text for one in missing.texts)
    clean = admission(SCANNING).admit(replace_ask(missing.ask, matches=()), NOW_NS)
    assert isinstance(clean, Admitted)
    found = (Match("secret.github-pat", "user/last"),)
    refused = admission(SCANNING).admit(replace_ask(missing.ask, matches=found), NOW_NS)
    assert isinstance(refused, Refused)
    assert outcomes(refused)["prompt_restriction"] == "deny"
    assert "secret.github-pat" in refused.refusal.message


def replace_ask(ask: Ask, **members: Any) -> Ask:  # noqa: ANN401  members of Ask
    return msgspec.structs.replace(ask, **members)


def test_a_prompt_that_cannot_be_scanned_is_denied() -> None:
    """Nothing is known of it, and an error is a denial."""
    refused = admit(SCANNING, unscanned="a prompt of 2,000,000 bytes is too much")

    assert refused.refusal.code == "policy_error"
    assert "2,000,000" in refused.refusal.message
    # What was not asked is not said to have passed.
    found = outcomes(refused)
    assert found["entitlement"] == "deny"
    assert found["prompt_restriction"] == "not_applicable"


def test_a_restriction_for_others_costs_no_scan() -> None:
    """Only prompts of those whom a restriction is for are scanned."""
    selector = Selector((("principal.kind", frozenset({"agent"})),))
    restriction = PromptRestriction("p", patterns=("secret",), selector=selector)

    assert isinstance(admit(policy_set(prompts=(restriction,))), Admitted)


def test_a_policy_that_cannot_be_read_allows_nothing() -> None:
    """A worker without a readable policy fails closed, with its own code."""
    refused = admit(None)

    assert (refused.refusal.status, refused.refusal.code) == (503, "policy_unavailable")
    assert outcomes(refused)["entitlement"] == "deny"


@pytest.mark.parametrize(
    "name", ["do not tell: " + SECRET_TEXT, "sk-proj-0123456789", "x" * 129, ""]
)
def test_a_tools_name_that_no_record_may_hold_is_denied(name: str) -> None:
    """Tools are facts of the record, so a prompt or a secret cannot pass for one."""
    tools = [{"type": "function", "function": {"name": name, "parameters": {}}}]

    refused = admit(policy_set(), body_of(tools=tools))

    assert refused.refusal.code in ("policy_error", "bad_request")
    assert name == "" or name.encode() not in refused.data


def test_more_tools_than_a_record_can_hold_are_denied() -> None:
    """A record stays within its bound whatever a client sends."""
    tools = [
        {"type": "function", "function": {"name": f"tool_{n}", "parameters": {}}}
        for n in range(600)
    ]

    refused = admit(policy_set(), body_of(tools=tools))

    assert refused.refusal.code == "policy_error"


def test_digests_of_other_system_prompts_are_not_recorded() -> None:
    """Whoever reads records cannot try prompts until a digest fits."""
    messages = [{"role": "system", "content": "You are secret."}]

    admitted = admit(policy_set(), body_of(messages=messages))

    request = msgspec.json.decode(recorded(admitted).policy_input)["request"]
    assert request["system_digest"] == UNLISTED_DIGEST


def test_a_system_prompt_that_a_restriction_alone_names_is_denied() -> None:
    """A digest need not stand in a condition, too, to be compared."""
    messages = [{"role": "system", "content": "You are secret."}]
    digest = hashlib.sha256(b"You are secret.").hexdigest()
    forbids = PromptRestriction("p", forbidden_system_digests=(digest,))

    refused = admit(policy_set(prompts=(forbids,)), body_of(messages=messages))

    assert recorded(refused).policy_by == ["p"]


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=12, max_size=40), st.integers(1, 3))
def test_no_words_of_a_prompt_get_into_a_record(text: str, choices: int) -> None:
    """Whatever stands in a prompt, its record does not hold it."""
    messages = [
        {"role": "system", "content": f"mark-{text}-mark"},
        {"role": "user", "content": f"mark-{text}-mark"},
    ]
    declared = policy_set(rules=(deny_when("r", "request.choices", 2),))

    verdict = admit(declared, body_of(messages=messages, n=choices))

    assert b"mark-" not in verdict.data
    if isinstance(verdict, Refused):
        assert "mark-" not in verdict.refusal.message


def two_regions() -> Registry:
    base = acme()
    model = ModelId("gpt-5-mini")
    providers = {
        ProviderId(region): Provider(
            ProviderId(region),
            f"https://{region}.example",
            {"openai": ""},
            region=region,
            prices="openai",
        )
        for region in ("us", "eu")
    }
    places = tuple(Deployment(one, "gpt-5-mini") for one in providers)
    declared = Model(
        model, ProviderId("us"), "gpt-5-mini", aliases=("mini",), deployments=places
    )
    return replace(base, providers=providers, models={model: declared})


def test_only_deployments_that_the_policy_allows_are_used() -> None:
    """Of several places the policy is asked of each; the first denial is told."""
    rates = ModelRates(
        "gpt-5-mini", (Step(0, {"input": 250_000, "output": 2_000_000}),), source="t"
    )
    card = rate_card("t", {name: {"gpt-5-mini": rates} for name in ("us", "eu")})
    declared = policy_set(rules=(deny_when("r.eu", "model.region", "us"),))
    judge = Judge(ActivePolicy(REVISION, [plain_set(declared)]), Policy.of([declared]))
    snapshot = Snapshot(1, 7, two_regions(), [CREDENTIAL], card)
    place = Admission(Desk(snapshot, FixedSecrets({}), judge))
    ask = Ask(CHAT, b"good", body_of(model="mini"), b"")

    for _ in range(5):
        admitted = place.admit(ask, NOW_NS)
        assert isinstance(admitted, Admitted)
        assert admitted.entitlement.deployment == ("eu", "gpt-5-mini")
        assert msgspec.json.decode(admitted.body)["model"] == "gpt-5-mini"
    failed = replace_ask(ask, tried=(("eu", "gpt-5-mini"),), first_id="D0")
    refused = place.admit(failed, NOW_NS)
    assert isinstance(refused, Refused)
    assert recorded(refused).policy_by == ["r.eu"]
    assert recorded(refused).attempt_of == "D0"


def test_a_model_inside_the_body_is_judged_too() -> None:
    """A restriction to models looks at those that a body runs besides its own."""
    base = acme()
    other = Model(ModelId("gpt-5"), ProviderId("openai"), "gpt-5")
    service = replace(
        base.services[SERVICE], models=(*base.services[SERVICE].models, other.id)
    )
    registry = replace(
        base, models=base.models | {other.id: other}, services={SERVICE: service}
    )
    declared = policy_set(prompts=(PromptRestriction("p", models=("gpt-5-mini",)),))

    refused = admit(declared, body_of(models=["gpt-5-mini", "gpt-5"]), registry)
    admitted = admit(declared, body_of(), registry)

    assert outcomes(refused)["prompt_restriction"] == "deny"
    assert isinstance(admitted, Admitted)


def test_a_messages_request_has_facts_too() -> None:
    """Facts are read in every dialect: here the provider's own tools of one."""
    base = acme()
    provider = Provider(
        ProviderId("openai"), "https://api.openai.com", {"anthropic": "", "openai": ""}
    )
    registry = replace(base, providers={provider.id: provider})
    declared = policy_set(
        prompts=(PromptRestriction("p", forbidden_builtin_tools=("web_search*",)),)
    )
    body = body_of(
        max_tokens=10, tools=[{"type": "web_search_20250305", "name": "web_search"}]
    )
    ask = Ask(MESSAGES, b"good", body, b"")

    refused = admission(declared, registry).admit(ask, NOW_NS)

    assert isinstance(refused, Refused)
    assert outcomes(refused)["prompt_restriction"] == "deny"
