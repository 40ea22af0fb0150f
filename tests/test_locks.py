"""The locks: complete, hashed, in step with pyproject.toml, tied to no registry."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = ("bootstrap", "runtime", "dev")
PINNED = re.compile(r"^([a-z0-9][a-z0-9-]*)==(\S+?)(?: ; [^\\]*)? \\$")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def declared(lock: str) -> dict[str, str]:
    """What pyproject.toml pins for a lock: name to version."""
    found = project()
    wanted = [] if lock == "bootstrap" else list(found["project"]["dependencies"])
    wanted += [] if lock == "runtime" else found["dependency-groups"][lock]
    pairs = [requirement.split("==") for requirement in wanted]
    return {name.lower(): version for name, version in pairs}


def locked(lock: str) -> dict[str, str]:
    text = (ROOT / "locks" / f"{lock}.txt").read_text()
    return {
        match[1]: match[2]
        for line in text.splitlines()
        if (match := PINNED.match(line))
    }


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_declared_is_locked_at_its_version(lock: str) -> None:
    """A lock that was not made again after a change of pyproject.toml is found."""
    assert declared(lock).items() <= locked(lock).items()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_hashes(lock: str) -> None:
    """Nothing is installed that is not exactly what was locked."""
    text = (ROOT / "locks" / f"{lock}.txt").read_text()
    entries = re.split(r"\n(?=\S)", text.strip())

    assert len(entries) == len(locked(lock))
    assert [one for one in entries if "--hash=sha256:" not in one] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_name_no_registry(lock: str) -> None:
    """A mirror works: where packages come from is for the machine to say."""
    text = (ROOT / "locks" / f"{lock}.txt").read_text()

    assert "://" not in text
    assert "index-url" not in text


def test_tools_and_product_are_tested_with_the_same_versions() -> None:
    """What users get is what the tests ran with."""
    assert locked("runtime").items() <= locked("dev").items()


def test_the_builder_is_locked() -> None:
    """The build needs nothing that the bootstrap lock does not hold."""
    for requirement in project()["build-system"]["requires"]:
        name, _, version = requirement.partition("==")
        assert locked("bootstrap")[name] == version
