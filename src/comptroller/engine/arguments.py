"""What people name and say in acts: checked, with what they probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

from comptroller.core.errors import InvalidArgumentError, NotFoundError

REASON_CHARS_MAX: Final = 500
_NAMES_SHOWN: Final = 12


def one_line(text: str, option: str) -> str:
    """A reason on one line.

    Args:
        text: what was said.
        option: how it is said, such as `--reason TEXT`.

    Raises:
        InvalidArgumentError: it is empty or too long.
    """
    why = " ".join(text.split())
    if not 0 < len(why) <= REASON_CHARS_MAX:
        raise InvalidArgumentError(
            f"say why, in at most {REASON_CHARS_MAX} characters: {option}"
        )
    return why


def check_unsaid(value: str, reason: str) -> None:
    """Refuses a reason that repeats a personal value: reasons are kept for good.

    Raises:
        InvalidArgumentError: it does. The message does not.
    """
    if value.casefold() in reason.casefold():
        raise InvalidArgumentError(
            "the reason repeats whom this is about, and reasons are kept: say it"
            " without"
        )


def require(name: str | None, known: Iterable[str], noun: str) -> None:
    """Refuses a name that is not known, with the nearest that is; None passes.

    Raises:
        NotFoundError: there is no such thing.
    """
    names = list(known)
    if name is None or name in names:
        return
    near = difflib.get_close_matches(name, names, n=1)
    hint = ""
    if near:
        hint = f"; did you mean {near[0]}?"
    elif noun == "credential":
        hint = "; comptroller key list shows those there are"
    elif 0 < len(names) <= _NAMES_SHOWN:
        hint = f"; there are: {', '.join(sorted(names))}"
    raise NotFoundError(f"there is no {noun} {name!r}{hint}")
