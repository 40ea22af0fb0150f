"""Where a data directory keeps what discloses persons, apart from all else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from comptroller.bootstrap.place import Place


def disclosures(place: Place) -> Path:
    """The folder of the side table."""
    return place.data / "disclosures"


def prompt_keys(place: Place) -> Path:
    """The folder of the keys of prompt fingerprints."""
    return place.data / "keys" / "prompts"
