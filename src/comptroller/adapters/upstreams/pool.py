"""The pool: connections to providers, kept by origin, bounded in number and age."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from comptroller.adapters.upstreams.connection import UpstreamConnection
from comptroller.engine.ports import (
    ReplySink,
    UpstreamCall,
    UpstreamFailure,
    UpstreamRequest,
    UpstreamTarget,
)

IDLE_S: Final = 15.0
"""Shorter than any common load balancer's: a connection we reuse is rarely stale."""
CONNECT_TIMEOUT_S: Final = 10.0
CONNECTIONS_MAX: Final = 4096
SWEEP_S: Final = 1.0


class Lane:
    """The connections to one origin."""

    def __init__(self, target: UpstreamTarget, loop: asyncio.AbstractEventLoop) -> None:
        self._target = target
        self._loop = loop
        self._idle: list[UpstreamConnection] = []
        self._all: set[UpstreamConnection] = set()
        self._tls: ssl.SSLContext | None = None
        self.now_s = loop.time
        self.unsent_bytes = 0

    def call(self, request: UpstreamRequest, sink: ReplySink) -> UpstreamCall:
        """Sends on an idle connection, or opens one."""
        now_s = self._loop.time()
        while self._idle:
            connection = self._idle.pop()
            is_fresh = connection.usable and now_s < connection.deadline_s
            if is_fresh and connection.is_clean():
                connection.send(request, sink, now_s)
                return connection
            connection.close()
        opening = OpeningCall(self, sink)
        size = len(request.body)
        self.unsent_bytes += size
        opening.task = self._loop.create_task(opening.run(request))
        opening.task.add_done_callback(lambda _: self._opened(size))
        return opening

    def _opened(self, size: int) -> None:
        """A body waits no longer for a connection: it was sent, or will not be."""
        self.unsent_bytes -= size

    async def open(self) -> UpstreamConnection:
        """Opens a connection.

        Raises:
            OSError: it could not be opened, TLS included.
            TimeoutError: not in time.
        """
        if self._target.tls and self._tls is None:
            self._tls = tls_context(self._target)
        if len(self._all) >= CONNECTIONS_MAX:
            raise OSError(f"all {CONNECTIONS_MAX} connections are in use")
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, connection = await self._loop.create_connection(
                lambda: UpstreamConnection(self),
                self._target.host,
                self._target.port,
                ssl=self._tls,
                server_hostname=self._target.host if self._tls else None,
            )
        self._all.add(connection)
        return connection

    def give_back(self, connection: UpstreamConnection) -> None:
        """Takes a connection back for the next call."""
        connection.deadline_s = self._loop.time() + IDLE_S
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """Drops a connection that is closed."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def sweep(self, now_s: float) -> None:
        """Ends calls and idle connections that have passed their deadline."""
        for connection in [c for c in self._all if c.deadline_s < now_s]:
            connection.expire()

    def close(self) -> None:
        """Closes every connection."""
        for connection in tuple(self._all):
            connection.abort()
            connection.close()


class OpeningCall:
    """A call whose connection is still being opened: nothing has been sent."""

    def __init__(self, lane: Lane, sink: ReplySink) -> None:
        self._lane = lane
        self._sink = sink
        self._connection: UpstreamConnection | None = None
        self.task: asyncio.Task[None] | None = None
        """Set by the lane; kept so that the task is not collected."""

    async def run(self, request: UpstreamRequest) -> None:
        """Opens the connection, then sends; keeps nothing of the request."""
        try:
            connection = await self._lane.open()
        except ssl.SSLError as error:
            detail = f"TLS to the provider failed: {error.reason or error}"
            self._sink.on_failed(UpstreamFailure("tls", detail, sent=False))
        except (OSError, TimeoutError) as error:
            detail = f"the provider cannot be reached: {str(error) or 'timed out'}"
            self._sink.on_failed(UpstreamFailure("connect", detail, sent=False))
        else:
            if not connection.usable:  # TLS 1.3 refuses a client after the handshake
                self._lane.forget(connection)
                connection.close()
                detail = "the provider closed the new connection at once"
                self._sink.on_failed(UpstreamFailure("connect", detail, sent=False))
                return
            self._connection = connection
            connection.send(request, self._sink, self._lane.now_s())

    def pause(self) -> None:
        """Stops reading the reply."""
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """Reads on."""
        if self._connection is not None:
            self._connection.resume()

    def abort(self) -> bool:
        """Ends the call; the sink hears nothing more."""
        if self._connection is not None:
            return self._connection.abort()
        if self.task is not None:
            self.task.cancel()
        return False


class UpstreamPool:
    """Calls to all providers of a worker (port: Upstreams)."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[UpstreamTarget, Lane] = {}
        self._timer = self._loop.call_later(SWEEP_S, self._sweep)

    @property
    def unsent_bytes(self) -> int:
        """Bytes of request bodies that wait here for a provider to take them."""
        return sum([lane.unsent_bytes for lane in self._lanes.values()])

    def call(self, request: UpstreamRequest, sink: ReplySink) -> UpstreamCall:
        """Starts a call; the sink hears of everything that follows."""
        lane = self._lanes.get(request.target)
        if lane is None:
            lane = self._lanes[request.target] = Lane(request.target, self._loop)
        return lane.call(request, sink)

    async def close(self) -> None:
        """Closes every connection; calls under way are aborted."""
        self._timer.cancel()
        for lane in self._lanes.values():
            lane.close()
        await asyncio.sleep(0)

    def _sweep(self) -> None:
        now_s = self._loop.time()
        for lane in self._lanes.values():
            lane.sweep(now_s)
        self._timer = self._loop.call_later(SWEEP_S, self._sweep)


def tls_context(target: UpstreamTarget) -> ssl.SSLContext:
    """Verifies certificate and host name; TLS 1.2 or newer.

    Raises:
        OSError: the CA file cannot be read.
    """
    context = ssl.create_default_context(cafile=target.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
