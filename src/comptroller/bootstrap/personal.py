"""Where a data directory keeps what discloses persons, apart from all else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from comptroller.bootstrap.place import Place


def disclosures(place: Place) -> Path:
    """The folder of the side table."""
    return place.data / "disclosures"


def disclosures_of_people_in(place: Place) -> Callable[[], Mapping[str, str]]:
    """Reads what discloses the people of the configuration, by commitment."""
    from comptroller.adapters.disclosures import FileDisclosureTable
    from comptroller.engine.people import disclosures_of_people

    return partial(disclosures_of_people, FileDisclosureTable(disclosures(place)))


def prompt_keys(place: Place) -> Path:
    """The folder of the keys of prompt fingerprints."""
    return place.data / "keys" / "prompts"


def legal_hold_salts(place: Place) -> Path:
    """The folder of the salts of legal holds on end users."""
    return place.data / "keys" / "legal-holds"
