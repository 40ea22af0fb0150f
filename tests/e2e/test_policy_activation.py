"""Activation while four workers are busy: nothing dropped, nothing unrecorded."""

from __future__ import annotations

import asyncio
import json
import random  # noqa: TID251  the seed is here
from collections import Counter
from pathlib import Path
from typing import Any, Final

from comptroller.bootstrap import open_administrator
from comptroller.bootstrap.policies import gather_files
from comptroller.engine import records
from comptroller.engine.policy_records import POLICY_LOADED
from comptroller.testing.load import Load
from comptroller.testing.provider.process import running_provider
from comptroller.testing.small import small_configuration
from comptroller.testing.tree import ServeTree, await_true, run_command, told

SEED: Final = 20_261_122
WORKERS: Final = 4
CLIENTS: Final = 24
CHANGES: Final = 6
GAP_S: Final = 0.6
POLICY: Final = """\
apiVersion: comptroller.policy/v1
kind: PolicySet
metadata: {{name: acme, owner: ada}}
allow:
  - {{id: allow.{name}, models: {{acme: [chat, claude]}}}}
rules:
  - {{id: no.{name}, deny_if: "ctx.env == '{name}'"}}
"""


class Steady(random.Random):
    """Chance under which no client leaves and no provider fails by itself."""

    def random(self) -> float:
        """At least a tenth: what the load does seldom, it does not do."""
        return 0.1 + 0.9 * super().random()


def published(folder: Path, name: str) -> str:
    policy = folder / name
    policy.mkdir()
    (policy / "acme.policy.yaml").write_text(POLICY.format(name=name))
    files, _ = gather_files([policy])
    with open_administrator(folder / "comptroller-data") as administrator:
        return administrator.publish_policy(files, "", "ada").revision


async def activated_under_load(
    folder: Path, load: Load, revisions: list[str]
) -> list[str]:
    """Activates each in turn while clients ask; the order in which it did."""
    running = asyncio.create_task(load.run(CLIENTS))
    done = []
    try:
        for number in range(CHANGES):
            await asyncio.sleep(GAP_S)
            revision = revisions[number % len(revisions)]
            await asyncio.to_thread(activate, folder, revision)
            done.append(revision)
        await asyncio.sleep(GAP_S)
    finally:
        load.stop()
        await running
    return done


def activate(folder: Path, revision: str) -> None:
    with open_administrator(folder / "comptroller-data") as administrator:
        administrator.activate_policy(revision, "ada")


def journals(folder: Path) -> list[list[dict[str, Any]]]:
    """The records of each worker's journal, in order."""
    found = []
    for path in sorted((folder / "comptroller-data" / "journal").glob("*.jsonl")):
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        if any(f"/w{number}/" in lines[0]["source"] for number in range(WORKERS)):
            found.append(lines)
    return found


def test_activation_under_load_drops_nothing_and_is_on_the_record(
    tmp_path: Path,
) -> None:
    """Every decision names the bundle whose loading precedes it in its journal."""
    models = dict.fromkeys(
        ("chat", "claude"), "price: {input: 1, output: 2}, max_output_tokens: 900000"
    )
    with running_provider() as origin:
        speaks = f"{{base_url: {origin}, speaks: [openai, anthropic]}}"
        text = small_configuration(speaks, models)
        (tmp_path / "comptroller.yaml").write_text(text)
        run_command(tmp_path, "apply", "--yes")
        revisions = [published(tmp_path, name) for name in ("one", "two", "three")]
        activate(tmp_path, revisions[-1])
        key = told(tmp_path, "key", "issue", "checkout", "--for", "ada")["secret"]
        tree = ServeTree(tmp_path, WORKERS)
        try:
            load = Load(tree.port, key, Steady(SEED))
            order = asyncio.run(activated_under_load(tmp_path, load, revisions))
            is_loaded_by_all = lambda: loaded_by(tmp_path, order[-1]) == WORKERS  # noqa: E731
            await_true(is_loaded_by_all, 10)
        finally:
            status = tree.stop()
    assert status == 0, tree.log()
    assert set(load.counts) == {"200"}, load.counts
    assert load.counts["200"] == len(load.asked) > 100
    decided_by: Counter[str] = Counter()
    loads = 0
    for lines in journals(tmp_path):
        loaded = None
        for line in lines:
            if line["type"] == POLICY_LOADED:
                assert line["data"]["previous"] == loaded
                loaded = line["data"]["revision"]
                loads += 1
            elif line["type"] == records.DECIDED:
                data = line["data"]
                assert data["result"] == "allow", data
                assert data["bundles"]["policy"]["revision"] == loaded
                decided_by[loaded] += 1
    assert loads == WORKERS * (1 + CHANGES)
    assert set(decided_by) == set(revisions)
    assert sum(decided_by.values()) == len(load.asked)


def loaded_by(folder: Path, revision: str) -> int:
    history = told(folder, "policy", "history")
    assert history["active"] == revision
    return len(history["bundles"][0]["loaded_by"])
