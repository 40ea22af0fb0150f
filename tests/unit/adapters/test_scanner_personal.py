"""Check digits against python-stdnum, an independent implementation."""

from __future__ import annotations

from collections.abc import Callable
from string import ascii_uppercase
from typing import Any

import pytest
import stdnum.br.cpf
import stdnum.ch.ssn
import stdnum.es.dni
import stdnum.es.nie
import stdnum.fr.nir
import stdnum.iban
import stdnum.iso7064.mod_97_10
import stdnum.it.codicefiscale
import stdnum.luhn
import stdnum.us.ssn
from hypothesis import example, given
from hypothesis import strategies as st

from comptroller.adapters.scanner import personal

DIGITS = "0123456789"
IBAN_LENGTHS = {"CH": 21, "DE": 22, "FR": 27, "GB": 22, "MT": 31, "NL": 18, "NO": 15}


def digits(size: int) -> st.SearchStrategy[str]:
    return st.text(DIGITS, min_size=size, max_size=size)


def both_letters(size: int) -> st.SearchStrategy[str]:
    return st.text("TRWAGMYFPDXBNJZSQVHLCKE", min_size=size, max_size=size)


ORACLES: dict[str, tuple[Callable[[str], bool], Any, st.SearchStrategy[str]]] = {
    "luhn": (personal.luhn, stdnum.luhn, digits(16) | digits(15)),
    "cpf": (personal.is_br_cpf, stdnum.br.cpf, digits(11)),
    "ahv": (personal.is_ch_ahv, stdnum.ch.ssn, digits(10).map("756".__add__)),
    "dni": (
        personal.is_es_dni,
        stdnum.es.dni,
        st.tuples(digits(8), both_letters(1)).map("".join),
    ),
    "nie": (
        personal.is_es_dni,
        stdnum.es.nie,
        st.tuples(st.sampled_from("XYZ"), digits(7), both_letters(1)).map("".join),
    ),
}


@pytest.mark.parametrize("name", ORACLES)
@given(data=st.data())
def test_check_digits_are_judged_as_the_oracle_does(
    name: str, data: st.DataObject
) -> None:
    """On random numbers, and on the same with its last character set to any other."""
    ours, oracle, numbers = ORACLES[name]
    number = data.draw(numbers)
    last = DIGITS if number[-1].isdigit() else "TRWAGMYFPDXBNJZSQVHLCKE"

    for one in {number[:-1] + end for end in last}:
        assert ours(one) is oracle.is_valid(one), one


@given(
    country=st.sampled_from(sorted(IBAN_LENGTHS)),
    middle=st.text(DIGITS + "ABCXYZ", min_size=11, max_size=27),
    check=digits(2),
)
@example(country="DE", middle="370400440532013000", check="89")
@example(country="DE", middle="370400440532013000", check="88")
@example(country="MT", middle="32C94B34Y97CA656AXX3AY61655", check="80")
def test_an_iban_is_judged_as_the_oracle_does(
    country: str, middle: str, check: str
) -> None:
    """By its country's length and by its check digits; the country's own are not."""
    number = country + check + middle
    is_checked = stdnum.iso7064.mod_97_10.is_valid(number[4:] + number[:4])

    assert personal.is_iban(number) is (
        is_checked and len(number) == IBAN_LENGTHS[country]
    )
    # It also knows which of a country's places are digits; ours must miss none.
    if stdnum.iban.is_valid(number, check_country=False):
        assert personal.is_iban(number)


@given(
    st.tuples(
        st.text(ascii_uppercase, min_size=6, max_size=6),
        digits(2),
        st.sampled_from("ABCDEHLMPRST"),
        st.sampled_from(["01", "15", "28", "41", "68"]),
        st.sampled_from("ABFHL"),
        digits(3),
    ).map("".join)
)
def test_a_fiscal_code_has_the_oracles_check_letter(code: str) -> None:
    """Of 26 letters, just the one that the oracle computes."""
    good = [
        c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if personal.is_it_fiscal_code(code + c)
    ]

    assert good == [stdnum.it.codicefiscale.calc_check_digit(code)]


@given(digits(13))
def test_a_nir_has_the_oracles_key(number: str) -> None:
    """Of the hundred keys, just the one that the oracle computes."""
    key = stdnum.fr.nir.calc_check_digits(number)

    assert personal.is_fr_nir(number + key)
    assert not personal.is_fr_nir(number + f"{(int(key) + 1) % 100:02}")


@given(digits(9))
@example("078051120")
@example("219099999")
@example("666010001")
def test_an_ssn_may_have_been_given_out(number: str) -> None:
    """As the oracle says, and fewer: a well-known sample is not."""
    if personal.is_us_ssn(number):
        assert stdnum.us.ssn.is_valid(number)


@pytest.mark.parametrize(
    ("number", "is_card"),
    [
        ("4111111111111111", True),
        ("5555555555554444", True),
        ("2223003122003222", True),
        ("378282246310005", True),
        ("6011111111111117", True),
        ("4111111111111112", False),
        ("1111111111111117", False),
        ("41111111111111", False),
        ("0000000000000000", False),
    ],
)
def test_a_card_has_a_brand_a_length_and_a_check(number: str, is_card: bool) -> None:
    """The brands' own numbers for tests pass, others do not."""
    assert personal.is_card(number) is is_card


@pytest.mark.parametrize(
    ("address", "is_email"),
    [
        ("ana.silva@acme-bank.de", True),
        ("user@example.com", False),
        ("user@mail.example.org", False),
        ("user@host.test", False),
        ("icon@2x.png", False),
        (".ana@acme.de", False),
        ("an..a@acme.de", False),
        ("user@notexample.com", True),
    ],
)
def test_an_address_is_somebodys(address: str, is_email: bool) -> None:
    """Not one of those that the standards keep for examples, nor a file's name."""
    assert personal.is_email(address) is is_email


@pytest.mark.parametrize(
    ("number", "is_phone"),
    [("+493012345678", True), ("+4930123", False), ("+11111111111", False)],
)
def test_a_phone_number_has_a_plausible_length(number: str, is_phone: bool) -> None:
    """And more than two different digits."""
    assert personal.is_phone(number) is is_phone
