"""Journals: one append-only file of records a process (design.md §2, §6)."""
