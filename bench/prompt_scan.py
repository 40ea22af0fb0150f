"""Cost of a policy that looks at prompts: facts, and patterns; in process.

Only paid by requests that such a policy is for. An ordinary question, an agent's
request with its tools, a long conversation; then what somebody could make of it who
wants to keep a worker busy. Microseconds are the thread's own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from comptroller.adapters.scanner import RE2Scanner
from comptroller.core.errors import BadRequestError, ScanLimitError
from comptroller.core.policy.prompt import Place, PromptText
from comptroller.wire.prompt_facts import read_prompt, read_prompt_and_texts
from comptroller.wire.request import read_facts
from comptroller.wire.routes import Route, match

ROUNDS = 5
SECONDS = 0.15
WORDS = (
    "The order of 2024-11-22 left the warehouse at 14:03 and weighs 12.5 kg; the "
    "carrier says (see ticket 48213) that it was handed over, e.g. to a neighbour. "
)
CODE = (
    "    def settle(self, amount: int, *, at: str) -> dict[str, list[int]]:\n"
    '        """Books `amount` at `at`."""\n'
    "        return {at: [amount, self._rows[f'{at}-{amount:08x}'] or 0]}\n"
)
TOOL = {
    "type": "function",
    "function": {
        "name": "read_file",
        "description": WORDS * 3,
        "parameters": {
            "type": "object",
            "properties": {
                "path": {"type": "string", "description": WORDS},
                "lines": {"type": "array", "items": {"type": "integer"}},
            },
            "required": ["path"],
            "additionalProperties": False,
        },
    },
}


def said(role: str, text: str) -> dict[str, Any]:
    """One message."""
    return {"role": role, "content": [{"type": "text", "text": text}]}


def bodies() -> dict[str, bytes]:
    """Requests by what they are like."""
    tools = [
        {**TOOL, "function": {**TOOL["function"], "name": f"tool_{n}"}}  # type: ignore[dict-item]
        for n in range(24)
    ]
    long = [said("user", CODE * 20), said("assistant", WORDS * 10)] * 40
    made = {
        "question": {"messages": [said("system", WORDS), said("user", WORDS * 8)]},
        "agent": {"messages": [said("system", WORDS * 60), *long[:4]], "tools": tools},
        "conversation": {"messages": [said("system", WORDS * 60), *long]},
    }
    return {
        name: json.dumps({"model": "m", **one}).encode() for name, one in made.items()
    }


def cost_us(call: Callable[[], object]) -> float:
    """Of one call; the best of a few rounds, since others share the processor."""
    best = float("inf")
    for _ in range(ROUNDS):
        times = 0
        begun = time.thread_time()
        while time.thread_time() - begun < SECONDS / ROUNDS:
            call()
            times += 1
        best = min(best, (time.thread_time() - begun) / times)
    return best * 1e6


def ordinary(route: Route, scanner: RE2Scanner) -> None:
    """What the usual requests cost."""
    print(f"{'':14}{'kB':>7}  {'deciding':>9} {'facts':>15} {'patterns':>15}")
    print(f"{'':14}{'':>7}  {'µs':>9} {'µs':>7} {'µs/kB':>7} {'µs':>7} {'µs/kB':>7}")
    for name, body in bodies().items():
        size = len(body) / 1024
        texts = read_prompt_and_texts(route, body)[1]
        deciding = cost_us(lambda body=body: read_facts(route, body))  # type: ignore[misc]
        facts = cost_us(lambda body=body: read_prompt(route, body))  # type: ignore[misc]
        scan = cost_us(lambda texts=texts: scanner.scan(texts))  # type: ignore[misc]
        print(
            f"{name:14}{size:7.1f}  {deciding:9.1f} {facts:7.0f} {facts / size:7.1f} "
            f"{scan:7.0f} {scan / size:7.1f}"
        )


def hostile(route: Route, scanner: RE2Scanner) -> None:
    """What a megabyte costs of somebody who knows how this works."""
    texts = {
        "digits": "4" * 1_000_000,
        "near cards": "4111 1111 1111 1112 " * 50_000,
        "near ibans": "DE00 " * 200_000,
        "marks": "ghp_ " * 200_000,
        "addresses": "a@b." * 250_000,
    }
    for name, text in texts.items():
        given = [PromptText(Place.USER, text)]
        begun = time.thread_time()
        how = "scanned"
        try:
            scanner.scan(given)
        except ScanLimitError:
            how = "refused"
        took = time.thread_time() - begun
        print(f"patterns, 1 MB of {name:12} {how} after {took * 1000:6.1f} ms")
    parts = {
        "brackets": "[" * 50 + "[]," * 300_000 + "[]",
        "lists": "[]," * 190_000 + "[]",
    }
    for name, part in parts.items():
        body = b'{"model":"m","messages":[{"role":"user","content":[%b]}]}'
        begun = time.thread_time()
        with suppress(BadRequestError):
            read_prompt(route, body % part.encode())
        took = time.thread_time() - begun
        print(
            f"facts, {len(part) / 1e6:.1f} MB of {name:17} after {took * 1000:6.1f} ms"
        )


def main() -> None:
    """Prints it all."""
    route = match(b"POST", b"/v1/chat/completions")
    if route is None:
        raise SystemExit("the route of chat completions is gone")
    scanner = RE2Scanner()
    begun = time.thread_time()
    scanner.scan([PromptText(Place.USER, "a@b 4111 1111 1111 1111")])
    print(f"the first scan loads RE2: {(time.thread_time() - begun) * 1000:.0f} ms")
    ordinary(route, scanner)
    hostile(route, scanner)


if __name__ == "__main__":
    main()
