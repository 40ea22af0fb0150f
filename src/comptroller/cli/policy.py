"""`comptroller policy check`, `test` and `diff`: bundles before they are published."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from comptroller.cli import bundles, options, policy_life, policy_replay
from comptroller.cli.tables import json_text, printable

if TYPE_CHECKING:
    from comptroller.core.policy.bundle import Bundle
    from comptroller.core.policy.decide import PolicyDecision
    from comptroller.core.policy.rules import Policy
    from comptroller.engine.policy_testing import (
        Asked,
        Change,
        DiffReport,
        TestReport,
        Verdict,
    )

_CHANGES_SHOWN: Final = 50


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    policy = typer.Typer(
        help="Check, test, compare, publish and activate policy bundles.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    policy.command("check")(check)
    policy.command("test")(run_tests)
    policy.command("diff")(diff)
    policy_replay.register(policy)
    policy_life.register(policy)
    app.add_typer(policy, name="policy")


def check(paths: bundles.Paths = None, *, as_json: options.Json = False) -> None:
    """Check a bundle: every problem with file, line and caret."""
    bundle = bundles.read(paths)
    if as_json:
        _print_json(bundles.described(bundle))
    elif bundle.policy is None:
        bundles.print_problems(bundle, err=False)
    else:
        typer.echo(f"{', '.join(bundle.files)}: valid ({_contents(bundle.policy)})")
        typer.echo(f"revision {bundle.revision}")
    if bundle.policy is None:
        raise typer.Exit(1)


def run_tests(
    paths: bundles.Paths = None,
    *,
    cover: Annotated[
        bool, typer.Option("--cover", help="Fail when a part is never hit.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Run the tests of a bundle; name what none of them hits."""
    from comptroller.engine.policy_testing import run_cases

    bundle = bundles.valid(bundles.read(paths), as_json=as_json)
    report = run_cases(bundle)
    if as_json:
        _print_json(_test_document(bundle, report))
    else:
        _print_report(bundle, report)
    is_short = cover and report.never_hit
    if report.failed or not report.verdicts or is_short:
        raise typer.Exit(1)


def diff(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", help="A bundle.")],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="The other bundle.")],
    facts: Annotated[
        Path | None,
        typer.Option(
            "--facts",
            metavar="FILE",
            help="Recorded facts to decide, one JSON document a line;"
            " unless given, those of both bundles' tests.",
        ),
    ] = None,
    replay: policy_replay.Replay = None,
    data: options.Data = options.DATA_DEFAULT,
    *,
    by: options.Reader = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 when a decision changes.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Show which decisions change from one bundle to another."""
    from comptroller.core.errors import InvalidArgumentError
    from comptroller.engine.policy_testing import diff as compare

    read = [
        bundles.valid(bundles.read([path]), as_json=as_json) for path in (before, after)
    ]
    old, new = (bundle.policy for bundle in read)
    if old is None or new is None:
        raise typer.Exit(1)
    if replay is not None:
        if facts is not None:
            raise InvalidArgumentError("--facts and --replay: name one of them")
        reader = policy_replay.Reader(data, "policy diff", by)
        found = policy_replay.replayed_diff(old.sets, new.sets, replay, reader)
        policy_replay.print_what_if(found, as_json=as_json)
        if exit_code and (found.changed or found.undecidable):
            raise typer.Exit(1)
        return
    report = compare(old, new, _requests(facts, read))
    if as_json:
        revisions = [bundle.revision for bundle in read]
        _print_json(_diff_document(report, revisions))
    else:
        _print_diff(report)
    if exit_code and report.changes:
        raise typer.Exit(1)


def _requests(facts: Path | None, read: list[Bundle]) -> list[Asked]:
    from comptroller.bootstrap.policies import read_facts
    from comptroller.engine.policy_testing import corpus_of

    if facts is not None:
        return read_facts(facts)
    return corpus_of([case for bundle in read for case in bundle.cases])


def _print_report(bundle: Bundle, report: TestReport) -> None:
    for verdict in report.failed:
        case = verdict.case
        typer.echo(f"{case.place}: failed: {printable(case.name)}")
        for missed in verdict.missed:
            typer.echo(f"  {printable(missed)}")
    hit = len(report.ids) - len(report.never_hit)
    if not report.verdicts:
        typer.echo("There are no tests: write some in a *.policy_test.yaml file.")
    typer.echo(
        f"{report.passed_count} passed, {len(report.failed)} failed;"
        f" {hit} of {len(report.ids)} parts hit"
    )
    if report.never_hit:
        typer.echo(f"never hit: {', '.join(report.never_hit)}")
    typer.echo(f"revision {bundle.revision}")


def _print_diff(report: DiffReport) -> None:
    for sign, ids in (("+", report.added), ("-", report.removed)):
        for id_ in ids:
            typer.echo(f"{sign} {id_}")
    for change in report.changes[:_CHANGES_SHOWN]:
        name, tenant = printable(change.name), printable(change.tenant)
        typer.echo(f"{_words(change)}: {name} ({tenant})")
        typer.echo(f"  before: {_said(change.before)}")
        typer.echo(f"  after:  {_said(change.after)}")
    hidden = len(report.changes) - _CHANGES_SHOWN
    if hidden > 0:
        typer.echo(f"… and {hidden} more; --json lists all")
    for (tenant, words), count in _counted(report).items():
        typer.echo(f"{printable(tenant)}: {count} {words}")
    typer.echo(f"{len(report.changes)} of {report.asked_count} decisions change.")


def _counted(report: DiffReport) -> dict[tuple[str, str], int]:
    """How many decisions change, by tenant and kind of change, in their order."""
    counted = Counter((one.tenant, _words(one)) for one in report.changes)
    return dict(sorted(counted.items()))


def _words(change: Change) -> str:
    if change.before.effect is change.after.effect:
        return "otherwise"
    return "newly denied" if change.after.effect == "deny" else "newly allowed"


def _said(decision: PolicyDecision) -> str:
    parts = [f"{decision.effect.value} by {', '.join(decision.by)}"]
    if decision.would_deny:
        parts.append(f"would deny: {', '.join(decision.would_deny)}")
    if decision.warnings:
        parts.append(f"warns: {', '.join(decision.warnings)}")
    if decision.max_output_tokens is not None:
        parts.append(f"at most {decision.max_output_tokens} output tokens")
    return "; ".join(parts)


def _test_document(bundle: Bundle, report: TestReport) -> dict[str, Any]:
    return {
        "revision": bundle.revision,
        "passed": report.passed_count,
        "failed": len(report.failed),
        "never_hit": list(report.never_hit),
        "tests": [_verdict_document(one) for one in report.verdicts],
    }


def _verdict_document(verdict: Verdict) -> dict[str, Any]:
    return {
        "name": verdict.case.name,
        "place": str(verdict.case.place),
        "passed": not verdict.missed,
        "missed": list(verdict.missed),
        "decision": _decision_document(verdict.decision),
    }


def _diff_document(report: DiffReport, revisions: list[str]) -> dict[str, Any]:
    return {
        "before": revisions[0],
        "after": revisions[1],
        "decided": report.asked_count,
        "added": list(report.added),
        "removed": list(report.removed),
        "changes": [
            {
                "name": one.name,
                "tenant": one.tenant,
                "before": _decision_document(one.before),
                "after": _decision_document(one.after),
            }
            for one in report.changes
        ],
    }


def _decision_document(decision: PolicyDecision) -> dict[str, Any]:
    return {
        "decision": decision.effect.value,
        "by": list(decision.by),
        "would_deny": list(decision.would_deny),
        "warnings": list(decision.warnings),
        "max_output_tokens": decision.max_output_tokens,
        "clamped": decision.is_clamped,
        "message": decision.message,
        "errors": list(decision.errors),
    }


def _contents(policy: Policy) -> str:
    rules = sum(len(group.rules) for group in policy.groups)
    counted = {
        "policy set": len(policy.sets),
        "allow table": len(policy.allow),
        "ceiling": len(policy.ceilings),
        "environment table": len(policy.environments),
        "rule": rules,
        "prompt restriction": len(policy.prompts),
    }
    return ", ".join(
        f"{count} {name}{'s' if count != 1 else ''}" for name, count in counted.items()
    )


def _print_json(document: dict[str, Any]) -> None:
    typer.echo(json_text(document, indent=2))
