from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from comptroller.adapters.snapshot import FileSnapshotStore
from comptroller.core.registry import Provider
from comptroller.testing.upstream import CHAT, answering, scripted_upstream, whole
from comptroller.testing.worker import Served, Site, WorkerProcess, provider, unbalanced

BOUNDS = {"idle_s": 75, "head_s": 1, "body_s": 1, "blocked_s": 60, "linger_s": 1}

OpenSite = Callable[..., AbstractContextManager[Site]]


def published(
    data: Path, providers: Mapping[str, Provider], settings: Mapping[str, int]
) -> Served:
    store = FileSnapshotStore(data / "snapshot.json")
    return Served(store.publish, providers, **settings)


@contextmanager
def running_site(
    data: Path, options: Mapping[str, object] | None = None, **settings: int
) -> Iterator[Site]:
    """A worker over a scripted upstream; at its end the books must balance."""
    with scripted_upstream(answering(whole(CHAT))) as upstream:
        served = published(data, {"up": provider("up", upstream.origin)}, settings)
        worker = WorkerProcess(data, {"bounds": BOUNDS, **(options or {})})
        try:
            yield Site(upstream, served, worker)
            assert worker.process.poll() is None, worker.log.read_text()
        finally:
            worker.stop()
        assert unbalanced(data) == []
        said = worker.log.read_text()
        assert "Traceback" not in said, said


@pytest.fixture(scope="module")
def settings() -> dict[str, int]:
    """The gateway's settings; a module may have its own."""
    return {}


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, settings: dict[str, int]
) -> Iterator[Site]:
    """One worker for all tests of a module."""
    with running_site(
        tmp_path_factory.mktemp("gateway"),
        body_bytes_max=1_000_000,
        **settings,
    ) as one:
        yield one


@pytest.fixture
def fresh(site: Site) -> Site:
    """The module's worker, its upstream as new: it answers every chat."""
    site.upstream.renew(answering(whole(CHAT)))
    return site


@pytest.fixture
def open_site(tmp_path: Path) -> OpenSite:
    """Opens a worker of the test's own; see `running_site`."""

    def open_one(
        options: Mapping[str, object] | None = None, **settings: int
    ) -> AbstractContextManager[Site]:
        return running_site(tmp_path, options, **settings)

    return open_one
