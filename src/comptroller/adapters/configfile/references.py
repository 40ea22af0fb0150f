"""References between parts of a tree: each must lead to something declared.

This works on the tree and not on the document, so that dangling references are
reported together with everything else that is wrong.
"""

from __future__ import annotations

from typing import Final

from comptroller.adapters.configfile.following import Follower
from comptroller.adapters.configfile.model_references import check_models
from comptroller.adapters.configfile.shape import Path, subject_at
from comptroller.core.problem import Place, Problem
from comptroller.core.tree import Mapping

_OWNER_WORDS: Final = {
    "policy": "policy owner",
    "billing": "billing owner",
    "technical": "technical owner",
}
_AGENT_ONLY: Final = ("operator", "sponsor", "run_budget")
_AGENT_ROLES: Final = {
    "operator": "the person who runs it",
    "sponsor": "the person who wants it and pays for it",
}


def check_references(tree: Mapping) -> list[Problem]:
    """Checks everything that takes more than one place to see."""
    follower = Follower(tree)
    follower.person(("gateway", "owner"), "owner")
    _check_emails(follower)
    check_models(follower)
    _check_thresholds(follower, ("budget",))
    seen: dict[str, tuple[str, Place]] = {}
    for tenant in follower.children(("tenants",)):
        follower.person((*tenant, "owner"), "owner")
        _check_thresholds(follower, (*tenant, "budget"))
        for own in follower.children((*tenant, "provider_credentials")):
            follower.provider_named(str(own[-1]), follower.key_place(own), own)
        for unit in follower.children((*tenant, "units")):
            follower.person((*unit, "owner"), "owner")
            _check_thresholds(follower, (*unit, "budget"))
            for service in follower.children((*unit, "services")):
                _check_unique(follower, service, seen)
                _check_service(follower, service)
    return follower.problems


def _check_emails(follower: Follower) -> None:
    seen: dict[str, tuple[str, Place]] = {}
    for path in follower.children(("people",)):
        tree, email = follower.at((*path, "email")), follower.text((*path, "email"))
        if tree is None or email is None:
            continue
        first = seen.setdefault(email.casefold(), (str(path[-1]), tree.place))
        if first[1] != tree.place:
            follower.say(
                tree.place,
                f'{subject_at(path)} has the same address as person "{first[0]}"',
                f"that one is at {first[1]}; an address is one person's own",
            )


def _check_unique(
    follower: Follower, path: Path, seen: dict[str, tuple[str, Place]]
) -> None:
    name, place = str(path[-1]), follower.key_place(path)
    unit = f"{path[1]}/{path[3]}"
    first_unit, first = seen.setdefault(name, (unit, place))
    if first_unit != unit:
        follower.say(
            place,
            f'service "{name}" is declared twice: in {first_unit} and in {unit}',
            f"the first is at {first}; a service's id is unique in the organization",
        )


def _check_service(follower: Follower, path: Path) -> None:
    for owner, role in _OWNER_WORDS.items():
        follower.person((*path, "owners", owner), role)
    for role in ("operator", "sponsor"):
        follower.person((*path, role), role)
    follower.person((*path, "sandbox", "sponsor"), "sandbox sponsor")
    for exception in follower.children((*path, "exceptions")):
        follower.person((*exception, "approved_by"), f"approver of {exception[-1]}")
    for item in follower.each_once((*path, "escalation")):
        follower.person(item, "escalation to")
    models = set()
    for item in follower.each_once((*path, "models")):
        tree, name = follower.at(item), follower.text(item)
        if tree is not None and name is not None:
            follower.model_named(name, tree.place, path)
            models.add(name)
    for key in ("budget", "credential_budget"):
        _check_thresholds(follower, (*path, key), models)
    _check_agent(follower, path)


def _check_thresholds(
    follower: Follower, budget: Path, models: set[str] | None = None
) -> None:
    """What a budget changes requests to is there, and may be asked for.

    Args:
        follower: of the tree.
        budget: where the budget stands, or may stand.
        models: what the budget's service may ask for; None: it is for several.
    """
    for path in follower.children((*budget, "on_threshold")):
        tree = follower.at(path)
        verb, _, name = (follower.text(path) or "").partition(" ")
        if tree is None or verb != "use" or not name:
            continue
        if not follower.model_named(name, tree.place, path):
            continue
        if models and name not in models:
            follower.say(
                tree.place,
                f'{subject_at(path)} may not ask for "{name}", so it cannot be used '
                f"at {path[-1]}",
                f'add "{name}" to its models: a budget gives no new rights',
            )


def _check_agent(follower: Follower, path: Path) -> None:
    kind = follower.text((*path, "kind"))
    if kind is None:
        return
    if kind == "agent":
        for role in ("operator", "sponsor"):
            if follower.at((*path, role)) is None:
                follower.say(
                    follower.key_place(path),
                    f"{subject_at(path)} is an agent and has no {role}",
                    f'add "{role}: PERSON": {_AGENT_ROLES[role]}',
                )
        return
    for key in _AGENT_ONLY:
        if follower.at((*path, key)) is not None:
            follower.say(
                follower.key_place((*path, key)),
                f'{subject_at(path)}: "{key}" is for agents, and its kind is {kind}',
                f'write "kind: agent", or take "{key}" out',
            )
