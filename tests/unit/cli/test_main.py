from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import comptroller
from comptroller.cli.main import build_app

ROOT = Path(__file__).parents[3]
COMMANDS = ROOT / "docs" / "reference" / "commands.md"
HELP_SECONDS_MAX = 0.5
# One process for all, as each takes half a second to start.
PRINT_HELP = """
import contextlib, io, json, sys
from comptroller.cli.main import main
shown = {}
for words in json.loads(sys.argv[1]):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    shown[" ".join(["comptroller", *words])] = printed.getvalue()
print(json.dumps(shown))
"""


def run(*words: str, program: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *(program or ("-m", "comptroller")), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1"},
    )


def every_command() -> Iterator[tuple[str, ...]]:
    """All commands, with those of a group after the group."""
    return inside(build_app())


def inside(app: typer.Typer) -> Iterator[tuple[str, ...]]:
    for one in app.registered_commands:
        yield (str(one.name),)
    for group in app.registered_groups:
        yield (str(group.name),)
        assert group.typer_instance is not None
        yield from ((str(group.name), *words) for words in inside(group.typer_instance))


def documented() -> dict[str, str]:
    """The help of every command as the reference prints it, by its heading."""
    text = COMMANDS.read_text()
    found = re.findall(
        r"^##+ (.+?)\n.*?```text\n(.*?)```", text, re.DOTALL | re.MULTILINE
    )
    return {heading.replace("`", ""): printed for heading, printed in found}


def test_the_reference_prints_what_help_prints() -> None:
    """docs/reference/commands.md has every command, word for word."""
    printed = documented()
    every = json.dumps([(), *every_command()])
    shown = json.loads(run(every, program=("-c", PRINT_HELP)).stdout)
    assert sorted(printed) == sorted(shown)
    for name, text in shown.items():
        assert printed[name].strip() == text.strip(), f"{name} --help changed"


def test_help_is_quick() -> None:
    """`comptroller --help` takes less than half a second of a processor."""
    before = os.times()
    assert run("--help").returncode == 0
    after = os.times()
    spent = after.children_user + after.children_system
    spent -= before.children_user + before.children_system
    assert spent < HELP_SECONDS_MAX


@pytest.mark.parametrize("words", [(), ("serve",), ("key", "issue"), ("spend",)])
def test_help_loads_no_driver(words: tuple[str, ...]) -> None:
    """Only a command that runs pays for the store, the prices or the configuration."""
    program = (
        "import sys; from comptroller.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'sqlalchemy', 'alembic', 'yaml', 'genai_prices', 'uvloop'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words, "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == "[]\n"


def test_a_worker_loads_only_what_it_needs() -> None:
    """What a worker does not use would cost every one of them time and memory."""
    program = (
        "import sys; import comptroller.bootstrap.worker\n"
        "heavy = {'sqlalchemy', 'alembic', 'pydantic', 'genai_prices', 'typer',"
        " 'rich', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "[]\n"


def test_the_version_is_the_package_s() -> None:
    """`--version` tells what pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == comptroller.__version__
    assert run("--version").stdout == f"comptroller {comptroller.__version__}\n"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ((), 2),
        (("dance",), 2),
        (("serve", "--listen", "nowhere"), 2),
        (("serve", "--listen", "127.0.0.1:70000"), 2),
        (("serve", "--workers", "0"), 2),
        (("key",), 2),
        (("explain", "X", "--data", "/nonexistent/data"), 1),
    ],
)
def test_the_exit_status_tells_what_went_wrong(
    words: tuple[str, ...], status: int
) -> None:
    """2: the command line was not understood; 1: the command failed."""
    done = run(*words)
    assert done.returncode == status
    assert "Traceback" not in done.stderr


def test_a_failure_is_json_where_json_was_asked() -> None:
    """With `--json` an error has a code and a message, too, on standard error."""
    done = run("key", "list", "--json", "--data", "/nonexistent/data")
    assert done.returncode == 1
    assert done.stdout == ""
    assert json.loads(done.stderr)["error"]["code"] == "store_unavailable"


def test_a_reader_that_goes_away_is_no_failure_of_ours() -> None:
    """`comptroller … | head` ends quietly."""
    program = f"{sys.executable} -m comptroller schema | head -c 10"
    done = subprocess.run(
        ["sh", "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
