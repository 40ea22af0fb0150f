"""One model at two simulated providers: failures lead from one to the other."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from comptroller.adapters.journal.reader import DirectoryJournalReader
from comptroller.engine import records
from comptroller.testing.burst import Answered, Asked, fire, fire_all
from comptroller.testing.limited import one_unit, service
from comptroller.testing.provider.process import running_provider
from comptroller.testing.tree import (
    ServeTree,
    await_true,
    kill_dead,
    run_command,
    told,
)

PRICE = {"input": 1, "output": 4}
SOON_S = 20.0
DUTIES = ("--author", "ada", "--approver", "ada", "--note", "tested")
STATUS = {"fail": "status"}
HI = [{"role": "user", "content": "Hi"}]
ENDS = (records.SETTLED, records.RELEASED, records.ABANDONED)
POLICY = """\
apiVersion: comptroller.policy/v1
kind: PolicySet
metadata: {name: acme, owner: ada}
allow:
  - {id: allow.all, models: {"*": ["*"]}}
rules:
  - {id: not.in-b, deny_if: "model.region == 'region-b'"}
"""
CASES = """\
tests:
  - {name: elsewhere is fine, expect: {decision: allow, by: [allow.all]}}
  - {name: not there, with: {model.region: region-b}, expect: {decision: deny}}
"""


class Place(NamedTuple):
    """A gateway, and the origins of the two providers of its models."""

    folder: Path
    tree: ServeTree
    a: str
    b: str
    keys: dict[str, str]

    def ask(self, key: str = "app", **fields: Any) -> Answered:  # noqa: ANN401
        """Asks for a chat completion; `simulate` and `tag` are the provider's."""
        how = {name: fields.pop(name, "") for name in ("simulate", "tag")}
        body = {"model": "house", "messages": HI, "max_tokens": 50, **fields}
        asked = Asked(self.keys[key], body, how["tag"], how["simulate"])
        return fire(self.tree.port, [asked])[0]

    def rows(self, count: int) -> list[dict[str, Any]]:
        """The last requests, the latest first."""
        found: list[dict[str, Any]] = told(
            self.folder, "requests", "--limit", str(count)
        )
        return found

    def decision(self, request_id: str) -> dict[str, Any]:
        """What `explain` knows of a request."""
        found: dict[str, Any] = told(self.folder, "explain", request_id)
        return found


def configuration(a: str, b: str, tight: str) -> str:
    """Of three services; model `gone` has a place where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}"
    providers = {"a": a, "b": b, "nobody": nobody}
    heavy = [{"provider": "a", "weight": 3}, {"provider": "b"}]
    both = ("a", "b")
    services = {
        "app": service(models=["house", "heavy", "gone"]),
        "tight": service(models=["house"], budget=f"{tight} USD"),
    }
    models = {
        "house": [{"provider": name, "upstream": f"m-{name}"} for name in both],
        "heavy": heavy,
        "gone": [{"provider": "nobody"}, {"provider": "b"}],
    }
    document = {
        "version": 1,
        "organization": "acme",
        "people": {"ada": {"name": "Ada Lovelace", "email": "ada@acme.example"}},
        "gateway": {"owner": "ada"},
        "providers": {
            name: {"base_url": at, "speaks": ["openai"], "region": f"region-{name}"}
            for name, at in providers.items()
        },
        "models": {
            name: {"price": PRICE, "max_output_tokens": 4096, "deployments": places}
            for name, places in models.items()
        },
        "tenants": one_unit(services),
    }
    return json.dumps(document, indent=1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("failover")
    with ExitStack() as stack:
        a, b = (stack.enter_context(running_provider()) for _ in range(2))
        (folder / "comptroller.yaml").write_text(configuration(a, b, "0.003"))
        run_command(folder, "apply", "--yes")
        keys = {
            name: str(told(folder, "key", "issue", name, "--for", "ada")["secret"])
            for name in ("app", "tight")
        }
        tree = ServeTree(folder, workers=1)
        try:
            yield Place(folder, tree, a, b, keys)
            assert tree.stop() == 0
            assert "Traceback" not in tree.log()
        finally:
            tree.stop()


def behave(origin: str, **said: object) -> None:
    """How a provider answers from now on; well when nothing is said."""
    data = json.dumps(said).encode()
    asked = urllib.request.Request(f"{origin}/__behaviour", data, method="PUT")  # noqa: S310  loopback
    urllib.request.urlopen(asked).close()  # noqa: S310


def stats(origin: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{origin}/__stats") as reply:  # noqa: S310  loopback
        found: dict[str, Any] = json.load(reply)
    return found


def received(origin: str) -> int:
    return int(stats(origin)["counts"].get("requests", 0))


@pytest.fixture(autouse=True)
def providers_that_are_well(place: Place) -> None:
    """What a test before has asked of them is over; house's turn is at `a`."""
    behave(place.a)
    behave(place.b)
    for _ in range(2):
        answered = place.ask()
        assert answered.status == 200, answered
        if b"m-b" in answered.body:
            return
    raise AssertionError("house does not take turns")


@pytest.mark.parametrize("status", [429, 500])
def test_an_error_of_one_is_answered_by_the_other(place: Place, status: int) -> None:
    """Two rows, two ids, two ends; the caller has the second, `explain` the chain."""
    behave(place.a, status=status, **STATUS)

    answered = place.ask()

    assert answered.status == 200
    assert json.loads(answered.body)["model"] == "m-b"
    assert answered.headers["x-comptroller-attempts"] == "2"
    second, first = place.rows(2)
    assert answered.headers["x-comptroller-request-id"] == second["request_id"]
    assert [first["state"], second["state"]] == ["settled", "settled"]
    assert (first["cost_nano_usd"], second["cost_nano_usd"] > 0) == (0, True)
    explained = place.decision(second["request_id"])
    (earlier,) = explained["attempts"]
    assert earlier["request_id"] == first["request_id"]
    page = run_command(place.folder, "explain", second["request_id"])
    assert f"attempt 1 at a failed ({status}, {first['request_id']})" in page
    assert "this is attempt 2" in page


def test_a_refused_connection_is_answered_by_the_other(place: Place) -> None:
    """Nobody listens at the first: released, and nothing of it is billed."""
    answered = place.ask(model="gone")
    again = place.ask(model="gone")  # the turn of the other

    assert {answered.status, again.status} == {200}
    rows = place.rows(3)
    assert sorted(row["state"] for row in rows) == ["released", "settled", "settled"]


def test_a_stream_that_breaks_off_is_not_begun_again(place: Place) -> None:
    """The caller has a part of it: it breaks off there, too, and is settled once."""
    before = received(place.a) + received(place.b)

    answered = place.ask(stream=True, simulate="fail=reset, after=3, output=40")

    assert answered.code == "broken"
    assert received(place.a) + received(place.b) == before + 1
    (row,) = place.rows(1)
    await_true(lambda: place.rows(1)[0]["state"] == "settled", SOON_S)
    assert row["reason"] == "allowed"


def test_both_fail_and_the_last_one_tells(place: Place) -> None:
    """Nobody is left to ask: its own words, with its own id."""
    behave(place.a, status=500, **STATUS)
    behave(place.b, status=503, **STATUS)

    answered = place.ask()

    assert answered.status == 503
    assert b"simulated failure" in answered.body
    assert answered.headers["x-comptroller-attempts"] == "2"
    last, _ = place.rows(2)
    assert answered.headers["x-comptroller-request-id"] == last["request_id"]


def test_a_budget_with_room_for_one_hold_is_room_enough(place: Place) -> None:
    """The first hold is free before the second is made."""
    behave(place.a, status=503, **STATUS)

    answered = place.ask("tight", max_tokens=500)

    assert answered.status == 200, answered
    second, first = place.rows(2)
    holds = first["hold_nano_usd"], second["hold_nano_usd"]
    assert max(holds) <= 3_000_000 < sum(holds)


def test_weights_are_kept(place: Place) -> None:
    """Three to one, exactly, over 400 requests of one worker."""
    before = received(place.a), received(place.b)
    body = {"model": "heavy", "messages": HI, "max_tokens": 50}

    for _ in range(8):
        asked = [Asked(place.keys["app"], body)] * 50
        assert {one.status for one in fire(place.tree.port, asked)} == {200}

    assert received(place.a) - before[0] == 300
    assert received(place.b) - before[1] == 100


def test_a_region_that_is_denied_is_no_way_out(place: Place) -> None:
    """The policy forbids the second place: the first failure is told, as it was."""
    (place.folder / "policy").mkdir()
    (place.folder / "policy" / "acme.policy.yaml").write_text(POLICY)
    (place.folder / "policy" / "acme.policy_test.yaml").write_text(CASES)
    published = told(place.folder, "policy", "publish", "--author", "ada")
    revision = str(published["revision"])
    run_command(place.folder, "policy", "activate", revision, "--approver", "ada")
    try:
        await_true(lambda: b"m-a" in place.ask().body + place.ask().body, SOON_S)
        await_true(lambda: is_decided_by(place, revision), SOON_S)
        behave(place.a, status=503, **STATUS)
        before = received(place.b)
        for _ in range(2):
            answered = place.ask()
            assert answered.status == 503
            assert b"simulated failure" in answered.body
            denied, first = place.rows(2)
            assert answered.headers["x-comptroller-request-id"] == first["request_id"]
            assert (denied["state"], denied["reason"]) == ("refused", "policy_denied")
        assert received(place.b) == before
    finally:
        run_command(place.folder, "policy", "deactivate", *DUTIES)
        await_true(lambda: not is_decided_by(place, revision), SOON_S)


def is_decided_by(place: Place, revision: str) -> bool:
    """Whether the worker decides by a policy by now."""
    place.ask()
    (row,) = place.rows(1)
    policy = place.decision(row["request_id"])["bundles"].get("policy", {})
    return bool(policy.get("revision") == revision)


def test_a_worker_killed_between_attempts_leaves_both_ended(place: Place) -> None:
    """The first is settled; the second, which was sent, is booked at its hold."""
    behave(place.a, status=503, **STATUS)
    behave(place.b, fail="stall")
    before = received(place.b)
    body = {"model": "house", "messages": HI, "max_tokens": 50}

    async def ask_and_kill() -> None:
        asked = Asked(place.keys["app"], body)
        asking = asyncio.create_task(fire_all(place.tree.port, [asked]))
        await asyncio.to_thread(
            await_true, lambda: received(place.b) == before + 1, SOON_S
        )
        assert kill_dead(place.tree.children()["w0"])
        (answered,) = await asking
        assert answered.status == 0

    asyncio.run(ask_and_kill())

    await_true(lambda: place.rows(1)[0]["state"] == "abandoned", SOON_S)
    second, first = place.rows(2)
    assert first["state"] == "settled"
    assert second["cost_nano_usd"] == second["hold_nano_usd"] > 0
    (earlier,) = place.decision(second["request_id"])["attempts"]
    assert earlier["request_id"] == first["request_id"]
    behave(place.b)
    await_true(lambda: place.ask().status != 0, SOON_S)


def is_up(place: Place) -> bool:
    """Whether the worker, perhaps a new one, serves."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{place.tree.port}/readyz").close()
    except OSError:
        return False
    return True


class Kept(NamedTuple):
    """What the journals alone say of attempts."""

    allowed: dict[str, records.Decided]
    ends: Counter[str]


def kept(folder: Path) -> Kept:
    found = Kept({}, Counter())
    reader = DirectoryJournalReader(folder / "comptroller-data" / "journal")
    for source in reader.sources():
        offset = 0
        while run := reader.read(source, offset, 1 << 20):
            offset = run[-1].offset + len(run[-1].line) + 1
            for record in run:
                envelope = msgspec.json.decode(record.line, type=records.Envelope)
                if envelope.type == records.DECIDED:
                    data = msgspec.json.decode(envelope.data, type=records.Decided)
                    if data.result == "allow":
                        found.allowed[data.decision_id] = data
                elif envelope.type in ENDS:
                    ended = msgspec.json.decode(envelope.data)
                    found.ends[ended["decision_id"]] += 1
    reader.close()
    return found


def test_whatever_a_provider_got_was_recorded_before(place: Place) -> None:
    """Both fail in turns while the worker is killed: forwarded is within recorded.

    Each provider got no more of a request than there are decisions for it there; each
    decision has one end; and each later attempt names a decision before it.
    """
    for number in range(120):
        for origin, every in ((place.a, 2), (place.b, 3)):
            fails = number % every == 0
            behave(origin, next=1, **({"status": 503, **STATUS} if fails else {}))
    asked = [
        Asked(
            place.keys["app"],
            {"model": "house", "messages": HI, "max_tokens": 1000 + number},
            tag=f"all/{number}",
        )
        for number in range(120)
    ]

    async def load() -> list[Answered]:
        answers: list[Answered] = []
        for begin in range(0, len(asked), 20):
            await asyncio.to_thread(await_true, lambda: is_up(place), SOON_S)
            some = fire_all(place.tree.port, asked[begin : begin + 20])
            sent = asyncio.create_task(some)
            if begin % 40 == 0:
                await asyncio.sleep(0.02)
                await asyncio.to_thread(kill_dead, place.tree.children()["w0"])
            answers += await sent
        return answers

    answers = asyncio.run(load())

    def is_quiet() -> bool:
        now = kept(place.folder)
        return all(now.ends[name] for name in now.allowed)

    await_true(is_quiet, SOON_S)
    now = kept(place.folder)
    assert {now.ends[name] for name in now.allowed} == {1}
    for name, origin in (("a", place.a), ("b", place.b)):
        decided = Counter(
            one.max_tokens for one in now.allowed.values() if one.provider == name
        )
        got = Counter(
            1000 + int(tag.partition("/")[2]) for tag in stats(origin)["tags"]
        )
        assert got <= decided
    later = [one for one in now.allowed.values() if one.attempt_of is not None]
    assert all(one.attempt_of in now.allowed for one in later)
    assert any("x-comptroller-attempts" in one.headers for one in answers)
