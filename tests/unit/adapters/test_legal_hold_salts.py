"""The salts of legal holds on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from comptroller.adapters.disclosures import FileLegalHoldSalts
from comptroller.core.errors import StoreUnavailableError

SALT = bytes(range(16))


def test_a_salt_is_kept_for_this_account_alone(tmp_path: Path) -> None:
    """Another process reads it; others may read neither file nor folder."""
    folder = tmp_path / "keys" / "legal-holds"
    FileLegalHoldSalts(folder).keep("1", SALT)
    assert FileLegalHoldSalts(folder).read("1") == SALT
    assert FileLegalHoldSalts(folder).read("2") is None
    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_salts_of_others_are_destroyed(tmp_path: Path) -> None:
    """Their bytes are overwritten, too: a second name of the file shows zeros."""
    salts = FileLegalHoldSalts(tmp_path)
    salts.keep_only(())
    salts.keep("1", SALT)
    salts.keep("2", SALT)
    elsewhere = tmp_path.with_name("elsewhere")
    elsewhere.hardlink_to(tmp_path / "1.salt")
    salts.keep_only({"2"})
    assert salts.read("1") is None
    assert salts.read("2") == SALT
    assert elsewhere.read_bytes() == bytes(16)


def test_what_a_kill_left_unfinished_is_destroyed(tmp_path: Path) -> None:
    """A salt that has no name yet is of no legal hold."""
    salts = FileLegalHoldSalts(tmp_path)
    (tmp_path / "1.new").write_bytes(SALT[:3])
    salts.keep_only({"1"})
    assert list(tmp_path.iterdir()) == []


def test_a_cut_salt_is_lost(tmp_path: Path) -> None:
    """It would find nobody, so it counts as none."""
    (tmp_path / "1.salt").write_bytes(SALT[:15])
    assert FileLegalHoldSalts(tmp_path).read("1") is None


def test_a_disk_that_does_not_answer_is_no_missing_salt(tmp_path: Path) -> None:
    """The error says so, of every act."""
    (tmp_path / "1.salt").mkdir()
    salts = FileLegalHoldSalts(tmp_path)
    with pytest.raises(StoreUnavailableError, match="cannot be read"):
        salts.read("1")
    with pytest.raises(StoreUnavailableError, match="cannot be kept"):
        salts.keep("1", SALT)
    with pytest.raises(StoreUnavailableError, match="cannot be destroyed"):
        salts.keep_only(())
