"""Wiring of the language of policies; its engine is loaded only where it is used.

A worker imports this and not `bootstrap.policies`, which loads YAML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from comptroller.adapters.policy.language import FaultsError, Language, Wanted
from comptroller.core.policy.expression import Conditions, Expression, OneByOne
from comptroller.core.policy.plain import Lists, PlainSet, set_of
from comptroller.core.policy.rules import Policy, PolicySet


def policy_of(plain: Sequence[PlainSet]) -> Policy:
    """The policy of a bundle that was checked before and handed on as plain values.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: they are of no policy, and
            nothing may be decided by them.
    """
    return Policy.of([policy_set(one) for one in plain], join)


def policy_set(plain: PlainSet) -> PolicySet:
    """One set of such a bundle.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: as `policy_of`.
    """
    return set_of(plain, _compile)


def make_language(lists: Mapping[str, tuple[str, ...]]) -> Language:
    """The language of one file."""
    # 50 MB that a bundle of tables alone does without.
    from comptroller.adapters.policy.cel import CelLanguage

    return CelLanguage(lists)


def join(expressions: Sequence[Expression]) -> Conditions:
    """One evaluation of several conditions."""
    if len(expressions) < 2:
        return OneByOne(expressions)
    from comptroller.adapters.policy.cel import join as fuse

    return fuse(expressions)


def _compile(source: str, lists: Lists, *, is_text: bool) -> Expression:
    wanted = Wanted.TEXT if is_text else Wanted.CONDITION
    try:
        return make_language(lists).compile(source, wanted)
    except FaultsError as error:
        raise ValueError(str(error)) from error
