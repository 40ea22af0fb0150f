"""Records of policy decisions stay within their bound, whatever a client sends."""

from __future__ import annotations

import msgspec

from comptroller.core.credential import Credential, CredentialId, Secret, hash_secret
from comptroller.core.policy.decide import decide
from comptroller.core.policy.plain import plain_set
from comptroller.core.policy.prompt import Match, Place
from comptroller.core.policy.rules import (
    AllowTable,
    Mode,
    Policy,
    PolicySet,
    PromptRestriction,
    Rule,
)
from comptroller.core.registry import ServiceId
from comptroller.engine import records
from comptroller.engine.admission import Admission
from comptroller.engine.desk import Desk
from comptroller.engine.judging import Judge
from comptroller.engine.policy_facts import restored
from comptroller.engine.snapshot import ActivePolicy, Snapshot
from comptroller.engine.verdicts import Admitted, Ask, Refused
from comptroller.testing.answered import CARD, acme
from comptroller.testing.policy import PythonExpression
from comptroller.testing.routes import CHAT
from comptroller.testing.system import FixedSecrets

NOW_NS = 1_760_000_000_000_000_000
ROOM_BYTES = 512
"""Of a record for what is around its decision data."""
RULES = 200
"""More than there are patterns (adapters/scanner)."""
ALL_MATCHES = tuple(
    Match(f"secret.some-providers-api-token-{n}", f"{place}/{third}")
    for n in range(RULES)
    for place in Place
    for third in ("first", "middle", "last")
)


def policy_set(*rules: Rule, mode: Mode = Mode.ENFORCE) -> PolicySet:
    everything = AllowTable("allow.all", {"*": frozenset({"*"})})
    secrets = PromptRestriction("p.secrets", patterns=("secret",), mode=mode)
    return PolicySet(
        "test", "ada", allow=(everything,), rules=rules, prompts=(secrets,)
    )


def admit(declared: PolicySet, **asked: object) -> Admitted | Refused:
    secret = Secret(hash_secret("good"), 0)
    service = ServiceId("checkout-assistant")
    credential = Credential(CredentialId("c1"), service, "ada", 0, (secret,))
    active = ActivePolicy("sha256:" + "ab" * 32, [plain_set(declared)])
    judge = Judge(active, Policy.of([declared]))
    snapshot = Snapshot(1, 7, acme(), [credential], CARD)
    body = msgspec.json.encode({"model": "gpt-5-mini", "messages": []} | asked)
    ask = Ask(CHAT, b"good", body, b"", matches=ALL_MATCHES)
    desk = Desk(snapshot, FixedSecrets({}), judge)
    verdict = Admission(desk).admit(ask, NOW_NS)
    assert isinstance(verdict, Admitted | Refused)
    return verdict


def fits(verdict: Admitted | Refused) -> records.Decided:
    assert verdict.data is not None
    assert len(verdict.data) + ROOM_BYTES <= records.RECORD_BYTES_MAX
    return msgspec.json.decode(
        b'{"decision_id":"D",%b}' % verdict.data, type=records.Decided
    )


def most_names(word: str) -> list[str]:
    return [f"{word}{n:03d}".ljust(23, "x") for n in range(512)]


def test_every_secret_in_every_place_fits_into_a_record() -> None:
    """Each pattern is still named, and the record decides the same again."""
    functions = [{"name": name} for name in most_names("tool")]
    tools = [{"type": name} for name in most_names("hosted")]
    declared = policy_set()

    refused = admit(declared, functions=functions, tools=tools)

    assert isinstance(refused, Refused)
    assert refused.refusal.code == "policy_denied"
    found = fits(refused)
    facts = msgspec.json.decode(found.policy_input)
    assert {rule for rule, _ in facts["prompt"]["matches"]} == {
        one.rule for one in ALL_MATCHES
    }
    again = decide(Policy.of([declared]), restored(facts))
    assert tuple(found.policy_by) == again.by == ("p.secrets",)


def test_a_prompt_in_audit_goes_on_however_much_is_found() -> None:
    """A restriction that only looks refuses nothing for want of room."""
    verdict = admit(policy_set(mode=Mode.AUDIT))

    assert isinstance(verdict, Admitted)
    assert fits(verdict).policy_would_deny == ["p.secrets"]


def test_what_no_record_can_hold_is_denied_on_the_record() -> None:
    """A bundle with thousands of rules that match denies, and says so."""
    matching = PythonExpression(lambda _: True, "true")
    rules = [
        Rule(f"rules.of-a-very-large-bundle.{n}", matching, mode=Mode.AUDIT)
        for n in range(2000)
    ]

    refused = admit(policy_set(*rules))

    assert isinstance(refused, Refused)
    assert refused.refusal.code == "policy_error"
    assert fits(refused).result == "deny"


def test_many_rules_that_deny_fit_into_a_record() -> None:
    """The ids are listed once in full; what a control saw is cut."""
    matching = PythonExpression(lambda _: True, "true")
    rules = [Rule(f"rules.of-a-large-bundle.{n}", matching) for n in range(900)]

    refused = admit(policy_set(*rules))

    assert isinstance(refused, Refused)
    assert refused.refusal.code == "policy_denied"
    assert len(fits(refused).policy_by) == 901
