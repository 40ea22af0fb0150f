"""The scanner: RE2 over a prompt's bytes, in time linear in them.

Nearly no prompt holds a secret, so most of the work is to find that out: one pass
for the marks that every secret of a rule has, one for the forms of personal data.
Only the rules whose mark is there search by themselves. RE2 is loaded, and its
expressions compiled, when the first prompt is scanned.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from importlib import resources
from typing import Any, Final, NamedTuple

from comptroller.adapters.scanner.personal import EMAIL, FORMS, SEPARATORS, Form
from comptroller.core.errors import ScanLimitError
from comptroller.core.policy.prompt import Match, Place, PromptText

SCAN_BYTES_MAX: Final = 1024 * 1024
"""Text of one prompt, in UTF-8; the largest recorded one has 256 kB."""

SCAN_CPU_S_MAX: Final = 0.1
"""What one prompt may cost; 220 kB of a conversation cost 0.6 ms."""

SHORT_SCAN_CPU_S_MAX: Final = 0.002
"""What one may cost where everybody else waits meanwhile."""

THIRDS: Final = ("first", "middle", "last")

_RULES: Final = "secret_rules.tsv"
_BETWEEN: Final = b"\n\0\n"
"""No rule reaches from one place into the next."""


class _Rule(NamedTuple):
    """A secret's form, compiled when its mark is first seen."""

    name: str
    expression: bytes
    entropy: float
    """At least so many bits per character; what has fewer is an example."""


class _Span(NamedTuple):
    """A third of a place's text, within all the text."""

    start: int
    end: int
    offset_class: str


class RE2Scanner:
    """Looks for secrets and personal data.

    Satisfies `engine.scanning.PromptScanner`. One may be used by several threads; RE2
    lets others run while it searches.

    Args:
        scan_bytes_max: more text than that is refused, not scanned in part.
        cpu_s_max: after so much of its thread's time a scan is refused.
        cpu_s: the thread's own time, in seconds.
    """

    def __init__(
        self,
        *,
        scan_bytes_max: int = SCAN_BYTES_MAX,
        cpu_s_max: float = SCAN_CPU_S_MAX,
        cpu_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self._bytes_max = scan_bytes_max
        self._cpu_s_max = cpu_s_max
        self._cpu_s = cpu_s

    @property
    def rules(self) -> tuple[str, ...]:
        """Every rule, sorted; those of personal data have no file to be read from."""
        secrets = [f"secret.{rule.name}" for rule, _ in _secret_rules()]
        personal = [f"personal.{form.rule}" for form in (*FORMS, EMAIL)]
        return tuple(sorted(secrets + personal))

    def scan(self, texts: Iterable[PromptText]) -> list[Match]:
        """Finds which rules match, and in which third of whose text.

        Args:
            texts: of a prompt; each place once.

        Returns:
            Each rule and offset class once, in no particular order.

        Raises:
            ScanLimitError: there is too much text, or it takes too long.
        """
        data, spans = _joined(texts)
        if len(data) > self._bytes_max:
            raise ScanLimitError(
                f"a prompt of {len(data):,} bytes is more than the "
                f"{self._bytes_max:,} that are scanned"
            )
        compiled = _compiled()
        hunt = _Hunt(data, spans, self._cpu_s, self._cpu_s() + self._cpu_s_max)
        found: list[Match] = []
        for rule in compiled.rules_in(data):
            found += hunt.matches(
                f"secret.{rule.name}",
                _expression(rule.expression),
                partial(_is_random, rule),
            )
        for form in compiled.forms_in(data):
            found += hunt.matches(
                f"personal.{form.rule}",
                _expression(form.expression.encode()),
                partial(_is_credible, form),
            )
        return found


class _Hunt:
    """One prompt's search: where it is, and how much time it has."""

    def __init__(
        self,
        data: bytes,
        spans: Sequence[_Span],
        cpu_s: Callable[[], float],
        until_s: float,
    ) -> None:
        self._data = data
        self._spans = spans
        self._cpu_s = cpu_s
        self._until_s = until_s

    def matches(
        self,
        rule: str,
        expression: Any,  # noqa: ANN401  untyped
        is_valid: Callable[[Any], bool],
    ) -> Iterator[Match]:
        """The offset classes in which a rule matches, each of them once."""
        self._look_at_the_clock()
        spans = iter(self._spans)
        span = next(spans)
        position = 0
        while (match := expression.search(self._data, position)) is not None:
            while match.start() >= span.end:
                span = next(spans)
            if is_valid(match):
                yield Match(rule, span.offset_class)
                # One is enough; what begins in this third may end in the next.
                position = max(match.end(), span.end)
            else:
                # What is wrong may have the beginning of something right in it.
                position = match.start() + 1
            self._look_at_the_clock()

    def _look_at_the_clock(self) -> None:
        """Ends a search that has had its time."""
        if self._cpu_s() > self._until_s:
            raise ScanLimitError("the prompt takes too long to be scanned")


class _Compiled:
    """The two passes over every prompt, and what they lead to."""

    def __init__(self, engine: Any) -> None:  # noqa: ANN401  untyped
        rules = _secret_rules()
        self._by_mark: list[_Rule] = []
        self._marks = engine.Set.SearchSet(_options(engine))
        for rule, marks in rules:
            for mark in marks:
                self._marks.Add(engine.escape(mark))
                self._by_mark.append(rule)
        self._marks.Compile()
        self._forms = engine.compile(
            "|".join(form.expression for form in FORMS).encode(), _options(engine)
        )
        # A set that has too little memory matches nothing, and says so only in a log.
        everything = b" ".join(m.encode() for _, marks in rules for m in marks)
        if len(self._marks.Match(everything) or ()) != len(self._by_mark):
            raise ScanLimitError("the patterns for secrets could not be compiled")

    def rules_in(self, data: bytes) -> Iterable[_Rule]:
        """The rules of which a mark is in the text."""
        found = self._marks.Match(data) or ()
        return dict.fromkeys(self._by_mark[index] for index in found)

    def forms_in(self, data: bytes) -> list[Form]:
        """The forms of personal data that may be in the text."""
        found = list(FORMS) if self._forms.search(data) is not None else []
        return [*found, EMAIL] if b"@" in data else found


@cache
def _compiled() -> _Compiled:
    return _Compiled(_engine())


@cache
def _expression(expression: bytes) -> Any:  # noqa: ANN401  untyped
    engine = _engine()
    return engine.compile(expression, _options(engine))


def _engine() -> Any:  # noqa: ANN401  untyped
    import re2  # noqa: PLC0415  a worker without such a policy never loads it

    return re2


def _options(engine: Any) -> Any:  # noqa: ANN401  untyped
    options = engine.Options()
    # Bytes: no text has to be decoded, and an offset is an offset.
    options.encoding = engine.Options.Encoding.LATIN1
    options.log_errors = False
    return options


@cache
def _secret_rules() -> tuple[tuple[_Rule, tuple[str, ...]], ...]:
    """The rules with their marks, from the file beside this one."""
    text = resources.files(__package__).joinpath(_RULES).read_text(encoding="utf-8")
    lines = [line.split("\t") for line in text.splitlines() if line[:1] != "#"]
    return tuple(
        (_Rule(name, expression.encode(), float(entropy)), tuple(marks.split()))
        for name, marks, entropy, expression in lines
    )


def _joined(texts: Iterable[PromptText]) -> tuple[bytes, list[_Span]]:
    """All the texts in one, and where the thirds of each are."""
    parts: list[bytes] = []
    spans: list[_Span] = []
    start = 0
    for place, text in texts:
        data = text.encode(errors="replace")
        for number, third in enumerate(THIRDS):
            begin = start + len(data) * number // 3
            end = start + len(data) * (number + 1) // 3
            spans.append(_Span(begin, end, f"{Place(place).value}/{third}"))
        parts.append(data)
        start += len(data) + len(_BETWEEN)
    return _BETWEEN.join(parts), spans


def _is_random(rule: _Rule, match: Any) -> bool:  # noqa: ANN401  untyped
    """Whether a secret looks like one, and not like an example of one."""
    # It is what the first group holds, where there is one.
    found = match.group(1) if match.re.groups else None
    return _entropy(bytes(found or match.group(0))) > rule.entropy


def _is_credible(form: Form, match: Any) -> bool:  # noqa: ANN401  untyped
    text = bytes(match.group(0)).decode("latin-1")
    return form.is_valid(text if form is EMAIL else text.translate(SEPARATORS))


def _entropy(secret: bytes) -> float:
    """Shannon's entropy, in bits per character."""
    size = len(secret)
    counts = Counter(secret).values()
    return -sum(n / size * math.log2(n / size) for n in counts) if size else 0.0
