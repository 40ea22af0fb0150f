"""`comptroller policy check`, `test` and `diff`: bundles before they are published."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from comptroller.cli import options, policy_life
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

PATH_DEFAULT: Final = Path("policy")
_CHANGES_SHOWN: Final = 50

Paths: TypeAlias = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="PATH",
        help="Files *.policy.yaml and *.policy_test.yaml, or folders of them."
        " [default: policy]",
        show_default=False,
    ),
]


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
    policy_life.register(policy)
    app.add_typer(policy, name="policy")


def check(paths: Paths = None, *, as_json: options.Json = False) -> None:
    """Check a bundle: every problem with file, line and caret."""
    bundle = _read(paths)
    if as_json:
        _print_json(_described(bundle))
    elif bundle.policy is None:
        _print_problems(bundle, err=False)
    else:
        typer.echo(f"{', '.join(bundle.files)}: valid ({_contents(bundle.policy)})")
        typer.echo(f"revision {bundle.revision}")
    if bundle.policy is None:
        raise typer.Exit(1)


def run_tests(
    paths: Paths = None,
    *,
    cover: Annotated[
        bool, typer.Option("--cover", help="Fail when a part is never hit.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Run the tests of a bundle; name what none of them hits."""
    from comptroller.engine.policy_testing import run_cases

    bundle = _valid(_read(paths), as_json=as_json)
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
    *,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 when a decision changes.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Show which decisions change from one bundle to another."""
    from comptroller.engine.policy_testing import diff as compare

    bundles = [_valid(_read([path]), as_json=as_json) for path in (before, after)]
    old, new = (bundle.policy for bundle in bundles)
    if old is None or new is None:
        raise typer.Exit(1)
    report = compare(old, new, _requests(facts, bundles))
    if as_json:
        revisions = [bundle.revision for bundle in bundles]
        _print_json(_diff_document(report, revisions))
    else:
        _print_diff(report)
    if exit_code and report.changes:
        raise typer.Exit(1)


def _read(paths: list[Path] | None) -> Bundle:
    from comptroller.bootstrap.policies import read_bundle

    return read_bundle(paths or [PATH_DEFAULT])


def _valid(bundle: Bundle, *, as_json: bool) -> Bundle:
    """The bundle, if it has no problems; else says them and exits."""
    if bundle.policy is not None:
        return bundle
    if as_json:
        message = "\n".join(str(one) for one in bundle.problems)
        problems = _described(bundle)["problems"]
        error = {"code": "policy_invalid", "message": message, "problems": problems}
        typer.echo(json_text({"error": error}), err=True)
    else:
        _print_problems(bundle, err=True)
    raise typer.Exit(1)


def _requests(facts: Path | None, bundles: list[Bundle]) -> list[Asked]:
    from comptroller.bootstrap.policies import read_facts
    from comptroller.engine.policy_testing import corpus_of

    if facts is not None:
        return read_facts(facts)
    return corpus_of([case for bundle in bundles for case in bundle.cases])


def _print_problems(bundle: Bundle, *, err: bool) -> None:
    for problem in bundle.problems:
        typer.echo(str(problem), err=err)
    count = len(bundle.problems)
    typer.echo(f"{count} problem{'s' if count != 1 else ''}.", err=err)


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


def _described(bundle: Bundle) -> dict[str, Any]:
    return {
        "valid": bundle.policy is not None,
        "files": list(bundle.files),
        "revision": bundle.revision,
        "problems": [
            {**one.as_dict(), "excerpt": one.excerpt[0] if one.excerpt else None}
            for one in bundle.problems
        ],
    }


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
