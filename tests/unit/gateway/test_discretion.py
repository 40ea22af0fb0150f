"""What decision records say of persons, through the whole request path."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from asyncio import Transport
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from tests.unit.gateway.place import Place, chat, inbound, on_a_loop, snapshot

from comptroller.core.registry import Privacy, Registry
from comptroller.engine.discretion import FINGERPRINT_BYTES_MAX, Discretion
from comptroller.gateway.exchange import Exchange
from comptroller.gateway.inbound import Inbound
from comptroller.testing.both_ends import Listening
from comptroller.testing.disclosures import InMemoryDisclosures
from comptroller.testing.system import SeededEntropy
from comptroller.testing.traces import forms

ALL = Privacy(end_user=True, client_address=True, prompt_fingerprint=True)
KEY, OTHER_KEY = b"k" * 32, b"o" * 32
PEER = "192.0.2.7"
UUID = "0b6c9a52-8a64-4c3e-9a3e-6d1d8c0f4b1a"


class Connected(Transport):
    """A connection from somewhere."""

    def __init__(self, peer: tuple[object, ...] | None) -> None:
        super().__init__({"peername": peer} if peer else {})


class DiscreetPlace(Place):
    """A worker that is told what to say of persons."""

    def __init__(self, privacy: Privacy, keys: dict[str, bytes] | None = None) -> None:
        self.table = InMemoryDisclosures()
        self.privacy = privacy
        self.keys = {"acme": KEY} if keys is None else keys
        served = snapshot()
        gateway = replace(served.registry.gateway, privacy=privacy)
        spoken = {"openai": "/v1", "anthropic": "/v1"}
        registry = replace(
            served.registry,
            gateway=gateway,
            providers={
                name: replace(one, speaks=spoken)
                for name, one in served.registry.providers.items()
            },
        )
        super().__init__(structs.replace(served, registry=registry))

    def equip(self) -> None:
        """Adds what records may say of persons."""
        self.floor.discretion_of = self._discretion

    def _discretion(self, registry: Registry) -> Discretion | None:
        privacy = registry.gateway.privacy
        if privacy == Privacy():
            return None
        return Discretion(privacy, SeededEntropy(7), self.table, self.keys)

    def ask(self, asked: Inbound, peer: str = PEER) -> dict[str, Any]:
        """Asks from an address; the data of the decision's record."""
        client = Listening()
        client.transport = Connected((peer, 4711))
        Exchange(self.floor, client, asked).begin()
        return self.records("decided")[-1]

    def disclosed(self) -> list[list[str]]:
        """All that the side table says, decoded without our code."""
        return [
            json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            for line in bytes(self.table.content).splitlines()
            for text in json.loads(line)["disclosures"]
        ]


def asked_once(
    privacy: Privacy, asked: Inbound, peer: str = PEER
) -> tuple[dict[str, Any], DiscreetPlace]:
    found: list[dict[str, Any]] = []
    place = on_a_loop(
        lambda place: found.append(place.ask(asked, peer)),
        lambda: DiscreetPlace(privacy),
    )
    return found[0], place


def test_without_the_setting_a_record_is_as_it_was() -> None:
    """Off by default: no member, no side table."""
    data, place = asked_once(Privacy(), chat({"user": "ada"}))

    names = {"_sd", "_sd_alg", "comptroller.prompt.hmac"}
    assert not names & data.keys()
    assert not place.table.content


def test_a_record_commits_to_what_the_side_table_discloses() -> None:
    """SD-JWT: `_sd` are the sorted digests of the disclosures, each with its salt."""
    data, place = asked_once(ALL, chat({"user": "ada@acme.example"}))

    assert [one[1:] for one in place.disclosed()] == [
        ["enduser.id", "ada@acme.example"],
        ["client.address", PEER],
    ]
    salts = [one[0] for one in place.disclosed()]
    assert len(set(salts)) == 2
    assert all(len(base64.urlsafe_b64decode(one + "==")) == 16 for one in salts)
    (line,) = bytes(place.table.content).splitlines()
    digests = [
        base64.urlsafe_b64encode(hashlib.sha256(one.encode()).digest()).rstrip(b"=")
        for one in json.loads(line)["disclosures"]
    ]
    assert data["_sd"] == sorted(one.decode() for one in digests)
    assert data["_sd_alg"] == "sha-256"
    assert json.loads(line)["id"] == data["decision_id"]


def test_only_what_is_switched_on_is_said() -> None:
    """Each of the three settings by itself."""
    user, place = asked_once(Privacy(end_user=True), chat({"user": "ada"}))
    assert [one[1] for one in place.disclosed()] == ["enduser.id"]
    assert "comptroller.prompt.hmac" not in user

    _, place = asked_once(Privacy(client_address=True), chat({"user": "ada"}))
    assert [one[1] for one in place.disclosed()] == ["client.address"]

    prompt, place = asked_once(Privacy(prompt_fingerprint=True), chat({"user": "ada"}))
    assert not place.table.content
    assert "_sd" not in prompt


def test_a_refused_request_commits_as_well() -> None:
    """Who asked for what they may not have is as much a person as any other."""
    asked = chat({"user": "ada", "model": "not-ours"})
    data, place = asked_once(ALL, asked)

    assert data["result"] == "deny"
    assert len(data["_sd"]) == 2
    assert data["comptroller.prompt.hmac"] == fingerprint(KEY, asked.body)
    assert len(place.disclosed()) == 2


def test_an_address_has_one_form() -> None:
    """An IPv4 address that came in IPv6's clothes is found as IPv4."""
    _, place = asked_once(ALL, chat({}), "::ffff:192.0.2.7")

    assert [one[1:] for one in place.disclosed()] == [["client.address", PEER]]


def fingerprint(key: bytes, body: bytes) -> str:
    digest = hmac.new(key, body, "sha256").digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_a_fingerprint_is_of_the_body_and_its_tenant() -> None:
    """The same bytes under one key are known again; under another key they are not."""
    asked = chat({"messages": [{"role": "user", "content": "Hi"}]})
    found: list[Any] = []

    def play(place: DiscreetPlace) -> None:
        several = (asked, asked, chat({}))
        found.extend(place.ask(one)["comptroller.prompt.hmac"] for one in several)

    for keys in ({"acme": KEY}, {"acme": OTHER_KEY}, {}):
        on_a_loop(play, lambda keys=keys: DiscreetPlace(ALL, keys))  # type: ignore[misc]
    first, again, another, elsewhere = found[:4]
    assert first == again == fingerprint(KEY, asked.body)
    assert len({first, another, elsewhere}) == 3
    assert found[6:] == [None, None, None]


def test_a_body_too_large_has_no_fingerprint() -> None:
    """Beyond the bound the member is null: hashing would hold up the others."""
    padding = "x" * FINGERPRINT_BYTES_MAX
    data, _ = asked_once(
        ALL, chat({"messages": [{"role": "user", "content": padding}]})
    )

    assert data["comptroller.prompt.hmac"] is None
    assert data["_sd"]


def test_a_session_beside_a_user_is_a_run_only_where_it_is_a_uuid() -> None:
    """What follows the user in `metadata.user_id` may be anything, a name as well."""
    found: list[Any] = []

    def play(place: DiscreetPlace) -> None:
        for session in (UUID, "ada-lovelace"):
            said = {"user_id": f"user_9_session_{session}"}
            body = {
                "model": "gpt-5-mini",
                "max_tokens": 5,
                "messages": [],
                "metadata": said,
            }
            asked = inbound(b"POST", "/v1/messages", json.dumps(body).encode())
            found.append(place.ask(asked).get("comptroller.run"))

    for privacy in (ALL, Privacy()):
        on_a_loop(play, lambda privacy=privacy: DiscreetPlace(privacy))  # type: ignore[misc]
    assert found == [UUID, None, UUID, "ada-lovelace"]


@settings(max_examples=60, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=6, max_size=60),
    st.sampled_from(["user", "safety_identifier", "metadata"]),
    st.sampled_from(["gpt-5-mini", "not-ours"]),
)
def test_no_record_holds_a_value(value: str, field: str, model: str) -> None:
    """Whatever the value: no byte form of it is in any record, however it ends."""
    value = f"Zq{value}qZ"
    said: dict[str, object] = {field: value, "model": model}
    path, extra = "/v1/chat/completions", {}
    if field == "metadata":
        path, said = "/v1/messages", {"metadata": {"user_id": value}, "model": model}
        extra = {"max_tokens": 5}
    body = json.dumps({"messages": [], **said, **extra}).encode()
    place = on_a_loop(
        lambda place: play_once(place, inbound(b"POST", path, body)),
        lambda: DiscreetPlace(ALL),
    )

    recorded = b"\n".join(one.line for one in place.journal.records)
    assert b'"_sd"' in recorded
    for form in forms(value):
        assert form not in recorded
    assert value in [one[2] for one in place.disclosed()]


def play_once(place: DiscreetPlace, asked: Inbound) -> None:
    place.ask(asked)
    if place.upstreams.calls:
        place.answer()
