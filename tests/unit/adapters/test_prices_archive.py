from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from comptroller.adapters.prices.archive import CardArchive
from comptroller.core.errors import StoreUnavailableError
from comptroller.core.match import Clause
from comptroller.core.rates import Matcher, ModelRates, RateCard, Step, rate_card


def card(rate: int = 1) -> RateCard:
    rates = ModelRates("m", (Step(0, {"input": rate}),), {"flex": (Step(0, {}),)})
    rules: dict[str, tuple[Matcher, ...]] = {
        "p": (Matcher(Clause("any", parts=(Clause("equals", "x"),)), "m"),)
    }
    return rate_card("declared", {"p": {"m": rates}}, rules, changes_ns=7)


def test_a_kept_card_is_found_again(tmp_path: Path) -> None:
    """What was kept is answered equal, by its version, by another process too."""
    archive = CardArchive(tmp_path / "cards")
    archive.keep(card())
    archive.keep(card())
    archive.keep(card(2))

    again = CardArchive(tmp_path / "cards")
    assert again.card(card().version) == card()
    assert again.card(card(2).version) == card(2)
    assert again.card("rc-0000000000000000") is None
    assert len(list((tmp_path / "cards").iterdir())) == 2


def test_a_changed_card_is_not_believed(tmp_path: Path) -> None:
    """A file that was edited is an error, not another price."""
    archive = CardArchive(tmp_path)
    archive.keep(card())
    path = tmp_path / f"{card().version}.json"
    path.write_bytes(path.read_bytes().replace(b'"input":1', b'"input":9'))

    with pytest.raises(StoreUnavailableError, match="was changed"):
        archive.card(card().version)


def test_an_unreadable_card_is_an_error(tmp_path: Path) -> None:
    """A broken file is reported, with its name."""
    (tmp_path / "rc-1.json").write_bytes(b"{")

    with pytest.raises(StoreUnavailableError, match=r"rc-1\.json"):
        CardArchive(tmp_path).card("rc-1")


def test_a_version_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    """A version with a path in it finds nothing elsewhere."""
    (tmp_path / "secret.json").write_bytes(msgspec.json.encode(card()))

    assert CardArchive(tmp_path / "cards").card("../secret") is None


def test_a_card_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A file where the folder should be: the card is not silently lost."""
    (tmp_path / "cards").write_text("not a folder")

    with pytest.raises(StoreUnavailableError, match="cannot be kept"):
        CardArchive(tmp_path / "cards").keep(card())


def test_a_card_is_for_its_account_alone(tmp_path: Path) -> None:
    """However loose the umask, nobody else writes what requests cost."""
    before = os.umask(0)
    try:
        CardArchive(tmp_path / "cards").keep(card())
    finally:
        os.umask(before)

    folder = tmp_path / "cards"
    modes = [path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())]
    assert modes == [0o700, 0o600]
