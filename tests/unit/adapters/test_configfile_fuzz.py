from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from comptroller.adapters.configfile.reading import Configuration, read_contents

HERE = Path(__file__).parent
FILES = [(HERE / name).read_text() for name in ("printed.yaml", "full.yaml")]
SNIPPETS = [
    "no", "~", "null", "010", "0", "-1", "1e9", ".nan", "2026-11-21", "[]", "{}",
    "[[]]", "{a: 1}", "<<", "*x", "&x ", "!!int ", "!x ", "|", ">", "- ", "? ",
    ": ", "\t", "\n", "#", "'", '"', "%", "@", "`", "\x00", "\u2028", "é", "💥",
    "99999999999999999999", "1 USD", "1/minute", "100%",
    "env:", "https://[", "https://a:99999", "\\", "x" * 300, "  ",
]  # fmt: skip


def check(found: Configuration) -> None:
    """Either a registry or problems, each with a place and without the secret."""
    assert (found.registry is None) == bool(found.problems)
    for problem in found.problems:
        assert problem.what
        assert problem.what.isprintable()
        assert "s3cr3t" not in str(problem)


@settings(max_examples=150, deadline=None)
@given(
    text=st.sampled_from(FILES),
    edits=st.lists(
        st.tuples(
            st.integers(0, 10**6),
            st.integers(0, 12),
            st.one_of(st.sampled_from(SNIPPETS), st.text(max_size=3)),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_an_edited_file_gives_a_registry_or_problems(
    text: str,
    edits: list[tuple[int, int, str]],
) -> None:
    """No edit of the printed or the full file makes reading it crash."""
    for anywhere, length, inserted in edits:
        start = anywhere % len(text)
        text = text[:start] + inserted + text[start + length :]

    check(read_contents([("c.yaml", text.encode("utf-8", "surrogatepass"))]))


@settings(max_examples=150, deadline=None)
@given(
    text=st.sampled_from(FILES),
    token=st.integers(0, 10**6),
    replacement=st.sampled_from(
        [*(one for one in SNIPPETS if one.strip()), "sk-s3cr3ts3cr3ts3cr3t"]
    ),
)
def test_a_replaced_value_gives_a_registry_or_problems(
    text: str, token: int, replacement: str
) -> None:
    """No value in place of another makes reading crash."""
    words = text.split(" ")
    places = [at for at, word in enumerate(words) if word.strip()]
    words[places[token % len(places)]] = replacement

    check(read_contents([("c.yaml", " ".join(words).encode())]))


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes_give_problems(content: bytes) -> None:
    """Bytes that are no configuration give problems, never a traceback."""
    check(read_contents([("c.yaml", content)]))
