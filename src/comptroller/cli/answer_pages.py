"""The pages that people read: answers as rows and lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import typer

from comptroller.cli.tables import Column, plain, printable
from comptroller.core.money import usd
from comptroller.core.usage import GENERATED_CLASSES, PROMPT_CLASSES, total
from comptroller.engine.explanation import Document

Table = tuple[list[Column], list[list[str]]]

_ROLES: Final = {
    "person": "credential of",
    "policy_owner": "policy owner",
    "billing_owner": "billing owner",
    "technical_owner": "technical owner",
    "unit_owner": "unit owner",
    "gateway_owner": "gateway owner",
    "operator": "operator",
    "sponsor": "sponsor",
}
_NOT_APPLIED: Final = {
    "not_applicable": "nothing of the kind is declared, or an earlier control decided",
    "disabled": "no policy was active",
}
_LABEL_WIDTH: Final = 18
_PICO_PER_USD: Final = 10**12


def spend_rows(by: str, spent: Sequence[Document]) -> Table:
    """Columns and rows of `spend`, with a line for the sum."""
    columns = [
        Column(by.upper(), may_shrink=True),
        Column("REQUESTS", is_number=True),
        Column("TOKENS IN", is_number=True),
        Column("TOKENS OUT", is_number=True),
        Column("USD", is_number=True),
    ]
    rows = [[_spender(row), *_figures([row])] for row in spent]
    return columns, [*rows, ["total", *_figures(spent)]]


def request_rows(listed: Sequence[Document]) -> Table:
    """Columns and rows of `requests`."""
    columns = [
        Column("TIME (UTC)"),
        Column("REQUEST"),
        Column("SERVICE", may_shrink=True),
        Column("MODEL", may_shrink=True),
        Column("STATE", may_shrink=True),
        Column("TOKENS", is_number=True, may_give_way=True),
        Column("USD", is_number=True),
    ]
    rows = [
        [
            row["time"][5:19].replace("T", " "),
            row["request_id"],
            row["service"],
            row["model_answered"] or row["model"] or "-",
            _state(row),
            f"{sum(_tokens(row)):,}",
            usd(row["cost_nano_usd"]),
        ]
        for row in listed
    ]
    return columns, rows


def explain_lines(found: Document) -> Iterator[str]:
    """The page of `explain`."""
    yield from _summary(found)
    yield from _who(found)
    yield from _what(found)
    yield from _money(found)
    yield from _controls(found)
    yield from _records(found)
    yield from _proof(found["proof"], is_refused=found["state"] == "refused")


def _summary(found: Document) -> Iterator[str]:
    yield typer.style(f"Request {found['request_id']}", bold=True)
    yield _fact("decided", f"{found['time']}  {found['decision']} ({found['reason']})")
    took = found["duration_us"]
    duration = "" if took is None else f", {took / 1000:,.1f} ms"
    yield _fact("state", f"{found['state']}{_how_it_ended(found)}{duration}")
    yield _fact("route", found["route"])


def _who(found: Document) -> Iterator[str]:
    yield _heading("Who answers for it")
    path = (found["tenant"], found["unit"], found["service"])
    data = found["records"]["decision"]["data"]
    kind = data["comptroller.service.kind"]
    environment = data["deployment.environment.name"]
    yield _fact("service", f"{' / '.join(path)}  ({kind}, {environment})")
    yield _fact("credential", found["credential_id"])
    if found["run"] is not None:
        yield _fact("run", found["run"])
    for role, label in _ROLES.items():
        person = found["people"][role]
        if person is not None:
            yield _fact(label, _person(person))


def _what(found: Document) -> Iterator[str]:
    model = found["model"]
    yield _heading("Model and tokens")
    asked = model["asked"] or "-"
    upstream = model["upstream"]
    at = f" (as {upstream})" if upstream not in {None, asked} else ""
    provider = f" of {model['provider']}" if model["provider"] else ""
    yield _fact("asked", f"{asked}{at}{provider}")
    if model["downgraded"]:
        yield _fact("", _downgrade(model["downgraded"]))
    if found["attempts"]:
        yield _fact("attempts", _chain(found["attempts"]))
    yield _fact("answered", model["answered"] or "-")
    if model["service_tier"]:
        yield _fact("service tier", model["service_tier"])
    for name, count in found["usage"].items():
        yield _fact(name, f"{count:,}")
    yield _fact("source", found["usage_source"] or "-")


def _chain(earlier: Sequence[Document]) -> str:
    """The attempts before this one, in words."""
    failed = [
        f"attempt {one['number']} at {one['provider']} failed"
        f" ({one['failed_with'] or 'without an end'}, {one['request_id']}); "
        for one in earlier
    ]
    return f"{''.join(failed)}this is attempt {len(earlier) + 1}"


def _downgrade(said: Document) -> str:
    return (
        f"{said['to']} instead of {said['from']}: {said['percent']}% of"
        f" {said['account']} were spent"
    )


def _money(found: Document) -> Iterator[str]:
    cost, hold = found["cost"], found["hold"]
    yield _heading("Cost")
    yield _fact("cost", f"{usd(cost['nano_usd'], 9)} USD")
    if cost["note"]:
        yield _fact("", cost["note"])
    if found["state"] == "refused":
        yield _fact("", "refused before it was forwarded: nothing was held or spent")
        yield from _lack(found["lack"])
        return
    yield _fact("rate card", cost["rate_card"] or "-")
    if cost["lines"]:
        yield from (f"    {line}" for line in plain(*_calculation(cost["lines"])))
    if cost["agrees"] is False:
        yield _fact("", "DOES NOT AGREE with the rate card: look into this")
    exceeded = "; EXCEEDED by the cost" if hold["exceeded"] else ""
    yield _fact("held before", f"{usd(hold['nano_usd'], 9)} USD{exceeded}")
    yield _fact(
        "hold covers",
        f"{hold['input_tokens']:,} tokens in, {hold['output_tokens']:,} out",
    )
    for one in hold["accounts"]:
        is_money = "nano_usd" in one
        held = f"{usd(one['nano_usd'], 9)} USD" if is_money else "1 request"
        yield _fact("held on", f"{one['account']}  {held}")


def _lack(lack: Document | None) -> Iterator[str]:
    """The limit that refused it, as it stood at that moment."""
    if lack is None:
        return
    is_money = lack["unit"] == "nano_usd"
    yield _fact("for want of room", lack["account"])
    for name in ("limit", "spent", "held", "suspense", "left", "needed", "short"):
        amount = lack[name]
        shown = f"{usd(amount, 9)} USD" if is_money else f"{amount:,} at the same time"
        yield _fact(f"  {name}", shown)
    yield _fact("  resets", lack["resets"] or "never")


def _calculation(lines: Sequence[Document]) -> Table:
    columns = [
        Column("class"),
        Column("count", is_number=True),
        Column("USD per million", is_number=True),
        Column("USD", is_number=True),
        Column("price of"),
    ]
    rows = [
        [
            line["usage_class"],
            f"{line['units']:,}",
            _decimal(line["rate_pico_usd"], 6),
            _decimal(line["amount_pico_usd"], 12),
            _price_of(line),
        ]
        for line in lines
    ]
    return columns, rows


def _price_of(line: Document) -> str:
    stands_in = line["rate_class"] != line["usage_class"]
    which = f", as {line['rate_class']}" if stands_in else ""
    return f"{line['model']} ({line['price']}{which})"


def _controls(found: Document) -> Iterator[str]:
    yield _heading("Controls")
    columns = [
        Column("control"),
        Column("outcome"),
        Column("observed", is_number=True),
        Column("limit", is_number=True),
        Column("version"),
    ]
    rows = [
        [
            control["id"],
            control["outcome"],
            _bare(control["observed"]),
            _bare(control["limit"]),
            control["version"],
        ]
        for control in found["controls"]
    ]
    yield from (f"  {line}" for line in plain(columns, rows))
    outcomes = {control["outcome"] for control in found["controls"]}
    yield from (
        f"  {outcome}: {meaning}"
        for outcome, meaning in _NOT_APPLIED.items()
        if outcome in outcomes
    )


def _records(found: Document) -> Iterator[str]:
    yield _heading("Records")
    yield _fact("registry", f"revision {found['registry_revision']}")
    for role in ("decision", "end"):
        record = found["records"][role]
        if record is None:
            is_refused = found["state"] == "refused"
            yield _fact(role, "the decision itself" if is_refused else "none yet")
            continue
        yield _fact(role, f"{record['source']} at byte {record['offset']}")
        yield f"  {printable(record['line'])}"


def _proof(proof: Document | None, *, is_refused: bool) -> Iterator[str]:
    """Where the records are in the trail."""
    yield _heading("Proof")
    if proof is None:
        yield _fact("trail", "no checkpoint is published yet: see audit sequence")
        return
    if proof["problem"]:
        yield _fact("trail", f"DAMAGED, see audit verify: {proof['problem']}")
    # A refused request ends with its decision.
    for role in ("decision",) if is_refused else ("decision", "end"):
        index = proof[role]
        in_no = "not in the checkpoint below"
        yield _fact(role, in_no if index is None else f"record {index} of the trail")
    at = proof["checkpoint"]
    if at is not None:
        size = f"{at['size']} records of {at['origin']}"
        yield _fact("checkpoint", f"{size}, published {at['time']}")
        yield from _witnesses(proof)


def _witnesses(proof: Document) -> Iterator[str]:
    """Who signed the trail, too, and which of the records are in what they signed."""
    for one in proof["cosigned"]:
        known = [role for role in ("decision", "end") if proof[role] is not None]
        within = [role for role in known if proof[role] < one["size"]]
        said = f"signed {one['size']} records at {one['time']}"
        which = f"with the {' and the '.join(within)}" if within else "before these"
        yield _fact("witness", f"{one['witness']} {said}, {which}")
    if proof["cosigned"]:
        yield _fact("strength", proof["strength"])
    else:
        unverified = ", ".join(proof["witnesses"]) or "none"
        yield _fact("witness", f"{unverified} ({proof['strength']})")


def _state(row: Document) -> str:
    """Why it was refused, else its state, and whether its figures are estimated."""
    state: str = row["reason"] if row["state"] == "refused" else row["state"]
    return f"{state} (estimated)" if row["usage_source"] == "estimated" else state


def _how_it_ended(found: Document) -> str:
    """The outcome that the end's record states, such as ` (completed, HTTP 200)`."""
    end = found["records"]["end"]
    if end is None:
        return ""
    data = end["data"]
    how = [data[key] for key in ("outcome", "reason") if data.get(key)]
    status = data.get("http.response.status_code")
    how += [f"HTTP {status}"] if status else []
    return f" ({', '.join(how)})" if how else ""


def _spender(row: Document) -> str:
    name: str | None = row.get("name")
    key: str = row["key"] or "-"
    return f"{key} ({name})" if name else key


def _figures(rows: Sequence[Document]) -> list[str]:
    tokens = [_tokens(row) for row in rows]
    return [
        f"{sum(row['requests'] for row in rows):,}",
        f"{sum(prompt for prompt, _ in tokens):,}",
        f"{sum(generated for _, generated in tokens):,}",
        usd(sum(row["cost_nano_usd"] for row in rows)),
    ]


def _tokens(row: Document) -> tuple[int, int]:
    usage = row["usage"]
    return total(usage, PROMPT_CLASSES), total(usage, GENERATED_CLASSES)


def _person(person: Document) -> str:
    if person["name"] is None:
        return f"{person['id']} (no longer declared)"
    return f"{person['name']} <{person['email']}>  ({person['id']})"


def _bare(value: str | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else value


def _decimal(amount: int, places: int) -> str:
    """Writes a whole number of the smallest unit with so many decimal places."""
    whole, fraction = divmod(amount, 10**places)
    digits = f"{fraction:0{places}d}".rstrip("0")
    return f"{whole:,}.{digits.ljust(2, '0')}"


def _heading(text: str) -> str:
    return "\n" + typer.style(text, bold=True)


def _fact(label: str, value: str) -> str:
    return f"  {label:<{_LABEL_WIDTH}}{printable(value)}"
