"""What holds for every test."""

from __future__ import annotations

import pytest

from comptroller.bootstrap.compiled import compiled_modules, refuse_stale
from comptroller.core.errors import ConfigurationError


def pytest_configure() -> None:
    """Tests must run what is written: a stale compiled module ends the run."""
    try:
        refuse_stale()
    except ConfigurationError as error:
        raise pytest.UsageError(error.message) from error


def pytest_report_header() -> str:
    """Which code runs."""
    compiled = len(compiled_modules())
    how = f"{compiled} modules compiled" if compiled else "plain Python"
    return f"request path: {how}"
