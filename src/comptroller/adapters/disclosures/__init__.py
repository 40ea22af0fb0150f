"""The side table of disclosures, and the keys of prompt fingerprints, on disk."""

from comptroller.adapters.disclosures.keys import FilePromptKeys
from comptroller.adapters.disclosures.table import FileDisclosureTable
from comptroller.adapters.disclosures.writer import DisclosureWriter

__all__ = ["DisclosureWriter", "FileDisclosureTable", "FilePromptKeys"]
