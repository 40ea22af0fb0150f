"""Sessions in the docs: their commands run, and their output is what they print."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from comptroller.cli.demo.processes import address
from comptroller.testing.provider import running_provider

ROOT = Path(__file__).parent.parent.parent
PROVIDER_KEY = "key-of-the-provider"
ANYTHING = "…"

# What differs from run to run, and what stands for it.
VOLATILE = [
    (re.compile(r"ctl_[0-9A-Za-z]+_[0-9A-Za-z]+"), "SECRET"),
    (re.compile(r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b"), "ULID"),
    (re.compile(r"(?i)(credential |revoked )[0-9A-Za-z]{12}\b"), r"\1ID"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?"), "TIME"),
    (re.compile(r" +"), " "),
]

WAIT_UNTIL_READY = """
import pathlib, sys, time
for _ in range(1200):
    if "is ready" in pathlib.Path("serve.log").read_text():
        sys.exit(0)
    time.sleep(0.05)
sys.exit("the gateway did not become ready")
"""


class Step(NamedTuple):
    """A command of the session and the lines that it prints."""

    command: str
    printed: list[str]


def blocks(page: str, kind: str) -> list[str]:
    text = (ROOT / page).read_text()
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def steps(page: str) -> Iterator[Step]:
    session = "".join(blocks(page, "console"))
    for part in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
        command, *printed = part.splitlines()
        yield Step(command, printed)


def plain(line: str) -> str:
    for pattern, instead in VOLATILE:
        line = pattern.sub(instead, line)
    return line.strip()


def same(expected: str, printed: str) -> bool:
    """Whether a line agrees; an ellipsis at its end stands for the rest of it."""
    if expected.endswith(ANYTHING):
        return plain(printed).startswith(plain(expected.removesuffix(ANYTHING)))
    return plain(expected) == plain(printed)


def agrees(expected: list[str], printed: list[str]) -> bool:
    """Whether lines agree; an ellipsis alone stands for any number of lines."""
    if not expected:
        return not printed
    if expected[0] == ANYTHING:
        return any(
            agrees(expected[1:], printed[start:]) for start in range(len(printed) + 1)
        )
    return (
        bool(printed)
        and same(expected[0], printed[0])
        and agrees(expected[1:], printed[1:])
    )


def script(page: str, origin: str, listen: str, console: str) -> str:
    """The session as one shell script that marks where each command begins."""
    lines = ["trap 'kill $served; wait $served' EXIT", "exec 2>&1"]
    for step in steps(page):
        lines.append("echo; echo '<<<>>>'")
        command = step.command.replace("127.0.0.1:4000", listen)
        if command.endswith("&"):
            options = f"--listen {listen} --console {console}"
            command = command.replace("serve", f"serve {options}")
            lines.append(f"{command.removesuffix('&')} > serve.log 2>&1 &")
            lines.append("served=$!")
            lines.append("python wait.py; cat serve.log")
        else:
            lines.append(command)
        if "init" in command:
            # The real provider's part is played by the simulated one.
            lines.append(
                f"sed -i 's#https://api.openai.com#{origin}#' comptroller.yaml"
            )
    return "\n".join(lines)


def run_session(page: str, folder: Path) -> list[list[str]]:
    for program in blocks(page, "python"):
        (folder / "ask.py").write_text(program)
    for text in blocks(page, "yaml"):
        named = folder / text.splitlines()[0].removeprefix("# ")
        named.parent.mkdir(exist_ok=True)
        named.write_text(text)
    (folder / "wait.py").write_text(WAIT_UNTIL_READY)
    listen, _ = address(0)
    console, _ = address(0)
    tools = Path(sys.executable).parent
    environment = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "HOME": str(folder),
        "OPENAI_API_KEY": PROVIDER_KEY,
        "COLUMNS": "100",
    }
    with (
        running_provider("--key", PROVIDER_KEY) as origin,
        subprocess.Popen(
            ["/bin/sh", "-c", script(page, origin, listen, console)],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as shell,
    ):
        try:
            text, _ = shell.communicate(timeout=200)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    text = text.replace(listen, "127.0.0.1:4000")
    text = text.replace(console, "127.0.0.1:4001")
    return [part.strip().splitlines() for part in text.split("<<<>>>")[1:]]


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial/first-service.md"])
def test_a_session_prints_what_the_page_says(page: str, tmp_path: Path) -> None:
    """Every command of the page works, and its output is the page's."""
    printed = run_session(page, tmp_path)
    wrong = [
        f"$ {step.command}\n" + "\n".join(lines)
        for step, lines in zip(steps(page), printed, strict=True)
        if not agrees(step.printed, lines)
    ]

    assert not wrong, "\n\n".join(wrong)


def test_readme_shows_the_short_way_with_the_same_commands() -> None:
    """The three lines for a real provider use the session's own commands."""
    short = next(
        block for block in blocks("README.md", "sh") if "your_program.py" in block
    )
    session = "\n".join(step.command for step in steps("README.md"))

    assert short.count("\n") == 3
    for command in ("comptroller init", "comptroller apply", "comptroller serve"):
        assert command in short
        assert command in session
    issue = re.search(r"comptroller key issue [^)]*", short)
    assert issue
    assert issue[0] in session


def test_lines_are_compared_with_care() -> None:
    """The comparison forgives what varies, and nothing else."""
    assert agrees(["a", ANYTHING, "d"], ["a", "b", "c", "d"])
    assert agrees(["id 01M7ZZSQ021X8EYQX8V5Y8V7PB"], ["id 01M8ZZSQ021X8EYQX8V5Y8V7PC"])
    assert agrees(["TOTAL  1 …"], ["TOTAL 1 2 3"])
    assert not agrees(["a"], ["a", "b"])
    assert not agrees(["a", "b"], ["a"])
    assert not agrees(["1 token"], ["2 token"])
