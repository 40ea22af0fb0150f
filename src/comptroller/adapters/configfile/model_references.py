"""References of models: to their providers, and of names to them."""

from __future__ import annotations

from comptroller.adapters.configfile.following import Follower
from comptroller.adapters.configfile.shape import Path, subject_at
from comptroller.core.problem import Place
from comptroller.core.registry import DIALECT_PREFIXES
from comptroller.core.tree import Listing, Mapping, Scalar


def check_models(follower: Follower) -> None:
    """Checks where each model runs, and by which names it is asked for."""
    seen: dict[str, tuple[str, Place]] = {}
    for model in follower.children(("models",)):
        if not isinstance(follower.at(model), Mapping):
            continue
        _check_where(follower, model)
        _check_deployments(follower, model)
        _check_aliases(follower, model, seen)
        follower.each_once((*model, "environments"))


def _check_where(follower: Follower, model: Path) -> None:
    """A model names its provider, or several deployments."""
    follower.provider((*model, "provider"))
    subject = subject_at(model)
    is_spread = follower.at((*model, "deployments")) is not None
    if not is_spread:
        if follower.at((*model, "provider")) is None:
            follower.say(
                follower.key_place(model),
                f"{subject} has no provider",
                'add "provider: …": the provider that runs it, or "deployments: […]"',
            )
        return
    for key in ("provider", "upstream"):
        if follower.at((*model, key)) is not None:
            follower.say(
                follower.key_place((*model, key)),
                f'{subject}: "{key}" stands beside "deployments"',
                "write it in each item of deployments",
            )


def _check_deployments(follower: Follower, model: Path) -> None:
    subject, path = subject_at(model), (*model, "deployments")
    seen: set[tuple[str, str]] = set()
    for item in follower.items(path):
        follower.provider((*item, "provider"))
        provider = follower.text((*item, "provider"))
        upstream = follower.text((*item, "upstream")) or str(model[-1])
        tree = follower.at(item)
        if provider is None or tree is None:
            continue
        if (provider, upstream) in seen:
            follower.say(
                tree.place,
                f'{subject}: "{upstream}" of {provider} is twice under deployments',
                "name it once, with the weight that it is to have",
            )
        seen.add((provider, upstream))
    _check_dialects(follower, path, list(dict.fromkeys(one for one, _ in seen)))


def _check_dialects(follower: Follower, path: Path, providers: list[str]) -> None:
    """Callers speak one dialect, and each deployment may have to answer them."""
    spoken = {one: _dialects(follower, one) for one in sorted(providers)}
    known = [one for one in spoken.values() if one is not None]
    if not known or len(known) < len(spoken) or set.intersection(*known):
        return
    said = "; ".join(
        f"{name} speaks {', '.join(sorted(one or ()))}" for name, one in spoken.items()
    )
    follower.say(
        follower.key_place(path),
        f"{subject_at(path)}: its deployments share no dialect",
        f"{said}: make one model of each, or name providers that speak the same",
    )


def _dialects(follower: Follower, provider: str) -> set[str] | None:
    """What a provider speaks; None where that cannot be known."""
    spoken: set[str] = set()
    match follower.at(("providers", provider, "speaks")):
        case Mapping(entries=entries):
            spoken = set(entries)
        case Listing(items=items):
            spoken = {str(one.value) for one in items if isinstance(one, Scalar)}
        case _:
            pass
    return spoken if spoken and spoken <= DIALECT_PREFIXES.keys() else None


def _check_aliases(
    follower: Follower, model: Path, seen: dict[str, tuple[str, Place]]
) -> None:
    """A name leads to one model, whether it is an id or an alias."""
    name, subject = str(model[-1]), subject_at(model)
    for item in follower.each_once((*model, "aliases")):
        alias, tree = follower.text(item), follower.at(item)
        if alias is None or tree is None:
            continue
        other, first = seen.setdefault(alias, (name, tree.place))
        if alias == name:
            what = f'{subject}: the alias "{alias}" is its own id'
            follower.say(tree.place, what, "take it out")
        elif follower.models is not None and alias in follower.models:
            follower.say(
                tree.place,
                f'{subject}: the alias "{alias}" is the id of another model',
                f"that one is at {follower.key_place(('models', alias))}; a name "
                "leads to one model",
            )
        elif other != name:
            follower.say(
                tree.place,
                f'{subject}: the alias "{alias}" is one of model "{other}", too',
                f"the first is at {first}; a name leads to one model",
            )
