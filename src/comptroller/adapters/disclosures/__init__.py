"""The side table of disclosures, and the keys and salts beside it, on disk."""

from comptroller.adapters.disclosures.keys import FilePromptKeys
from comptroller.adapters.disclosures.salts import FileLegalHoldSalts
from comptroller.adapters.disclosures.table import FileDisclosureTable
from comptroller.adapters.disclosures.writer import DisclosureWriter

__all__ = [
    "DisclosureWriter",
    "FileDisclosureTable",
    "FileLegalHoldSalts",
    "FilePromptKeys",
]
