from __future__ import annotations

import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import pytest

from comptroller.adapters.scanner import RE2Scanner
from comptroller.core.errors import ScanLimitError
from comptroller.core.policy.prompt import (
    RESTRICTS,
    Match,
    Place,
    PromptText,
)

RANDOM = "9aD3kq1Xv7Zc5Lm2Qw8Er4Ty6Ui0Op3As5DfGh7JkB1nM"
KEY = "PRIVATE " + "KEY-----"
PEM = "\n".join([f"-----BEGIN RSA {KEY}", RANDOM * 3, f"-----END RSA {KEY}"])
# Put together here, so that no scanner of repositories takes them for real.
FOUND = {
    "secret.github-pat": "gh" + "p_" + RANDOM[:36],
    "secret.github-app-token": "gh" + "s_" + RANDOM[:36],
    "secret.aws-access-token": "AK" + "IAZ3KJ4HQYVMW2PLNB",
    "secret.gcp-api-key": "AI" + "za" + RANDOM[:35],
    "secret.openai-api-key": f"sk-proj-{RANDOM[:20]}T3BlbkFJ{RANDOM[:20]}",
    "secret.anthropic-api-key": "sk" + "-ant-api03-" + (RANDOM * 3)[:93] + "AA",
    "secret.stripe-access-token": "sk" + "_live_" + RANDOM[:24],
    "secret.slack-bot-token": "xo" + "xb-123456789012-123456789012-" + RANDOM[:24],
    "secret.gitlab-pat": "gl" + "pat-" + RANDOM[:20],
    "secret.npm-access-token": "np" + "m_" + RANDOM[:36],
    "secret.huggingface-access-token": "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",
    "secret.private-key": PEM,
    "personal.email": "ana.silva@acme-bank.de",
    "personal.iban": "DE89 3704 0044 0532 0130 00",
    "personal.payment-card": "4111-1111-1111-1111",
    "personal.phone": "+49 (30) 1234-5678",
    "personal.ch-ahv": "756.9217.0769.85",
    "personal.es-dni": "12345678Z",
    "personal.fr-nir": "2 95 10 99 126 111 93",
    "personal.it-fiscal-code": "RCCMNL83S18D969H",
    "personal.br-cpf": "390.533.447-05",
    "personal.us-ssn": "536-90-4399",
}
NOT_FOUND = {
    "letters alone": "gh" + "p_" + "a" * 36,
    "too short": "gh" + "p_" + RANDOM[:30],
    "within a word": "xAK" + "IAZ3KJ4HQYVMW2PLNB",
    "wrong check": "DE88 3704 0044 0532 0130 00, 4111-1111-1111-1112, 12345678A",
    "example": "user@example.com, icon@2x.png",
    "numbers": "1234567890 0.12345678901234567 2024-11-22 10.20.30.40",
    "hash": "d41d8cd98f00b204e9800998ecf8427e 3e25960a79dbc69b674cd4ec67a72c62",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
    "code": "def f(x: int) -> list[str]:\n    return [str(x)] * 4  # @cache +1",
    "public key": PEM.replace("PRIVATE", "PUBLIC"),
}


def rules(text: str) -> list[str]:
    return [m.rule for m in RE2Scanner().scan([PromptText(Place.USER, text)])]


@pytest.mark.parametrize("rule", FOUND)
@pytest.mark.parametrize(
    "around", ["%s", "My key is %s, keep it.", "k=%s\n\nNext", "ä%s "]
)
def test_a_secret_is_found_wherever_it_stands(rule: str, around: str) -> None:
    """Alone, in a sentence, in a line of a file, and after a letter of two bytes."""
    assert rules(around % FOUND[rule]) == [rule]


@pytest.mark.parametrize("what", NOT_FOUND)
def test_what_only_looks_like_it_is_not_found(what: str) -> None:
    """Examples, hashes, identifiers, numbers and code."""
    assert rules(NOT_FOUND[what]) == []


def test_a_match_says_where_but_never_what() -> None:
    """The place and its third, each once, however often it is there."""
    secret = FOUND["secret.github-pat"]
    text = f"{secret} {secret} " + "x " * 1000 + f" {secret}"
    found = RE2Scanner().scan(
        [PromptText(Place.SYSTEM, "quiet"), PromptText(Place.TOOL, text)]
    )

    assert sorted(found) == [
        Match("secret.github-pat", "tool/first"),
        Match("secret.github-pat", "tool/last"),
    ]


@pytest.mark.parametrize("rule", ["personal.payment-card", "personal.iban"])
@pytest.mark.parametrize("before", ["2024 ", "4111-", "DE00 ", "AB12 2024 ", "2 "])
def test_numbers_before_it_hide_nothing(rule: str, before: str) -> None:
    """What begins too early and is wrong is tried again from its next character."""
    assert rule in rules(before + FOUND[rule])


def test_no_match_reaches_from_one_place_into_the_next() -> None:
    """Half a secret of the user and half of a tool are none."""
    secret = FOUND["secret.github-pat"]
    halves = [PromptText(Place.USER, secret[:20]), PromptText(Place.TOOL, secret[20:])]

    assert RE2Scanner().scan(halves) == []


def test_every_rule_has_its_own_name() -> None:
    """As a restriction would ask for it."""
    names = RE2Scanner().rules

    assert len(set(names)) == len(names)
    assert set(FOUND) <= set(names)
    assert {name.partition(".")[0] for name in names} == {"secret", "personal"}


def test_the_table_has_its_licences_beside_it() -> None:
    """The terms ask for it."""
    text = (resources.files("comptroller.adapters.scanner") / "LICENSE.md").read_text(
        encoding="utf-8"
    )

    assert "Permission is hereby granted" in text
    assert "Apache-2.0" in text


def test_a_lone_surrogate_is_no_trouble() -> None:
    """It is not text, and the rest is scanned."""
    assert rules("\ud800 " + FOUND["secret.github-pat"]) == ["secret.github-pat"]


def test_a_scan_ends_when_its_time_is_over() -> None:
    """A prompt made of near misses is refused, not half scanned."""
    ticks = iter(range(10_000_000))
    scanner = RE2Scanner(cpu_s_max=100, cpu_s=lambda: next(ticks))
    misses = "4111 1111 1111 1112 " * 1000

    with pytest.raises(ScanLimitError):
        scanner.scan([PromptText(Place.USER, misses)])


HOSTILE = {
    "digits": "4" * 1_000_000,
    "cards": "4111 1111 1111 1112 " * 50_000,
    "marks": " ".join(["gh" + "p_"] * 200_000),
    "begins": ("-----BEGIN PRIVATE " + "KEY-----") * 30_000,
    "ats": "a@" * 500_000,
    "addresses": "a" * 500_000 + "@" + "b." * 200_000,
    "ibans": "DE00 " * 200_000,
    "dots": "a." * 500_000,
    "plus": "+1" * 500_000,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_no_text_takes_long(what: str) -> None:
    """A megabyte of anything is scanned, or refused, in bounded time."""
    scanner = RE2Scanner()
    scanner.scan([PromptText(Place.USER, "a@b +1 4111 warm up")])
    begun = time.thread_time()
    try:
        scanner.scan([PromptText(Place.USER, HOSTILE[what])])
        how = "scanned"
    except ScanLimitError:
        how = "refused"
    took = time.thread_time() - begun
    print(f"{what}: {how} after {took * 1000:.0f} ms")

    assert took < 1.5


def test_a_worker_that_never_scans_loads_nothing() -> None:
    """Importing and making a scanner loads neither RE2 nor the rules."""
    code = (
        "import sys; from comptroller.adapters.scanner import RE2Scanner;"
        "RE2Scanner(); print([m for m in sys.modules if 're2' in m])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


def test_every_rule_is_in_the_reference() -> None:
    """Under the name by which a restriction asks for it."""
    page = Path(__file__).parents[3] / "docs/reference/prompt-restrictions.md"
    text = page.read_text(encoding="utf-8")
    shown = [name.removeprefix("secret.") for name in RE2Scanner().rules]

    assert [name for name in shown if f"`{name}`" not in text] == []
    keys = (*RESTRICTS, "allowed_elsewhere", "message")
    assert [key for key in keys if f"`{key}`" not in text] == []
