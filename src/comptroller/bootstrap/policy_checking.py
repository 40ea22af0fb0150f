"""Wiring of a bundle's check, in a process of its own that ends with it.

The language's engine takes 50 MB, which the control process would keep; and what a
bundle may do to it, it does to nobody else.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from comptroller.adapters.policy.revision import revision_of
from comptroller.core.errors import ContentUnavailableError
from comptroller.core.policy.plain import PlainSet, plain_set
from comptroller.core.problem import Place, Problem
from comptroller.engine.policy_ports import (
    BundleFile,
    CheckedBundle,
    FailedCase,
    SetOwner,
)

CHECK_TIMEOUT_S: Final = 20.0


def check_apart(
    files: Sequence[BundleFile], timeout_s: float = CHECK_TIMEOUT_S
) -> CheckedBundle:
    """Reads, checks and tests a bundle in another process.

    Args:
        files: of the bundle.
        timeout_s: how long that may take; a bundle that takes longer is refused.

    Raises:
        ContentUnavailableError: no process could be started.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "comptroller", "_check_policy"],
            input=msgspec.json.encode(files),
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode == 0:
            return msgspec.json.decode(done.stdout, type=CheckedBundle)
        what = f"checking the bundle ended with status {done.returncode}"
    except subprocess.TimeoutExpired:
        what = f"the bundle could not be checked within {timeout_s:g} s"
    except (OSError, msgspec.DecodeError) as error:
        raise ContentUnavailableError(
            f"the bundle cannot be checked: {error}"
        ) from error
    return CheckedBundle(
        revision=revision_of((one.name, one.content) for one in files),
        problems=[Problem(Place("", 0, 0), what, "make it smaller, or simpler")],
        failed=[],
        passed=0,
        sets=[],
        owners=[],
    )


def main() -> None:
    """Checks the bundle on standard input, says on standard output what it found."""
    files = msgspec.json.decode(sys.stdin.buffer.read(), type=list[BundleFile])
    sys.stdout.buffer.write(msgspec.json.encode(check(files)))


def check(files: Sequence[BundleFile]) -> CheckedBundle:
    """Reads, checks and tests a bundle in this process."""
    from comptroller.adapters.policy.reading import Content
    from comptroller.bootstrap.policies import owner_place, policy_reader
    from comptroller.engine.policy_testing import run_cases

    contents = [Content(one.path, one.name, one.content) for one in files]
    bundle = policy_reader().read_contents(contents)
    if bundle.policy is None:
        problems = list(bundle.problems)
        return CheckedBundle(bundle.revision, problems, [], 0, [], [])
    report = run_cases(bundle)
    names = {one.path: one.name for one in files}
    content = {one.path: one.content for one in files}
    # Neither the order of the files nor where they stood makes another bundle.
    declared = sorted(bundle.policy.sets, key=lambda one: names[one.file])
    return CheckedBundle(
        revision=bundle.revision,
        problems=[],
        failed=[
            FailedCase(verdict.case.place, verdict.case.name, list(verdict.missed))
            for verdict in report.failed
        ],
        passed=report.passed_count,
        sets=[_by_name(plain_set(one), names[one.file]) for one in declared],
        owners=[
            SetOwner(one.name, one.owner, owner_place(one.file, content[one.file]))
            for one in declared
        ],
    )


def _by_name(plain: PlainSet, name: str) -> PlainSet:
    """A set whose places are in a file of this name, wherever that stood."""
    return {
        key: [
            {**part, "place": [name, *part["place"][1:]]}
            if isinstance(part, dict) and "place" in part
            else part
            for part in value
        ]
        if isinstance(value, list)
        else value
        for key, value in {**plain, "file": name}.items()
    }
