"""The wiring: the only room that knows which adapter stands behind which port.

Every process of ours begins here and loads only what it needs, so some imports
stand inside functions: a worker never loads the store, `--help` loads neither.
"""

from __future__ import annotations

from comptroller.bootstrap.administering import (
    applied_registry,
    await_workers,
    budget_warnings,
    credential_list,
    credential_warnings,
    open_administrator,
    open_budgeting,
    open_control_auditing,
    open_reporting,
    open_reports,
    price_warnings,
)
from comptroller.bootstrap.disclosing import open_personal_data
from comptroller.bootstrap.place import Place
from comptroller.bootstrap.readings import record_reading

__all__ = [
    "Place",
    "applied_registry",
    "await_workers",
    "budget_warnings",
    "credential_list",
    "credential_warnings",
    "open_administrator",
    "open_budgeting",
    "open_control_auditing",
    "open_personal_data",
    "open_reporting",
    "open_reports",
    "price_warnings",
    "record_reading",
]
