from __future__ import annotations

import asyncio
import getpass
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from comptroller.adapters.control import ControlClient, ControlLock, ControlServer
from comptroller.core.errors import ControlUnavailableError, StoreUnavailableError


async def shout(line: bytes, account: str) -> bytes:
    """Answers in capitals, with who asked; `wait` is answered late, if at all."""
    if line == b"wait":
        await asyncio.sleep(30)
    return line.upper() + b" for " + account.encode()


@contextmanager
def serving(path: Path) -> Iterator[ControlServer]:
    """A server on a loop of its own, as in a process of its own."""
    server = ControlServer(path, shout)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(5)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_question_is_answered_with_the_account_of_who_asks(tmp_path: Path) -> None:
    """The account is what the kernel says of the peer, not what the peer says."""
    with serving(tmp_path / "control.sock"):
        answer = ControlClient(tmp_path / "control.sock").ask(b"hello")
    assert answer == f"HELLO for {getpass.getuser()}@{socket.gethostname()}".encode()


def test_a_data_directory_may_lie_deep(tmp_path: Path) -> None:
    """A path of more than the kernel's 107 bytes works for both ends."""
    deep = tmp_path.joinpath(*["folder-with-a-long-name"] * 8)
    deep.mkdir(parents=True)
    path = deep / "control.sock"
    assert len(str(path)) > 200
    with serving(path):
        assert ControlClient(path).ask(b"deep") is not None


def test_the_socket_is_for_its_account_alone(tmp_path: Path) -> None:
    """Nobody else may connect, whatever the umask was."""
    before = os.umask(0)
    try:
        with serving(tmp_path / "control.sock"):
            mode = stat.S_IMODE((tmp_path / "control.sock").stat().st_mode)
    finally:
        os.umask(before)
    assert mode == 0o600


def test_a_whole_configuration_fits_in_a_line(tmp_path: Path) -> None:
    """Lines of megabytes go both ways."""
    with serving(tmp_path / "control.sock"):
        answer = ControlClient(tmp_path / "control.sock").ask(b"x" * 8_000_000)
    assert answer is not None
    assert answer.startswith(b"X" * 8_000_000)


def test_many_ask_at_once(tmp_path: Path) -> None:
    """Everybody gets the answer to their own question."""
    path = tmp_path / "control.sock"
    with serving(path), ThreadPoolExecutor(16) as pool:
        questions = [b"q%d" % number for number in range(200)]
        answers = list(pool.map(lambda line: ControlClient(path).ask(line), questions))
    for question, answer in zip(questions, answers, strict=True):
        assert answer is not None
        assert answer.split(b" ")[0] == question.upper()


def test_nobody_there_is_told_from_no_answer(tmp_path: Path) -> None:
    """Only where nothing was sent may the caller try again."""
    path = tmp_path / "control.sock"
    assert ControlClient(path).ask(b"hello") is None
    with serving(path):
        late = ControlClient(path, answer_timeout_s=0.2)
        with pytest.raises(
            ControlUnavailableError, match=r"not answered for 0.2 s.*key list"
        ):
            late.ask(b"wait")
    assert ControlClient(path).ask(b"hello") is None


def test_a_server_that_goes_away_is_no_answer(tmp_path: Path) -> None:
    """A control process that dies while it works leaves an error, not a hang."""
    path = tmp_path / "control.sock"
    with ThreadPoolExecutor(1) as pool:
        with serving(path) as server:
            asked = pool.submit(ControlClient(path).ask, b"wait")
            while not server._tasks:
                pass
        with pytest.raises(ControlUnavailableError):
            asked.result(5)


def test_the_socket_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    """What a killed control process left behind is in nobody's way."""
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert ControlClient(path).ask(b"hello") is None
    with serving(path):
        assert ControlClient(path).ask(b"hello") is not None


@pytest.mark.parametrize("sent", [b"", b"half a line", b"\n"])
def test_a_client_that_stops_halfway_harms_nobody(tmp_path: Path, sent: bytes) -> None:
    """A connection without a question, or with a torn one, is let go."""
    path = tmp_path / "control.sock"
    with serving(path):
        with socket.socket(socket.AF_UNIX) as rude:
            rude.connect(str(path))
            rude.sendall(sent)
        assert ControlClient(path).ask(b"hello") is not None


def test_a_socket_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    """A missing directory is reported with the socket's path."""
    server = ControlServer(tmp_path / "absent" / "control.sock", shout)
    with pytest.raises(ControlUnavailableError, match="absent"):
        asyncio.run(server.start())


def test_one_lock_has_one_holder(tmp_path: Path) -> None:
    """Two holders exclude each other; letting go lets the other in."""
    one, two = ControlLock(tmp_path / "lock"), ControlLock(tmp_path / "lock")
    assert one.take()
    assert one.take()
    assert not two.take()
    one.release()
    assert two.take()
    assert not one.take()
    two.release()


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    """The kernel gives the lock back, so no stale lock is ever in the way."""
    program = (
        "import sys; from pathlib import Path;"
        "from comptroller.adapters.control import ControlLock;"
        "lock = ControlLock(Path(sys.argv[1])); print(lock.take(), flush=True);"
        "sys.stdin.read()"
    )
    lock = ControlLock(tmp_path / "lock")
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        assert not lock.take()
        holder.kill()
        holder.wait()
    assert lock.take()
    lock.release()


def test_a_lock_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    """A missing data directory is told from a lock that somebody holds."""
    with pytest.raises(StoreUnavailableError, match="absent"):
        ControlLock(tmp_path / "absent" / "lock").take()
