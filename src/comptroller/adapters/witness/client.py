"""The way to a witness: one HTTP request, for a bounded time."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from comptroller.core.errors import ConfigurationError, WitnessUnavailableError
from comptroller.engine.cosigning import WitnessReply

TIMEOUT_S: Final = 10.0
REPLY_BYTES_MAX: Final = 64 * 1024


class HttpWitness:
    """A witness at a URL.

    Satisfies `engine.cosigning.WitnessClient`.
    """

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        """Takes the submission prefix: `/add-checkpoint` is put behind it.

        Raises:
            ConfigurationError: it is not an http or https URL.
        """
        try:
            parts = urlsplit(url)
            self._port = parts.port
        except ValueError as error:
            raise ConfigurationError(f"--witness {url!r}: {error}") from error
        is_plain = not (parts.query or parts.fragment or parts.username)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not is_plain:
            raise ConfigurationError(
                f"--witness {url!r} is not a URL such as https://witness.example.org"
            )
        self._is_secure = parts.scheme == "https"
        self._host = parts.hostname
        self._path = parts.path.rstrip("/") + "/add-checkpoint"
        self._timeout_s = timeout_s

    def add_checkpoint(self, data: bytes) -> WitnessReply:
        """Asks once.

        Raises:
            WitnessUnavailableError: there was no answer in time.
        """
        kind = (
            http.client.HTTPSConnection
            if self._is_secure
            else http.client.HTTPConnection
        )
        connection = kind(self._host, self._port, timeout=self._timeout_s)
        try:
            connection.connect()
            # The timeout is that of each read: one that drips would never end.
            limit = threading.Timer(self._timeout_s, _hang_up, [connection.sock])
            limit.daemon = True
            limit.start()
            try:
                headers = {"content-type": "text/plain; charset=utf-8"}
                connection.request("POST", self._path, data, headers)
                reply = connection.getresponse()
                body = reply.read(REPLY_BYTES_MAX + 1)
            finally:
                limit.cancel()
        except (OSError, http.client.HTTPException) as error:
            said = str(error) or type(error).__name__
            raise WitnessUnavailableError(f"no answer: {said}") from error
        finally:
            connection.close()
        if len(body) > REPLY_BYTES_MAX:
            raise WitnessUnavailableError("its answer is longer than any should be")
        return WitnessReply(reply.status, body)


def _hang_up(connected: socket.socket) -> None:
    with suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)
