"""One prompt restriction of a policy file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from comptroller.adapters.policy.form import Form
from comptroller.core.policy.prompt import ELSEWHERE, RESTRICTS
from comptroller.core.policy.rules import Mode, PromptRestriction, Selector
from comptroller.core.problem import Place, did_you_mean
from comptroller.core.tree import Listing, Scalar

Patterns: TypeAlias = Callable[[], Sequence[str]]
"""Names every rule that a scanner looks for, such as `secret.github-pat`."""

KEYS: Final = ("id", "for", "mode", *RESTRICTS, "allowed_elsewhere", "message")
_MODES: Final = tuple(mode.value for mode in Mode)
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_LIST: Final = "lists."


class _Word(NamedTuple):
    """One text of a list, and where it stands."""

    text: str
    place: Place


class PromptReader:
    """Reads the prompt restrictions of one file.

    Args:
        lists: of the file, by name.
        patterns: asked only where a restriction names patterns.
    """

    def __init__(
        self, lists: Mapping[str, tuple[str, ...]], patterns: Patterns
    ) -> None:
        self._lists = lists
        self._patterns = patterns

    def read(self, form: Form, id_: str, selector: Selector) -> PromptRestriction:
        """Reads one restriction, and reports what is wrong with it."""
        restriction = PromptRestriction(
            id=id_,
            max_bytes=(
                form.whole("max_bytes", "") or None if form.has("max_bytes") else None
            ),
            required_system_digests=self._digests(form, "required_system_digests"),
            forbidden_system_digests=self._digests(form, "forbidden_system_digests"),
            forbidden_tools=self._names(form, "forbidden_tools"),
            forbidden_builtin_tools=self._names(form, "forbidden_builtin_tools"),
            patterns=self._groups(form),
            models=self._texts(form, "models"),
            allowed_elsewhere=self._elsewhere(form),
            message=form.text("message") or None,
            selector=selector,
            mode=Mode(form.choice("mode", _MODES, "enforce")),
            place=form.place,
        )
        if not any(form.has(key) for key in RESTRICTS):
            hint = f"add one of {', '.join(RESTRICTS)}"
            form.report(form.place, "it restricts nothing", hint)
        return restriction

    def _words(self, form: Form, key: str) -> list[_Word]:
        """The texts of a list, with those of `lists.NAME` in the place of that."""
        tree = form.at(key)
        if tree is None:
            return []
        items = tree.items if isinstance(tree, Listing) else [tree]
        if not items:
            form.report(tree.place, f"{key} is empty", "name some, or take it out")
        places = {one.value: one.place for one in items if isinstance(one, Scalar)}
        words: dict[str, Place] = {}
        for text in form.texts_in(tree, key):
            place = places.get(text, tree.place)
            for one in self._listed(form, key, _Word(text, place)):
                words.setdefault(one, place)
        return [_Word(*one) for one in words.items()]

    def _listed(self, form: Form, key: str, word: _Word) -> tuple[str, ...]:
        if not word.text.startswith(_LIST):
            return (word.text,)
        name = word.text.removeprefix(_LIST)
        if name not in self._lists:
            known = [f"{_LIST}{one}" for one in self._lists]
            hint = did_you_mean(word.text, known, "lists")
            form.report(word.place, f'{key}: there is no "{word.text}"', hint)
            return ()
        if not self._lists[name]:
            form.report(word.place, f'{key}: the list "{name}" is empty')
        return self._lists[name]

    def _texts(self, form: Form, key: str) -> tuple[str, ...]:
        return tuple(word.text for word in self._words(form, key))

    def _names(self, form: Form, key: str) -> tuple[str, ...]:
        words = self._words(form, key)
        for text, place in words:
            if "*" in text[:-1]:
                what = f'{key}: "{text}" has a * that is not at its end'
                form.report(place, what, "only there it stands for any rest")
        return tuple(word.text for word in words)

    def _digests(self, form: Form, key: str) -> tuple[str, ...]:
        found = []
        for text, place in self._words(form, key):
            digest = _DIGEST.fullmatch(text)
            if digest is None:
                hint = 'write "sha256:" and 64 digits in small letters, of sha256sum'
                form.report(place, f'{key}: "{text}" is not a digest', hint)
            else:
                found.append(digest[1])
        return tuple(found)

    def _groups(self, form: Form) -> tuple[str, ...]:
        """Names of patterns; a slip in one would look for nothing."""
        words = self._words(form, "patterns")
        if not words:
            return ()
        rules = self._patterns()
        groups = dict.fromkeys(rule.partition(".")[0] for rule in rules)
        texts = [word.text for word in words]
        for text, place in words:
            group = text.partition(".")[0]
            if text not in groups and text not in rules:
                known = [one for one in rules if one.startswith(f"{group}.")]
                hint = did_you_mean(text, known or groups, "it is one of")
                form.report(place, f'there is no pattern "{text}"', hint)
            elif text != group and group in texts:
                form.report(place, f'"{text}" is in "{group}"', "take it out")
        return tuple(texts)

    def _elsewhere(self, form: Form) -> tuple[str, ...]:
        words = self._words(form, "allowed_elsewhere")
        for text, place in words:
            if text not in ELSEWHERE:
                hint = did_you_mean(text, ELSEWHERE, "it is one of")
                form.report(place, f'"{text}" brings in nothing', hint)
        return tuple(word.text for word in words)
