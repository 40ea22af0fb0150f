from __future__ import annotations

from collections.abc import Mapping

import pytest

from comptroller.adapters.policy.cel import CelLanguage, Fused, join
from comptroller.adapters.policy.language import FaultsError, Wanted
from comptroller.core.policy.expression import ExpressionError, OneByOne
from comptroller.core.policy.schema import flatten
from comptroller.testing.policy import PythonExpression, facts_with

LISTS = {"eu": ("umbrella", "wayne"), "tools": ("search",)}
BOMB = "[0,1,2,3,4,5,6,7,8,9]"
for _ in range(5):
    BOMB = f"[0,1,2,3,4,5,6,7,8,9].map(x, {BOMB})"


def value(
    source: str, changes: Mapping[str, object] | None = None, *, text: bool = False
) -> object:
    """The value of an expression for an ordinary request with changes.

    Facts are not checked as a decision checks them: the engine has to refuse, too.
    """
    flat, _ = flatten(facts_with())
    wanted = Wanted.TEXT if text else Wanted.CONDITION
    return (
        CelLanguage(LISTS).compile(source, wanted).evaluate(flat | dict(changes or {}))
    )


def faults(source: str, wanted: Wanted = Wanted.CONDITION) -> list[tuple[int, str]]:
    with pytest.raises(FaultsError) as caught:
        CelLanguage(LISTS).compile(source, wanted)
    return [
        (fault.column, f"{fault.what} {fault.hint}") for fault in caught.value.faults
    ]


def test_facts_and_lists_are_named_by_their_paths() -> None:
    """Every kind of fact can be used, and the lists of the file."""
    changes = {"principal.tenant": "wayne", "request.tools": ["a"]}

    assert value("principal.tenant in lists.eu && request.tools.size() == 1", changes)
    assert value("request.max_tokens == -1 && !request.stream && lists.eu.size() == 2")
    assert value("ctx.time.getHours('Europe/Berlin') == 1")
    assert value("'x' + string(request.choices)", text=True) == "x1"


FAILURES: dict[str, tuple[str, dict[str, object]]] = {
    "null": ("request.max_tokens > 4096", {"request.max_tokens": None}),
    "text": ("request.max_tokens > 4096", {"request.max_tokens": "5000"}),
    "too large": ("request.max_tokens > 4096", {"request.max_tokens": 2**70}),
    "overflow": ("request.max_tokens + 1 > 4096", {"request.max_tokens": 2**63 - 1}),
    "list of null": ("'a' in request.tools", {"request.tools": [None, "b"]}),
    "half a pair": ("principal.id == 'a'", {"principal.id": "\ud800"}),
    "number for true": ("request.stream", {"request.stream": 1}),
    "division by zero": ("1 / request.choices > 0", {"request.choices": 0}),
    "no such key": ("{'a': true}[principal.id]", {}),
    "no such item": ("request.tools[3] == 'a'", {}),
    "type found out late": ("dyn(principal.id) > 3", {}),
    "pattern": ("principal.id.matches(model.id)", {"model.id": "("}),
    "no such zone": ("ctx.time.getHours('Nowhere/X') > 3", {}),
    "nested bomb": (f"{BOMB}.size() > request.choices", {}),
    "many items": (
        "request.tools.all(t, request.tools.all(u, t == u || u == u))",
        {"request.tools": [str(one) for one in range(1000)]},
    ),
}


@pytest.mark.parametrize("kind", sorted(FAILURES))
def test_a_failure_is_an_error_and_never_a_value(kind: str) -> None:
    """The engine's own value for an error is a text, which is true to Python."""
    source, changes = FAILURES[kind]

    with pytest.raises(ExpressionError) as caught:
        value(source, changes)
    assert caught.value.message


def test_a_missing_fact_is_an_error() -> None:
    """Also where the rest of the facts is there."""
    expression = CelLanguage({}).compile("request.max_tokens > 1", Wanted.CONDITION)

    with pytest.raises(ExpressionError, match=r"request\.max_tokens"):
        expression.evaluate({"ctx.env": "prod"})


@pytest.mark.parametrize(
    ("source", "column", "said"),
    [
        ("1 > 0 && request.max_tokenz > 4", 10, 'did you mean "request.max_tokens"?'),
        ("requst.max_tokens > 4", 1, 'did you mean "request.max_tokens"?'),
        ("principal.tenant in lists.eux", 21, 'did you mean "lists.eu"?'),
        ("request == 1", 1, 'there is no "request"'),
        ("getDate(ctx.time)", 8, 'there is no "getDate"'),
        ("request.max_tokens > '4'", 20, "no matching overload"),
        ("request.max_tokens", 1, "of type int, and must be true or false"),
        ("dyn(true)", 1, "of type dyn, and must be true or false"),
        ("has(request.tools)", 1, "has() is not needed"),
        ("principal.kind == 'externl'", 19, 'did you mean "external"?'),
        ("'x' != request.dialect", 1, 'request.dialect is never "x"'),
        ("principal.kind in ['agent', 'batch']", 29, 'is never "batch"'),
        ("request.tools.exists(t, u)", 25, 'there is no "u"'),
        ("1 >", 4, "syntax error"),
        ("", 1, "syntax error"),
        ("(" * 40 + "true" + ")" * 40, 1, "recursion limit"),
        ("true" + " || true" * 600, 1, "longer than 4000"),
    ],
)
def test_a_fault_is_found_before_anything_is_decided(
    source: str, column: int, said: str
) -> None:
    """Names, types, choices and syntax are checked, each with its column."""
    found = faults(source)

    assert found[0][0] == column
    assert said in found[0][1]


def test_all_faults_of_an_expression_are_found() -> None:
    """Two unknown names are two faults, each at its own place."""
    assert [column for column, _ in faults("ctx.envv == 'x' && modl.id == 'y'")] == [
        1,
        20,
    ]


def test_a_message_must_be_a_text() -> None:
    """A number is not written as one silently."""
    assert "must be a text" in faults("request.max_tokens", Wanted.TEXT)[0][1]


def test_conditions_together_answer_as_each_alone() -> None:
    """With failures among them, too: each keeps its own answer."""
    language = CelLanguage(LISTS)
    sources = [
        "ctx.env == 'production' // a comment",
        "request.choices > 1",
        "1 / request.choices > 0",
        "principal.tenant in lists.eu",
    ]
    expressions = [language.compile(one, Wanted.CONDITION) for one in sources]
    together = join(expressions)
    flat, _ = flatten(facts_with())

    assert isinstance(together, Fused)
    assert list(together.evaluate(flat)) == [True, False, True, False]
    broken = together.evaluate(flat | {"request.choices": 0})
    assert [broken[0], broken[1], broken[3]] == [True, False, False]
    assert isinstance(broken[2], ExpressionError)
    assert [isinstance(one, ExpressionError) for one in together.evaluate({})] == [
        True
    ] * 4


def test_conditions_that_cannot_be_joined_are_asked_one_by_one() -> None:
    """One alone, one of another engine, or ones nested as deep as is allowed."""
    language = CelLanguage({})
    shallow = language.compile("true", Wanted.CONDITION)
    deep = language.compile("(" * 32 + "true" + ")" * 32, Wanted.CONDITION)
    flat, _ = flatten(facts_with())

    assert isinstance(join([shallow]), OneByOne)
    assert isinstance(join([shallow, deep]), OneByOne)
    assert isinstance(join([shallow, PythonExpression(bool)]), OneByOne)
    assert list(join([shallow, deep]).evaluate(flat)) == [True, True]


def test_what_needs_no_facts_is_known_beforehand() -> None:
    """A constant is found, and a constant failure is one."""
    language = CelLanguage(LISTS)

    def constant(source: str) -> object:
        return language.constant(language.compile(source, Wanted.CONDITION))

    assert constant("1 > 2") is False
    assert constant("'wayne' in lists.eu") is True
    assert constant("ctx.env == 'x'") is None
    with pytest.raises(ExpressionError):
        constant("1 / 0 > 1")
