"""Scanners: patterns for secrets and personal data, in linear time."""

from comptroller.adapters.scanner.scanner import RE2Scanner

__all__ = ["RE2Scanner"]
