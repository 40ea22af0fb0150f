"""Random and mutated bytes against the real worker, compared with h11.

For every stream of requests, what reaches the provider must be what h11, the
reference parser, reads from the same bytes. The gateway may refuse more. It may
read only these things that h11 does not, and each is harmless:

- several spaces between the parts of the first line: the parts are the same;
- another protocol's name with a version 1.0 or 1.1 (llhttp knows RTSP and ICE):
  such a request is served as HTTP, which is what the port speaks;
- bare line ends between two requests, of which RFC 9112 §2.2 lets it skip empty
  lines with CRLF: they are no part of either.
"""

import random  # noqa: TID251  seeded
import re
from typing import NamedTuple

import h11

from comptroller.testing.rawclient import RawClient, raw_client, request
from comptroller.testing.upstream import Received, chunk
from comptroller.testing.worker import CHAT_BODY, CHAT_PATH, Site

SEED = 20261121
CASES = 3000
MARK = b"x-case: "
REPLY = h11.Response(status_code=200, headers=[("content-length", "0")])
HELD_APART = re.compile(rb" {2,}")
TOKENS = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b"\0",
        b":",
        b",",
        b"\x80",
    ),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    *(b"transfer-encoding:\tchunked \r\n", b"Content-Length: 0\r\n", b"HTTP/1.0"),
    *(b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n"),
    *(b"Expect: 100-continue\r\n", b"Host: b\r\n", b"POST ", b"GET ", b"/../", b"%00"),
    *(b"5;x=y\r\nhello\r\n", b"x-api-key: other\r\n", b"Trailer: a\r\n", b"{", b"}"),
    *(b"Content-Encoding: identity\r\n", b"Connection: x-case\r\n", b"HTTP/1.1"),
)


class Asked(NamedTuple):
    """A request as a parser reads it."""

    method: bytes
    target: bytes
    body: bytes


def well_formed(chance: random.Random, site: Site, case: int) -> bytes:
    """One to three requests, plain or chunked, some for the gateway itself."""
    stream = b""
    for number in range(chance.randint(1, 3)):
        mark = f"x-case: {case}.{number}"
        body = CHAT_BODY.replace(b"Hi", b"y" * chance.randint(0, 40))
        if chance.random() < 0.15:
            stream += request("/healthz", b"", mark, method="GET")
        elif chance.random() < 0.5:
            stream += request(CHAT_PATH, body, site.bearer, mark)
        else:
            cut = chance.randint(1, len(body) - 1)
            framing = "Transfer-Encoding: chunked"
            stream += request(CHAT_PATH, b"", site.bearer, mark, framing)
            stream += chunk(body[:cut]) + chunk(body[cut:]) + b"0\r\n\r\n"
    return stream


def mutated(chance: random.Random, stream: bytes) -> bytes:
    """The stream with a few small changes."""
    data = bytearray(stream)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 2, 3, 6))):
        place = chance.randrange(len(data))
        match chance.randrange(5):
            case 0:
                data[place] = chance.randrange(256)
            case 1:
                del data[place : place + chance.randint(1, 8)]
            case 2 | 3:
                data[place:place] = chance.choice(TOKENS)
            case _:
                end = place + chance.randint(1, 40)
                data[place:place] = data[place:end]
        if not data:
            data += b"\0"
    return bytes(data)


def by_reference(stream: bytes) -> list[Asked]:
    """The requests that h11 reads, whole ones only."""
    found: list[Asked] = []
    rest = stream
    while rest:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1_000_000)
        connection.receive_data(rest.lstrip(b"\r\n"))
        try:
            asked = one_request(connection)
            if asked is None:
                return found
            found.append(asked)
            connection.send(REPLY)
            connection.send(h11.EndOfMessage())
        except h11.ProtocolError:
            return found
        if connection.our_state is not h11.DONE:
            return found
        rest = connection.trailing_data[0]
    return found


def one_request(connection: h11.Connection) -> Asked | None:
    """The next request; None: it is not whole."""
    method = target = body = b""
    while True:
        match connection.next_event():
            case h11.Request() as event:
                method, target = event.method, event.target
            case h11.Data() as event:
                body += bytes(event.data)
            case h11.EndOfMessage():
                return Asked(method, target, body)
            case _:
                return None


def forwarded(received: list[Received]) -> list[bytes]:
    return [one.body for one in received]


def expected(stream: bytes) -> list[bytes]:
    """The bodies that may go upstream, in order, as the reference reads them."""
    wanted = []
    for method, target, body in by_reference(stream):
        if method == b"POST" and target.partition(b"?")[0].endswith(CHAT_PATH.encode()):
            wanted.append(body)
    return wanted


def is_part_of(few: list[bytes], many: list[bytes]) -> bool:
    """Whether the few are among the many, in the same order."""
    rest = iter(many)
    return all(any(one == other for other in rest) for one in few)


def drained(client: RawClient, data: bytes) -> None:
    """Sends in one go, says that this is all, and reads to the end."""
    try:
        client.send(data)
        client.half_close()
        while client.read_until(b"\0never\0"):
            pass
    except OSError:
        return


def restored(bodies: list[bytes]) -> list[bytes]:
    """Bodies as the client sent them: the alias put back."""
    return [body.replace(b'"model":"m"', b'"model":"up"') for body in bodies]


def test_what_is_forwarded_is_what_a_reference_parser_reads(fresh: Site) -> None:
    """No mutation makes the gateway forward a request that was not asked."""
    chance = random.Random(SEED)  # noqa: S311  seeded, for a test
    served = 0
    for case in range(CASES):
        stream = well_formed(chance, fresh, case)
        data = mutated(chance, stream)
        fresh.upstream.received.clear()
        with raw_client(fresh.worker.port, timeout_s=10) as client:
            drained(client, data)
        got = restored(forwarded(fresh.upstream.received))
        served += len(got)
        wanted = expected(data)
        if not is_part_of(got, wanted):
            wanted = expected(HELD_APART.sub(b" ", data.replace(b"RTSP/", b"HTTP/")))
        assert is_part_of(got, wanted), (case, data, got, wanted)

    assert served > CASES / 4
    assert fresh.chat().status == 200


def test_unmutated_streams_are_all_forwarded(fresh: Site) -> None:
    """The comparison is not empty: without a mutation both read the same."""
    chance = random.Random(SEED + 1)  # noqa: S311  seeded, for a test
    for case in range(60):
        stream = well_formed(chance, fresh, case)
        fresh.upstream.received.clear()
        with raw_client(fresh.worker.port) as client:
            drained(client, stream)
        assert restored(forwarded(fresh.upstream.received)) == expected(stream)


def test_noise_harms_nobody(fresh: Site) -> None:
    """Random bytes of any kind are refused or ignored; the worker serves on."""
    chance = random.Random(SEED + 2)  # noqa: S311  seeded, for a test
    process = fresh.worker.process
    for _ in range(300):
        size = chance.choice((1, 3, 20, 200, 4000))
        data = chance.randbytes(size)
        if chance.random() < 0.5:
            data = b"".join(chance.choice(TOKENS) for _ in range(size // 3 + 1))
        with raw_client(fresh.worker.port) as client:
            drained(client, data)

    assert process.poll() is None
    assert fresh.upstream.received == []
    assert fresh.chat().status == 200
