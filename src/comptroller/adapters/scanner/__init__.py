"""Scanners: patterns for secrets and personal data, in linear time."""

from comptroller.adapters.scanner.scanner import SHORT_SCAN_CPU_S_MAX, RE2Scanner

__all__ = ["SHORT_SCAN_CPU_S_MAX", "RE2Scanner"]
