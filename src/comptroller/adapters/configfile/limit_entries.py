"""Entries for limits: budgets, and limits other than money."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from comptroller.adapters.configfile.entry import Entry
from comptroller.adapters.configfile.fieldtypes import (
    Count,
    LimitText,
    PercentText,
    RateText,
    UseText,
    one_of,
    refuse,
)
from comptroller.core.registry import HOLDS, ON_SHORTFALL


def _as_list(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _as_budget(value: object) -> object:
    return value if isinstance(value, dict) else {"limit": value}


class BudgetEntry(Entry):
    """A limit on money, with when to alert and what to do near the limit."""

    limit: Annotated[
        list[LimitText],
        BeforeValidator(_as_list, json_schema_input_type=LimitText | list[LimitText]),
    ] = Field(
        description=(
            "An amount in a window of time, `1200 USD/month`; windows are hour, day, "
            "week and month, by the organization's calendar. Without a window it is "
            "a total. A list holds several windows, and each of them limits."
        ),
        min_length=1,
    )
    alert_at: list[PercentText] = Field(
        default=[], description="Shares of the limit at which to alert."
    )
    on_shortfall: Annotated[
        str,
        PlainValidator(one_of(ON_SHORTFALL)),
        WithJsonSchema({"enum": list(ON_SHORTFALL)}),
    ] = Field(
        default="refuse",
        description=(
            "What happens to a request that may cost more than is left: `refuse`, or "
            "`clamp` its output to what still fits; refuse unless set."
        ),
    )
    hold: Annotated[
        str, PlainValidator(one_of(HOLDS)), WithJsonSchema({"enum": list(HOLDS)})
    ] = Field(
        default="full",
        description=(
            "What is held before a request is sent: `full`, all that it can cost; or "
            "`progressive`, of a stream its input and a slice of output, extended "
            "while it runs; full unless set."
        ),
    )

    on_threshold: dict[PercentText, UseText] = Field(
        default={},
        description=(
            "Another model for requests once a share of the limit is spent: "
            "`{80%: use cheap-model}`."
        ),
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        windows = [one.window for one in self.limit]
        twice = next((one for one in windows if windows.count(one) > 1), None)
        if twice is not None:
            refuse(f'there are two limits for the window "{twice}"', "keep one of them")
        shares = self.alert_at
        again = next((one for one in shares if shares.count(one) > 1), None)
        if again is not None:
            refuse(f'"{again}%" is twice under alert_at', "keep one of them")
        return self


BudgetField = Annotated[
    BudgetEntry,
    BeforeValidator(
        _as_budget, json_schema_input_type=LimitText | list[LimitText] | BudgetEntry
    ),
]


class SharedLimitsEntry(Entry):
    """Limits other than money on all requests of one kind together."""

    requests: RateText | None = Field(
        default=None, description="Requests in a period: `600/minute`."
    )
    tokens: RateText | None = Field(
        default=None, description="Tokens in a period: `200000/minute`."
    )
    concurrency: Count | None = Field(
        default=None, description="Requests at the same time."
    )


class LimitsEntry(SharedLimitsEntry):
    """Limits other than money."""

    output_tokens: Count | None = Field(
        default=None, description="Tokens that one reply may have."
    )
