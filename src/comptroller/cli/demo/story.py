"""The story that the demo tells, step by step."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from comptroller.cli.demo.organization import (
    EXHAUSTED,
    HABITS,
    REVOKED,
    configuration,
)
from comptroller.cli.demo.policy import APPROVER, AUTHOR, forbidden, write_policy
from comptroller.cli.demo.processes import Commands, DemoError, address
from comptroller.cli.demo.traffic import Outcome, Traffic
from comptroller.cli.demo.view import View
from comptroller.testing.provider import running_provider

FORBIDDEN_AT: Final = 0.3
"""The share of the time after which an agent asks for what the policy denies."""
REVOKE_AT: Final = 0.6
"""The share of the time after which a credential is revoked."""
REFUSED_S_MAX: Final = 5.0
EXHAUST_ROUNDS_MAX: Final = 20
EXHAUST_AT_ONCE: Final = 10
SPEND_EVERY_S: Final = 3.0
FRAME_S: Final = 0.25
LINE_MAX: Final = 100
PROVIDER_KEY: Final = "simulated-provider-key"


def run(seconds: float, *, keep: bool) -> None:
    """Runs the demo with a provider of its own."""
    # Told to stop, it must still stop what it started, as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="comptroller-demo-"))
    console = Console(highlight=False, soft_wrap=True)
    with running_provider(
        *("--key", PROVIDER_KEY, "--first-ms", "120", "--chunk-ms", "3"),
        *("--jitter", "0.4"),
    ) as origin:
        Demo(console, folder, origin).run(seconds, keep=keep)


class Demo:
    """One run."""

    def __init__(self, console: Console, folder: Path, origin: str) -> None:
        self._console = console
        self._origin = origin
        self._commands = Commands(folder)
        self._folder = folder
        self._spend: Sequence[dict[str, Any]] = []
        self._credentials: dict[str, dict[str, Any]] = {}
        self._denied = ""
        """Id of the request that the policy denied."""

    def run(self, seconds: float, *, keep: bool) -> None:
        """Tells the story from the configuration to where to look next."""
        listen, usual = address(4000)
        status, status_usual = address(4001)
        self._configure(seconds)
        with self._commands.serving(listen, status):
            self._issue()
            self._step(f"The gateway serves on http://{listen}")
            if not usual or not status_usual:
                self._say("  port 4000 or 4001 is in use, so these are free ones")
            self._say(f"  status: http://{status}/api/status")
            self._govern()
            asyncio.run(self._play(listen, seconds))
            self._compare()
            self._replay()
            self._prove()
            if keep:
                self._stay(listen)
        self._point_on(keep=keep)

    def _say(self, text: str = "") -> None:
        self._console.print(text, markup=False)

    def _step(self, text: str) -> None:
        self._console.print()
        self._console.print(text, style="bold", markup=False)

    def _configure(self, seconds: float) -> None:
        key_file = self._folder / "provider.key"
        key_file.write_text(PROVIDER_KEY + "\n")
        commands = self._commands
        text = configuration(self._origin, str(key_file), seconds)
        commands.config.write_text(text)
        self._step("An organization: 3 units, 5 services, every one with named owners")
        self._say(f"  configuration: {commands.config}")
        applied = commands.run("apply", "--config", str(commands.config), "--yes")
        self._say(f"  {applied.strip().splitlines()[-1]}")

    def _issue(self) -> None:
        for habit in HABITS:
            self._credentials[habit.service] = self._commands.ask(
                "key", "issue", habit.service, "--for", habit.person
            )
        self._step("Each service has a credential; its secret was shown once")
        for service, issued in self._credentials.items():
            self._say(f"  {service:20} {issued['credential_id']}")

    def _govern(self) -> None:
        """Lets a policy decide: one person publishes it, another one approves."""
        bundle = str(write_policy(self._folder))
        published = self._commands.ask(
            *("policy", "publish", bundle),
            *("--author", AUTHOR, "--note", "what acme's teams agreed on"),
        )
        self._commands.run(
            *("policy", "activate", published["revision"], "--approver", APPROVER)
        )
        self._step("A policy: tested, published by one person, approved by another")
        self._say(f"  files: {bundle}")
        for line in self._commands.run("policy", "history").rstrip().splitlines():
            self._say(f"  {line}")

    async def _play(self, listen: str, seconds: float) -> None:
        host, _, port = listen.rpartition(":")
        secrets = {name: one["secret"] for name, one in self._credentials.items()}
        traffic = Traffic((host, int(port)), secrets)
        self._step(f"Their clients call for {seconds:g} s, in all three dialects")
        start = time.perf_counter()
        playing = asyncio.create_task(traffic.play(seconds))
        reading = asyncio.create_task(self._read_spend())
        forbidding = asyncio.create_task(self._forbid(traffic, seconds * FORBIDDEN_AT))
        revoking = asyncio.create_task(self._revoke(traffic, seconds * REVOKE_AT))
        try:
            with View(self._console, seconds) as view:
                while not playing.done():
                    elapsed_s = time.perf_counter() - start
                    view.show(elapsed_s, traffic.scores, self._spend)
                    await asyncio.wait([playing], timeout=FRAME_S)
                await playing
                denial = await forbidding
                refusal = await revoking
                short = await self._exhaust(traffic)
                await self._read_spend_once()
                view.show(seconds, traffic.scores, self._spend, is_last=True)
        finally:
            for task in (playing, reading, forbidding, revoking):
                task.cancel()
        self._tell_denial(denial)
        self._tell_refusal(refusal)
        self._tell_shortfall(short)
        self._explain(traffic)

    async def _read_spend(self) -> None:
        while True:
            await self._read_spend_once()
            await asyncio.sleep(SPEND_EVERY_S)

    async def _read_spend_once(self) -> None:
        self._spend = await asyncio.to_thread(
            self._commands.ask, "spend", "--by", "owner"
        )

    async def _forbid(self, traffic: Traffic, after_s: float) -> Outcome:
        """Asks for what two rules deny, while the others call."""
        await asyncio.sleep(after_s)
        outcome = await traffic.send(REVOKED, forbidden())
        if outcome.status != 400:
            raise DemoError("a request that the policy denies was not refused")
        return outcome

    async def _revoke(self, traffic: Traffic, after_s: float) -> tuple[float, str]:
        """Revokes a credential, and calls with it until it is refused.

        Returns:
            Seconds from the command's end to the first refusal, and its text.
        """
        await asyncio.sleep(after_s)
        credential = self._credentials[REVOKED]["credential_id"]
        await asyncio.to_thread(
            self._commands.run,
            *("key", "revoke", credential, "--reason", "the agent reads in circles"),
        )
        start = time.perf_counter()
        habit = next(one for one in HABITS if one.service == REVOKED)
        number = 1_000_000
        elapsed_s = 0.0
        while elapsed_s < REFUSED_S_MAX:
            outcome = await traffic.once(habit, number)
            elapsed_s = time.perf_counter() - start
            if outcome.status == 401:
                return elapsed_s, outcome.body.decode(errors="replace")
            number += 1
        raise DemoError(f"credential {credential} is revoked, yet was not refused")

    async def _exhaust(self, traffic: Traffic) -> Outcome:
        """The refusal of the small budget; calls until it comes, where none came."""
        seen = traffic.scores[EXHAUSTED].last_refused
        if seen is not None and seen.status == 400:
            return seen
        habit = next(one for one in HABITS if one.service == EXHAUSTED)
        for turn in range(EXHAUST_ROUNDS_MAX):
            first = 2_000_000 + turn * EXHAUST_AT_ONCE
            calls = (traffic.once(habit, first + at) for at in range(EXHAUST_AT_ONCE))
            for outcome in await asyncio.gather(*calls):
                if outcome.status == 400:
                    return outcome
        raise DemoError(f"the budget of {EXHAUSTED} is spent, yet nothing was refused")

    def _tell_denial(self, denial: Outcome) -> None:
        self._denied = denial.request_id
        self._step(
            f"The {REVOKED} asked with a shell and a token; its client was told:"
        )
        self._say(f"  {denial.body.decode(errors='replace')}")

    def _tell_shortfall(self, refusal: Outcome) -> None:
        self._step(f"The budget of {EXHAUSTED} holds; its client was told:")
        self._say(f"  {refusal.body.decode(errors='replace')}")
        self._say()
        for line in self._commands.run("budget", "list").rstrip().splitlines():
            self._say(f"  {line}")

    def _tell_refusal(self, refusal: tuple[float, str]) -> None:
        after_s, text = refusal
        self._step(f"The credential of {REVOKED} was revoked on the way")
        self._say(
            f"  refused {after_s * 1000:.1f} ms after the command returned;"
            " its client was told:"
        )
        self._say(f"  {text}")

    def _explain(self, traffic: Traffic) -> None:
        request_id = traffic.scores["checkout-assistant"].last_allowed
        if not request_id:
            raise DemoError("no request was answered")
        self._step(
            f"Any request can be explained: {self._program('explain', request_id)}"
        )
        self._say()
        for line in self._commands.run("explain", request_id).rstrip().splitlines():
            # The records themselves are lines of two kilobytes.
            self._say(line if len(line) <= LINE_MAX else f"{line[: LINE_MAX - 1]}…")

    def _compare(self) -> None:
        """Lays our books beside those of the provider."""
        with urllib.request.urlopen(f"{self._origin}/__stats") as reply:  # noqa: S310  loopback
            stats = json.load(reply)
        stated = not_stated = broken = 0
        for row in self._commands.ask("requests", "--all"):
            if row["state"] != "settled":
                continue
            tokens = sum(row["usage"].values())
            if row["usage_source"] == "provider":
                stated += tokens
            else:
                not_stated += tokens
                broken += 1
        self._step("The provider's own books, beside ours, in tokens")
        self._say("                            provider    comptroller")
        whole, cut = billed(stats["bill"]), billed(stats["bill_broken"])
        self._say(f"  complete replies    {whole:>16,} {stated:>14,}")
        if cut or broken:
            self._say(
                f"  replies cut short   {cut:>16,} {not_stated:>14,}"
                f"  ({broken} of the revoked credential, booked at their hold)"
            )
        balance = self._commands.run("audit", "books").strip()
        self._say(f"  every budget, worked out anew from all requests: {balance}")

    def _replay(self) -> None:
        """Decides everything that was recorded once more."""
        self._step(
            "Every decision, made again from its own record: "
            + self._program("policy", "replay")
        )
        for line in self._commands.run("policy", "replay").rstrip().splitlines():
            self._say(f"  {line}")

    def _prove(self) -> None:
        """Verifies the signed log, and asks it for the controls of one request."""
        self._step(
            "Every record is in a signed log, verified now: "
            + self._program("audit", "verify")
        )
        for line in self._commands.run("audit", "verify").rstrip().splitlines():
            self._say(f"  {line}")
        asked = ("audit", "controls", "--request", self._denied)
        self._step(f"What was active when it was denied: {self._program(*asked)}")
        self._say()
        # In words, then the table; each control's evidence follows, page after page.
        told = self._commands.run(*asked).split("\n\n")
        for line in "\n\n".join(told[1:3]).splitlines():
            self._say(line if len(line) <= LINE_MAX else f"{line[: LINE_MAX - 1]}…")

    def _stay(self, listen: str) -> None:
        issued = self._credentials["checkout-assistant"]
        try:  # from when it says so: the key may be pressed at once
            self._step("It goes on running. Stop it with Ctrl-C. Until then:")
            self._say(
                f"  curl http://{listen}/v1/chat/completions \\\n"
                f"    -H 'Authorization: Bearer {issued['secret']}' \\\n"
                """    -d '{"model": "gpt-5-mini","""
                """ "messages": [{"role": "user", "content": "Hello"}]}'"""
            )
            self._say(f"  {self._program('requests', '--limit', '5')}")
            self._say(f"  {self._program('spend', '--by', 'unit')}")
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            self._say()

    def _program(self, *arguments: str) -> str:
        # As it was called, where the shell would not find it by its name alone.
        called = Path(sys.argv[0])
        is_script = called.name == "comptroller" and not shutil.which(called.name)
        name = str(called) if is_script else "comptroller"
        return " ".join([name, *arguments, "--data", str(self._commands.data)])

    def _point_on(self, *, keep: bool) -> None:
        self._step("Everything has stopped. Where to look next")
        rows = [
            (self._program("spend", "--by", "service"), "who spent what"),
            (self._program("requests", "--limit", "5"), "the latest requests"),
            (self._program("budget", "show", EXHAUSTED), "who may still spend what"),
            (f"ls {self._commands.data}/journal", "the records themselves"),
            ("docs/how-to/keep-the-trail.md", "how others verify them, and a witness"),
            ("docs/tutorial/first-service.md", "the same with your own provider"),
        ]
        for what, why in rows:
            self._say(f"  {what}\n      {why}")
        if not keep:
            self._say("  make demo KEEP=1\n      the same, left running")


def billed(bill: dict[str, dict[str, int]]) -> int:
    """Tokens on a bill of the simulated provider."""
    return sum(
        count
        for line in bill.values()
        for name, count in line.items()
        if name != "requests"
    )
