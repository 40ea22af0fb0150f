"""The documentation says what is so: checked against the code and the commands."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
TERM = re.compile(r"^\| \*\*([^*]+)\*\* \|", re.MULTILINE)


def pages() -> list[Path]:
    return [*DOCS.rglob("*.md"), *ROOT.glob("*.md")]


def terms() -> list[str]:
    return TERM.findall((DOCS / "glossary.md").read_text())


def test_dependencies_page_lists_each_dependency_and_no_other() -> None:
    """docs/dependencies.md names each pinned package once, in its section."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        project["project"]["dependencies"],
        project["dependency-groups"]["dev"],
        project["dependency-groups"]["bootstrap"],
    ]
    sections = (DOCS / "dependencies.md").read_text().split("\n## ")[1:]
    listed = [
        re.findall(r"^\| ([a-z0-9-]+) \| \S.*\|$", section, re.MULTILINE)
        for section in sections
    ]

    assert [[name for name in rows if name != "package"] for rows in listed] == [
        sorted(requirement.split("==")[0].lower() for requirement in group)
        for group in wanted
    ]


def test_glossary_is_in_order() -> None:
    """A word is found where the alphabet says."""
    assert terms() == sorted(terms(), key=str.lower)


@pytest.mark.parametrize("term", terms())
def test_glossary_holds_only_words_that_are_used(term: str) -> None:
    """Each word of the glossary is used in another page or in the code."""
    stem = term.lower().removesuffix("d")
    texts = [
        path.read_text().lower()
        for path in (*pages(), *(ROOT / "src").rglob("*.py"))
        if path != DOCS / "glossary.md"
    ]

    assert any(stem in text for text in texts)


def test_architecture_names_only_places_that_exist() -> None:
    """Every path of the architecture page leads to something in the tree."""
    text = (DOCS / "architecture.md").read_text()
    named = re.findall(r"`([a-z_]+/[a-z_/<>*.]*)`", text)
    missing = [
        name
        for name in named
        if not list((ROOT / "src" / "comptroller").glob(name.replace("<dialect>", "*")))
        and not (ROOT / name).exists()
        and not (ROOT / "tests" / name).exists()
        and name != "journal/"  # of a data directory
    ]

    assert len(named) > 20
    assert missing == []


def test_every_room_is_on_the_code_map() -> None:
    """A new room appears in docs/architecture.md."""
    rooms = {
        path.parent.name for path in (ROOT / "src/comptroller").glob("*/__init__.py")
    }
    text = (DOCS / "architecture.md").read_text()

    assert {room for room in rooms if f"| `{room}/` |" not in text} == set()


def test_every_decision_is_listed_with_its_title() -> None:
    """docs/adr/README.md lists each decision under the title that its page has."""
    listed = (DOCS / "adr" / "README.md").read_text()
    for page in sorted((DOCS / "adr").glob("0*.md")):
        number, title = page.read_text().splitlines()[0].removeprefix("# ").split(". ")

        assert page.name.startswith(f"{number}-")
        assert f"| [{number}]({page.name}) | {title} |" in listed


def targets() -> set[str]:
    text = (ROOT / "Makefile").read_text()
    return set(re.findall(r"^([a-z-]+):.*##", text, re.MULTILINE))


def test_make_alone_lists_every_target() -> None:
    """Bare `make` shows each target with what it does, and runs nothing."""
    done = subprocess.run(
        ["make", "--no-print-directory"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    listed = re.findall(r"^  make ([a-z-]+) +\S", done.stdout, re.MULTILINE)

    assert set(listed) == targets()
    assert {"setup", "demo", "test", "check", "bench", "acceptance"} <= set(listed)


def test_pages_name_only_targets_that_exist() -> None:
    """`make X` in any page is a target of the Makefile."""
    named = {
        name
        for path in pages()
        for name in re.findall(r"`?\bmake ([a-z-]+)`", path.read_text())
    }

    assert named <= targets()


def test_every_peers_failure_is_tried_or_said_to_belong_elsewhere() -> None:
    """All 35 are listed, and every test that the page names exists."""
    text = (DOCS / "reference" / "peers-failures.md").read_text()
    rows = re.findall(r"^\| (\d+) \| .+ \| (.+) \|$", text, re.MULTILINE)
    named = re.findall(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`", text)
    missing = [
        f"{path}::{name}"
        for path, name in named
        if f"def {name}(" not in (ROOT / path).read_text()
    ]

    assert [int(number) for number, _ in rows] == list(range(1, 36))
    assert all("`tests/" in tried or "belongs to" in tried for _, tried in rows)
    assert missing == []


def test_every_test_that_a_page_names_exists() -> None:
    """A guarantee with a test behind it has that test, under that name."""
    named = {
        (path, name)
        for page in pages()
        for path, name in re.findall(
            r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`", page.read_text()
        )
    }
    missing = [
        f"{path}::{name}"
        for path, name in sorted(named)
        if f"def {name}(" not in (ROOT / path).read_text()
    ]

    assert len(named) > 50
    assert missing == []
