from __future__ import annotations

import msgspec
import pytest

from comptroller.core import errors
from comptroller.engine import commands, replies
from comptroller.engine.administration import AppliedResult, IssuedSecret
from comptroller.engine.commands import Act, Administrator, Result
from comptroller.testing.administration import FakeSite, small_registry


def over_the_wire(site: FakeSite, command: Act) -> Result:
    """Sends a command through both encodings, as the socket does."""
    line = msgspec.json.encode(command)
    read = commands.decode_command(line)
    assert isinstance(read, Act)
    try:
        result = commands.perform(read, site.administration, "root@test")
        reply = replies.encode_result(result)
    except errors.ComptrollerError as error:
        reply = replies.encode_error(error)
    return commands.decode_reply(command, reply)


@pytest.fixture
def administrator() -> Administrator:
    site = FakeSite()
    made = Administrator(lambda command: over_the_wire(site, command), by="ada")
    made.apply(small_registry(), "sha256:1")
    return made


def test_every_act_survives_the_wire(administrator: Administrator) -> None:
    """Asking the control process gives what acting in process gives."""
    assert administrator.apply(small_registry(), "sha256:1") == AppliedResult(1, 0)
    issued = administrator.issue("checkout", "ada")
    assert isinstance(issued, IssuedSecret)
    rotated = administrator.rotate(issued.credential_id)
    assert rotated.credential_id == issued.credential_id
    assert rotated.secret != issued.secret
    revoked = administrator.revoke(issued.credential_id, "why")
    assert (revoked.credential_id, revoked.reason) == (issued.credential_id, "why")


def test_an_error_keeps_its_class_and_message_over_the_wire(
    administrator: Administrator,
) -> None:
    """A command line handles errors the same, wherever they were raised."""
    with pytest.raises(errors.NotFoundError, match="did you mean checkout"):
        administrator.issue("chekout", "ada")
    with pytest.raises(errors.ConflictError, match="plan again"):
        administrator.apply(small_registry(purpose="x"), "sha256:2", based_on=7)


@pytest.mark.parametrize(
    "line", [b"", b"{", b"{}", b'{"type":"dance"}', b'{"type":"issue"}', b"\xff"]
)
def test_what_is_no_command_is_refused(line: bytes) -> None:
    """Nonsense on the socket is an error that says so."""
    with pytest.raises(errors.InvalidArgumentError, match="not a command"):
        commands.decode_command(line)


@pytest.mark.parametrize("line", [b"", b"{", b"{}", b'{"ok":{"revision":"x"}}'])
def test_what_is_no_answer_is_refused(line: bytes) -> None:
    """An answer of another release is an error, never a wrong result."""
    with pytest.raises(errors.ControlUnavailableError):
        commands.decode_reply(commands.AskStatus(), line)


def test_an_unknown_error_keeps_its_message() -> None:
    """An error of a newer release still tells a person what was wrong."""
    with pytest.raises(errors.ComptrollerError, match="the moon is full"):
        commands.decode_reply(
            commands.Ping(), b'{"error":{"code":"moon","message":"the moon is full"}}'
        )


def test_every_error_class_has_its_own_code() -> None:
    """Codes are what programs see, so no two errors share one."""
    classes = errors.ComptrollerError.__subclasses__()
    assert len({one.code for one in classes}) == len(classes)
