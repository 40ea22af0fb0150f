"""Secrets by reference: `env:NAME` or `file:PATH`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from comptroller.core.errors import ConfigurationError


class EnvFileSecretResolver:
    """The SecretResolver port on environment variables and files.

    Nothing is kept: a file is read again at every call, so that a secret that an
    orchestrator replaces is found. Messages name the reference, never the value.

    Args:
        environment: the variables, usually `os.environ`.
        folder: what a relative PATH is relative to.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._environment = environment
        self._folder = folder

    def resolve(self, reference: str) -> str:
        """The secret behind a reference, without its trailing newline.

        Raises:
            ConfigurationError: there is none, with the reference and what to do.
        """
        scheme, colon, name = reference.partition(":")
        if colon and name and scheme == "env":
            secret = self._from_environment(name)
        elif colon and name and scheme == "file":
            secret = self._from_file(name)
        else:
            # What stands there may be a secret pasted in: it is not repeated.
            raise ConfigurationError(
                "a secret's reference must read env:NAME or file:PATH"
            )
        if not secret:
            raise ConfigurationError(f"{reference} is empty: put the secret there")
        if not (secret.isascii() and secret.isprintable()):
            raise ConfigurationError(
                f"{reference} holds more than one line, or characters that no header"
                " can carry: put only the secret there"
            )
        return secret

    def _from_environment(self, name: str) -> str:
        value = self._environment.get(name)
        if value is None:
            raise ConfigurationError(
                f"the environment variable {name} is not set (env:{name}):"
                " set it where comptroller runs"
            )
        return value.rstrip("\r\n")

    def _from_file(self, name: str) -> str:
        try:
            content = (self._folder / name).read_text("utf-8")
        except UnicodeDecodeError:
            raise ConfigurationError(
                f"file:{name} is not text: put only the secret there"
            ) from None
        except OSError as error:
            raise ConfigurationError(
                f"file:{name} cannot be read: {error.strerror}"
            ) from error
        return content.rstrip("\r\n")
