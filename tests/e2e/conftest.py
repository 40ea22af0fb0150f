from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from comptroller.adapters.journal.naming import journal_name
from comptroller.adapters.journal.writer import SyncJournal
from comptroller.adapters.snapshot import FileSnapshotStore
from comptroller.core.registry import Provider
from comptroller.testing.decisions import BatchedJournal
from comptroller.testing.script import Script
from comptroller.testing.small import small_configuration
from comptroller.testing.system import FakeClock, SequentialIds
from comptroller.testing.tree import run_command
from comptroller.testing.upstream import CHAT, answering, scripted_upstream, whole
from comptroller.testing.worker import (
    OpenSite,
    Served,
    Site,
    WorkerProcess,
    provider,
    unbalanced,
)

BOUNDS = {"idle_s": 75, "head_s": 1, "body_s": 1, "blocked_s": 60, "linger_s": 1}


@contextmanager
def running_site(
    data: Path,
    options: Mapping[str, object] | None = None,
    providers: Mapping[str, Provider] | None = None,
    settings: Mapping[str, int] | None = None,
    unended: int = 0,
) -> Iterator[Site]:
    """A worker over a scripted upstream; at its end the books must balance.

    A test that lets the worker end by itself looks at its exit status, too.

    Args:
        data: its directory.
        options: of the worker; see `WorkerProcess`.
        providers: beside `up`, by id.
        settings: of the gateway.
        unended: how many requests are left for recovery to end.
    """
    with scripted_upstream(answering(whole(CHAT))) as upstream:
        known = {"up": provider("up", upstream.origin), **(providers or {})}
        store = FileSnapshotStore(data / "snapshot.json")
        served = Served(store.publish, known, **(settings or {}))
        worker = WorkerProcess(data, {"bounds": BOUNDS, **(options or {})})
        try:
            yield Site(upstream, served, worker)
        finally:
            was_ended = worker.process.poll() is not None
            status = worker.stop()
        said = worker.log.read_text()
        assert was_ended or status == 0, said
        assert "Traceback" not in said, said
        assert len(unbalanced(data)) == unended, unbalanced(data)


@pytest.fixture(scope="module")
def settings() -> dict[str, int]:
    """The gateway's settings; a module may have its own."""
    return {}


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, settings: dict[str, int]
) -> Iterator[Site]:
    """One worker for all tests of a module."""
    data = tmp_path_factory.mktemp("gateway")
    bounded = {"body_bytes_max": 1_000_000, **settings}
    with running_site(data, settings=bounded) as one:
        yield one


@pytest.fixture
def fresh(site: Site) -> Site:
    """The module's worker, its upstream as new: it answers every chat."""
    site.upstream.renew(answering(whole(CHAT)))
    return site


@pytest.fixture
def open_site(tmp_path: Path) -> OpenSite:
    """Opens a worker of the test's own; see `running_site`."""
    return partial(running_site, tmp_path)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A module's tests share one worker: they run in one process."""
    for item in items:
        if item.path.name.startswith("test_gateway_"):
            item.add_marker(pytest.mark.xdist_group(item.path.name))


@pytest.fixture(scope="session")
def old_trail() -> Callable[[Path, int], None]:
    """Fills a folder: a configuration, and a trail that begins with old records.

    Takes the folder and how many refused decisions there are, one record each, of
    November 2025. The people who are declared are ada and grace.
    """
    return _old_trail


def _old_trail(folder: Path, count: int) -> None:
    provider = "{base_url: http://127.0.0.1:9, speaks: [openai]}"
    models = {"chat": "price: {input: 1, output: 2}, max_output_tokens: 9999"}
    text = small_configuration(provider, models)
    grace = "  grace: {name: Grace Hopper, email: grace@acme.example}\n"
    text = text.replace("gateway:", f"{grace}gateway:", 1)
    (folder / "comptroller.yaml").write_text(text)
    clock, ids = FakeClock(), SequentialIds()
    name = journal_name("host", "w0", "01A")
    journal = SyncJournal(folder / "comptroller-data/journal", name, clock, ids)
    batched = BatchedJournal(journal)
    script = Script(batched, clock, ids)
    for _ in range(count):
        clock.advance(1)
        script.decided(ids.new(), {"result": "deny", "reason": "denied"})
    batched.flush()
    journal.close()
    run_command(folder, "apply", "--yes")
    run_command(folder, "audit", "sequence")
