"""The shape of the tree: what no linter checks, checked on every file."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
PARAMETERS_MAX = 5
PROSE_LINES_MAX = {"README.md": 150, "CONTRIBUTING.md": 150}
BANNED_WORDS = frozenset({"util", "utils", "helper", "helpers", "common", "manager"})
BANNED_VERSION = re.compile(r"_v\d+$")
UNFINISHED = re.compile(r"\b(TO" + "DO|FIX" + "ME|XX" + r"X)\b")
# Composed, so that this file does not hold what it looks for.
PLACES = re.compile(
    "|".join([r"pypi\." + "org", r"pythonhosted\." + "org", r"debian\." + "org"])
    + "|"
    + "/work"
    + "/"
)
SKIPS = frozenset({"skip", "skipif", "xfail", "importorskip"})
CODE = ("src", "tests", "bench")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def words(name: str) -> set[str]:
    """Splits a snake_case or CamelCase name into lower-case words."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)}


def bad_name(name: str) -> bool:
    return bool(words(name) & BANNED_WORDS) or BANNED_VERSION.search(name) is not None


def parameters(node: Function, *, is_command_line: bool) -> list[str]:
    """The parameters that a caller must think of.

    Not those named self and cls, not the fixtures of a test, and on the command line
    not those with a default: there they are the options of a command.
    """
    if node.name.startswith("test_"):
        return []
    given = node.args
    placed = given.posonlyargs + given.args
    required = placed + given.kwonlyargs
    if is_command_line:
        required = placed[: len(placed) - len(given.defaults)]
        pairs = zip(given.kwonlyargs, given.kw_defaults, strict=True)
        required += [argument for argument, default in pairs if default is None]
    return [one.arg for one in required if one.arg not in {"self", "cls"}]


def offences_of_function(node: Function, *, is_command_line: bool) -> Iterator[str]:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if lines > FUNCTION_LINES_MAX:
        yield f"{node.lineno}: {node.name} has {lines} lines of {FUNCTION_LINES_MAX}"
    names = parameters(node, is_command_line=is_command_line)
    if len(names) > PARAMETERS_MAX:
        yield f"{node.lineno}: {node.name} takes {len(names)} of {PARAMETERS_MAX}"


def offences_of_node(node: ast.AST, *, is_command_line: bool) -> Iterator[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield from offences_of_function(node, is_command_line=is_command_line)
            if bad_name(node.name):
                yield f"{node.lineno}: the name {node.name} says nothing"
        case ast.ClassDef() if bad_name(node.name):
            yield f"{node.lineno}: the name {node.name} says nothing"
        case ast.Global():
            yield f"{node.lineno}: global {', '.join(node.names)}"
        case ast.Attribute(attr=attr, value=ast.Name(id="pytest" | "unittest")) if (
            attr in SKIPS | {"mock"}
        ):
            yield f"{node.lineno}: {attr}; a test runs, always, and on real parts"
        case ast.Attribute(attr=attr, value=ast.Attribute(attr="mark")) if (
            attr in SKIPS
        ):
            yield f"{node.lineno}: {attr}; a test runs, always"
        case ast.ImportFrom(module="unittest.mock") | ast.Name(id="MagicMock"):
            yield f"{node.lineno}: a mock; use a fake from comptroller.testing"
        case _:
            pass


def in_command_line(path: Path) -> bool:
    return path.parts[:3] == ("src", "comptroller", "cli")


def prints(path: Path) -> bool:
    """Whether a file may print: the command line, the tests and the bench may."""
    return path.parts[0] != "src" or in_command_line(path)


def offences(path: Path, text: str) -> list[str]:
    """What is wrong with the shape of one Python file, as `line: what`."""
    found = []
    if text.count("\n") > FILE_LINES_MAX:
        found.append(f"1: {text.count(chr(10))} lines of {FILE_LINES_MAX}")
    if any(bad_name(part) for part in (*path.parts[1:-1], path.stem)):
        found.append(f"1: the name {path} says nothing")
    for node in ast.walk(ast.parse(text)):
        found.extend(offences_of_node(node, is_command_line=in_command_line(path)))
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "print"
            and not prints(path)
        ):
            found.append(f"{node.lineno}: print; only the command line prints")
    return found


def offences_of_text(text: str) -> list[str]:
    """What no file may hold, Python or not: loose ends and outside addresses."""
    return [
        f"{number}: {match[0]}"
        for number, line in enumerate(text.splitlines(), 1)
        for match in [UNFINISHED.search(line) or PLACES.search(line)]
        if match
    ]


def python_files() -> list[Path]:
    return sorted(
        path.relative_to(ROOT) for room in CODE for path in (ROOT / room).rglob("*.py")
    )


def text_files() -> list[Path]:
    """Everything of ours that is read as text; locks and recorded data are not."""
    kinds = {".py", ".md", ".sql", ".toml", ".sh", ".yaml", ".html", ".js", ".css"}
    found = [path for path in (ROOT / "docs").rglob("*") if path.suffix in kinds]
    found += [path for room in CODE for path in (ROOT / room).rglob("*")]
    found += [*ROOT.iterdir(), *(ROOT / ".ci").iterdir(), *ROOT.glob("locks/*.sh")]
    return sorted(
        path.relative_to(ROOT)
        for path in found
        if path.is_file() and (path.suffix in kinds or path.name in {"Makefile", "run"})
    )


def report(found: dict[Path, list[str]]) -> str:
    return "\n".join(f"{path}:{what}" for path, all_ in found.items() for what in all_)


def test_python_files_keep_the_house_shape() -> None:
    """No file, function, signature or name breaks a limit of the house."""
    found = {path: offences(path, (ROOT / path).read_text()) for path in python_files()}

    assert not report(found), report(found)


def test_text_files_have_no_loose_ends_and_no_outside_addresses() -> None:
    """Nothing is left to do later, and nothing depends on one machine's places."""
    found = {path: offences_of_text((ROOT / path).read_text()) for path in text_files()}

    assert not report(found), report(found)


@pytest.mark.parametrize("name", sorted(PROSE_LINES_MAX))
def test_prose_stays_short(name: str) -> None:
    """The pages that everybody reads fit in a sitting."""
    assert (ROOT / name).read_text().count("\n") <= PROSE_LINES_MAX[name]


def test_every_page_is_listed_and_every_link_leads_somewhere() -> None:
    """A README.md of docs/ lists every page, and no relative link is dead."""
    pages = set((ROOT / "docs").rglob("*.md"))
    indexes = {page for page in pages if page.name == "README.md"}
    listed = {
        (index.parent / link).resolve()
        for index in indexes
        for link in LINK.findall(index.read_text())
    }
    dead = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in sorted({*pages, *ROOT.glob("*.md")})
        for link in LINK.findall(page.read_text())
        if ":" not in link and not (page.parent / link).exists()
    ]
    missing = pages - listed - {ROOT / "docs" / "README.md"}

    assert not dead, dead
    assert not missing, sorted(str(page.relative_to(ROOT)) for page in missing)


def test_nothing_generated_is_committed() -> None:
    """The tree holds sources only: no caches, environments, stores or journals."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        return  # an archive has no index, and a bare machine nothing to read it with
    done = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    generated = re.compile(
        r"(^|/)(\.venv|__pycache__|dist|build)/|\.(pyc|sqlite3|jsonl|log|bak|orig)$"
    )

    assert [line for line in done.stdout.splitlines() if generated.search(line)] == []


PLANTED = {
    "long file": "x = 1\n" * 501,
    "long function": "def f() -> None:\n" + "    x = 1\n" * 60,
    "wide signature": "def f(a, b, c, d, e, g) -> None: ...\n",
    "wide method": "class A:\n    def f(self, a, b, c, *, d, e, g) -> None: ...\n",
    "banned function": "def request_helper() -> None: ...\n",
    "banned class": "class KeyManager: ...\n",
    "versioned name": "def limit_v2() -> None: ...\n",
    "global": "def f() -> None:\n    global x\n    x = 1\n",
    "skip": "import pytest\n\n@pytest.mark.skip\ndef test_x() -> None: ...\n",
    "skip call": "import pytest\n\npytest.importorskip('x')\n",
    "mock": "from unittest.mock import patch\n",
    "print": "print(1)\n",
}


@pytest.mark.parametrize("kind", sorted(PLANTED))
def test_the_checker_finds_a_planted_offence(kind: str) -> None:
    """Each offence, planted alone, is found exactly once."""
    assert len(offences(Path("src/comptroller/core/planted.py"), PLANTED[kind])) == 1


@pytest.mark.parametrize("path", ["src/comptroller/utils.py", "tests/unit/common/x.py"])
def test_the_checker_finds_a_banned_file_name(path: str) -> None:
    """A name that says nothing is found in a file and in a folder."""
    assert len(offences(Path(path), "")) == 1


@pytest.mark.parametrize("text", ["# TO" + "DO later", "see /work" + "/x"])
def test_the_checker_finds_loose_ends_in_text(text: str) -> None:
    """A loose end and an address of one machine are found."""
    assert len(offences_of_text(text)) == 1


def test_the_checker_knows_a_commands_options() -> None:
    """A command's options are not counted on the command line, and elsewhere are."""
    text = "def serve(a, b=1, c=1, d=1, *, e=1, f=1, g=1) -> None: ...\n"

    assert offences(Path("src/comptroller/cli/serve.py"), text) == []
    assert len(offences(Path("src/comptroller/core/serve.py"), text)) == 1


def test_the_checker_leaves_good_code_alone() -> None:
    """Five parameters, sixty lines and a context manager's own words are fine."""
    good = "def f(a, b, c, d, e) -> None:\n" + "    x = 1\n" * 59

    assert offences(Path("src/comptroller/core/good.py"), good) == []


def compiled_sources() -> list[Path]:
    """The modules that `make setup` compiles: HOT in the Makefile."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    listed = text.partition("HOT :=")[2].partition("\n\n")[0]
    names = re.findall(r"\b[a-z]+(?:/[a-z_]+)+\b", listed)
    return [ROOT / "src/comptroller" / f"{name}.py" for name in names]


def decodes_own_shape(source: str) -> bool:
    """Whether a module defines structures and decodes JSON into something."""
    defines = re.search(r"^class \w+\([\w.]*\bStruct\b", source, re.MULTILINE)
    return (
        defines is not None
        and re.search(r"Decoder\(|\.decode\(\w+, type", source) is not None
    )


def test_compiled_modules_decode_into_no_shape_of_their_own() -> None:
    """Mypyc drops the types of a structure's fields, so nothing decodes into it."""
    sources = compiled_sources()

    offenders = [s.name for s in sources if decodes_own_shape(s.read_text("utf-8"))]

    assert len(sources) > 10
    assert offenders == []
    assert decodes_own_shape("class A(msgspec.Struct):\n  a: int\nB = Decoder(A)")
