from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from comptroller.core.errors import StoreUnavailableError
from comptroller.engine import commands
from comptroller.engine.commands import Issue
from comptroller.engine.control import Control
from comptroller.engine.leasing import AskLeases
from comptroller.engine.ledger import Ledger
from comptroller.engine.objects import IDS_MAX, AskedObject, Whose
from comptroller.engine.policy_ports import BundleFile, CheckedBundle
from comptroller.engine.projection import Projector
from comptroller.testing.administration import (
    ADA,
    FakeSite,
    applied_site,
)
from comptroller.testing.ledger_script import LedgerScript
from comptroller.testing.policy_life import bundle_file, check_plainly
from comptroller.testing.system import SequentialIds
from comptroller.testing.timers import FakeTimers

ISSUE = Issue("checkout", "ada", None, "ada")


def control_of(site: FakeSite) -> Control:
    return site.control(Ledger(site.ledger, FakeTimers(site.clock)))


def ask(control: Control, command: commands.Command) -> Any:  # noqa: ANN401  JSON
    line = msgspec.json.encode(command)
    return json.loads(asyncio.run(control.answer(line, "root@test")))


@pytest.fixture
def site() -> FakeSite:
    return applied_site()


def record_only(site: FakeSite) -> None:
    """Another process records a credential and dies before it projects it."""
    other = FakeSite(site)
    parts = other.administration._parts
    other.administration._parts = parts._replace(project=lambda _: None)
    other.administration.issue("checkout", "grace", None, ADA)
    assert not site.store.credentials()


def test_commands_are_answered_in_one_line(site: FakeSite) -> None:
    """Acts, errors and nonsense each get one line of JSON."""
    control = control_of(site)
    assert ask(control, commands.Ping()) == {"ok": {}}
    assert ask(control, ISSUE)["ok"]["service"] == "checkout"
    error = ask(control, Issue("chekout", "ada", None, None))["error"]
    assert error["code"] == "not_found"
    nonsense = json.loads(asyncio.run(control.answer(b"nonsense", "a@b")))
    assert nonsense["error"]["code"] == "invalid_argument"


def test_a_bundle_is_checked_while_others_are_answered(site: FakeSite) -> None:
    """A check takes its time in a thread; a ping meanwhile does not wait for it."""
    policies = site.administration.policies
    begun, may_end = threading.Event(), threading.Event()

    def slow(files: Sequence[BundleFile]) -> CheckedBundle:
        begun.set()
        assert may_end.wait(20)
        return check_plainly(files)

    policies._parts = policies._parts._replace(check=slow)
    control = control_of(site)

    async def scenario() -> bytes:
        asked = commands.PublishPolicy([bundle_file()], "", "ada")
        line = msgspec.json.encode(asked)
        publishing = asyncio.create_task(control.answer(line, "root@test"))
        await asyncio.to_thread(begun.wait, 20)
        ping = msgspec.json.encode(commands.Ping())
        assert await control.answer(ping, "root@test") == b'{"ok":{}}'
        assert not publishing.done()
        may_end.set()
        return await publishing

    assert json.loads(asyncio.run(scenario()))["ok"]["state"] == "published"


def test_status_tells_that_the_policys_content_is_lost(site: FakeSite) -> None:
    """What would stop everything at the next loss is not kept quiet."""
    control = control_of(site)
    published = ask(control, commands.PublishPolicy([bundle_file()], "", "ada"))["ok"]
    ask(control, commands.ActivatePolicy(published["revision"], "grace"))
    assert ask(control, commands.AskStatus())["ok"]["problems"] == []
    site.archive.kept.clear()
    status = ask(control_of(site.again()), commands.AskStatus())["ok"]
    (problem,) = status["problems"]
    assert "is not kept here" in problem


def test_the_account_that_asks_is_recorded(site: FakeSite) -> None:
    """The actor of a record is whoever connected, not the control process."""
    line = msgspec.json.encode(ISSUE)
    asyncio.run(control_of(site).answer(line, "carol@desk"))
    assert b'"account":"carol@desk"' in site.open_journal().records[-1].line


def test_status_counts_what_lives(site: FakeSite) -> None:
    """Workers, credentials, lag and revision are told as they are now."""
    control = control_of(site)
    ask(control, ISSUE)
    site.journals.open("/node/w0/a")
    site.journals.open("/node/w1/a").close()
    lagging = site.journals.open("/node/w2/a")
    lagging.append(b'{"id":"1","source":"/node/w2/a"}')
    status = ask(control, commands.AskStatus())["ok"]
    assert status["workers"] == 2
    assert status["credentials"] == 1
    assert status["revision"] == 1
    assert status["lag_bytes"] == lagging.offset
    assert status["rate_card"] == site.snapshot().rate_card.version


def test_a_failed_journal_ends_the_control_process(site: FakeSite) -> None:
    """Only a new process can record again, so this one answers and stops."""
    control = control_of(site)
    site.open_journal().failed = True
    assert ask(control, ISSUE)["error"]["code"] == "journal_unavailable"
    asyncio.run(asyncio.wait_for(control.run(), 5))
    assert control.failed is not None


def test_what_others_record_gets_into_the_store_unasked(site: FakeSite) -> None:
    """The loop projects journals as they grow, until it is stopped."""
    record_only(site)

    async def scenario() -> None:
        control = control_of(site)
        running = asyncio.create_task(control.run())
        async with asyncio.timeout(5):
            while not site.store.credentials():  # noqa: ASYNC110  a store has no event
                await asyncio.sleep(0.01)
        control.stop()
        await asyncio.wait_for(running, 5)

    asyncio.run(scenario())
    assert len(site.store.credentials()) == 1


def test_sync_projects_and_ends_what_dead_workers_left(site: FakeSite) -> None:
    """After a sync everything that was recorded before it is in the store."""
    control = control_of(site)
    record_only(site)
    assert ask(control, commands.Sync()) == {"ok": {}}
    assert len(site.store.credentials()) == 1
    assert site.projector.lag() == 0


class BrokenProjector(Projector):
    """A projector whose store does not answer until it is mended."""

    is_broken = True

    def step(self, budget_bytes: int) -> int:
        """Fails, or projects."""
        if self.is_broken:
            raise StoreUnavailableError("the disk is full")
        return super().step(budget_bytes)


def test_a_store_that_does_not_answer_is_a_problem_and_no_end(site: FakeSite) -> None:
    """The status names what keeps it from its work, and the process lives on."""
    projector = BrokenProjector(site.journals, site.store)
    site.projector = projector

    async def scenario() -> list[str]:
        control = control_of(site)
        running = asyncio.create_task(control.run())
        await asyncio.sleep(0.05)
        problems = control.status().problems
        assert not running.done()
        control.stop()
        await running
        return problems

    assert asyncio.run(scenario()) == ["projection: the disk is full"]


def test_a_store_that_was_replaced_ends_the_control_process(site: FakeSite) -> None:
    """A new one goes on with what is in its place; nothing is granted until then."""
    site.store.is_lost = lambda: True  # type: ignore[method-assign]
    control = control_of(site)
    asyncio.run(asyncio.wait_for(control.run(), 5))
    assert isinstance(control.failed, StoreUnavailableError)
    lease = AskLeases("/n/w0/1", 1, "boot", "disk", [], [], [])
    assert ask(control, lease)["error"]["code"] == "store_unavailable"


def test_whose_objects_are_is_told_of_what_was_just_recorded(site: FakeSite) -> None:
    """All that is recorded is projected before an id is called nobody's."""
    control = control_of(site)
    worker = site.journals.open("/node/w0/01B")
    script = LedgerScript(worker, site.clock, SequentialIds())
    script.decided("R1")
    made = {"provider": "openai", "model": "m", "response": "resp_1"}
    script.settled("R1", 1, {"input": 1}, {"comptroller.stored": made})
    asked = [AskedObject("acme", "resp_1"), AskedObject("umbrella", "resp_1")]

    theirs = ask(control, Whose(asked[1:]))
    ours = ask(control, Whose(asked))

    assert theirs == {"ok": {"objects": []}}
    assert [(one["tenant"], one["id"]) for one in ours["ok"]["objects"]] == [
        ("acme", "resp_1")
    ]


def test_so_many_objects_are_asked_for_and_no_more(site: FakeSite) -> None:
    """A line is bounded, and so is what it asks for."""
    asked = [AskedObject("acme", f"resp_{n}") for n in range(IDS_MAX + 1)]
    control = control_of(site)

    assert "ok" in ask(control, Whose(asked[1:]))
    assert ask(control, Whose(asked))["error"]["code"] == "invalid_argument"
