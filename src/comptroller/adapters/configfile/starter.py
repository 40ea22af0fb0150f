"""The file that `comptroller init` writes."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from comptroller.core.errors import ConflictError


def starter_text() -> str:
    """A commented configuration that is valid as it stands."""
    here = files("comptroller.adapters.configfile")
    return here.joinpath("starter.yaml").read_text(encoding="utf-8")


def write_starter(path: Path) -> None:
    """Writes the starter file where there is none yet.

    Raises:
        ConflictError: there is something already, or it cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(starter_text())
    except FileExistsError as error:
        raise ConflictError(
            f"{path} is there already; name another with --config, or move it away"
        ) from error
    except OSError as error:
        raise ConflictError(f"{path} cannot be written: {error.strerror}") from error
