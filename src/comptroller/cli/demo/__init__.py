"""`comptroller demo`: everything at once, with a simulated provider."""

from comptroller.cli.demo.command import register

__all__ = ["register"]
