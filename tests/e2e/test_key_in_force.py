"""A command about keys returns when every worker follows it."""

from __future__ import annotations

import time
from pathlib import Path

from comptroller.bootstrap import await_workers
from comptroller.bootstrap.administering import IN_FORCE_S
from comptroller.gateway.worker import SNAPSHOT_EVERY_S
from comptroller.testing.small import small_configuration
from comptroller.testing.tree import run_command
from comptroller.testing.worker import WorkerProcess

DATA = "comptroller-data"


def waited_s(data: Path) -> float:
    """How long a command waits for the workers."""
    began_s = time.monotonic()
    await_workers(data)
    return time.monotonic() - began_s


def test_a_command_waits_for_workers_also_without_a_control_process(
    tmp_path: Path,
) -> None:
    """Workers that live tell that a gateway serves; where none does, nobody waits."""
    text = small_configuration(
        "{base_url: http://127.0.0.1:9, speaks: [openai]}",
        {"chat": "price: {input: 1, output: 2}"},
    )
    (tmp_path / "comptroller.yaml").write_text(text)
    run_command(tmp_path, "apply", "--yes")
    data = tmp_path / DATA
    before_s = waited_s(data)
    worker = WorkerProcess(data)
    try:
        serving_s = waited_s(data)
    finally:
        worker.stop()
    after_s = waited_s(data)

    assert serving_s >= IN_FORCE_S > SNAPSHOT_EVERY_S
    assert before_s < IN_FORCE_S
    assert after_s < IN_FORCE_S
