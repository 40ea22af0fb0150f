"""Personal data: forms that are found, and what makes one of them credible.

Only what has a check digit, or a form that hardly anything else has, is looked for:
a rule that cries wolf is switched off. Every form has at most 64 characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple


class Form(NamedTuple):
    """One kind of personal data."""

    rule: str
    expression: str
    """In RE2's syntax, over bytes."""
    is_valid: Callable[[str], bool]
    """Of what was found, without blanks and separators, in upper case."""


def luhn(digits: str) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812-1, annex B)."""
    odd = sum(int(d) for d in digits[-1::-2])
    even = sum(sum(divmod(2 * int(d), 10)) for d in digits[-2::-2])
    return (odd + even) % 10 == 0


def is_card(digits: str) -> bool:
    """Whether it is a payment card's number: its brand, its length and its check."""
    return _CARD.fullmatch(digits) is not None and luhn(digits)


_CARD: Final = re.compile(
    # Visa; Mastercard; American Express; Discover; Diners; JCB; UnionPay, Maestro.
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:2[2-9]|[3-6]\d|7[01])\d{13}|3[47]\d{13}"
    r"|6011\d{12,15}|6[45]\d{14,17}|3(?:0[0-5]|[689]\d)\d{11,16}|35\d{14,17}"
    r"|62\d{14,17}"
)


def is_iban(text: str) -> bool:
    """Whether it is an account's number: its country's length, and ISO 7064's 97."""
    return _IBAN_LENGTHS.get(text[:2]) == len(text) and _modulo_97(text) == 1


def _modulo_97(text: str) -> int:
    moved = text[4:] + text[:4]
    return int("".join(str(int(one, 36)) for one in moved)) % 97


_IBAN_LENGTHS: Final = {
    country: int(length)
    for length, countries in (
        ("15", "NO"),
        ("16", "BE"),
        ("18", "DK FI FK FO GL NL SD"),
        ("19", "MK SI"),
        ("20", "AT BA EE KZ LT LU MN XK"),
        ("21", "CH HR LI LV"),
        ("22", "BG BH CR DE GB GE IE ME RS VA"),
        ("23", "AE GI IL IQ OM SO TL"),
        ("24", "AD CZ ES MD PK RO SA SE SK TN VG"),
        ("25", "LY PT ST"),
        ("26", "IS TR"),
        ("27", "BI DJ FR GR IT MC MR SM"),
        ("28", "AL AZ BY CY DO GT HU LB NI PL SV"),
        ("29", "BR EG PS QA UA"),
        ("30", "JO KW MU YE"),
        ("31", "MT SC"),
        ("32", "LC"),
        ("33", "RU"),
    )
    for country in countries.split()
}
"""Lengths by country, as SWIFT's IBAN registry has them."""


def is_email(address: str) -> bool:
    """Whether it is somebody's address: not an example's, not a file's."""
    local, _, host = address.lower().rpartition("@")
    last = host.rpartition(".")[2]
    return (
        bool(local)
        and ".." not in address
        and not local.startswith(".")
        and last not in _NO_DOMAINS
        and not (f".{host}").endswith(_EXAMPLES)
    )


_NO_DOMAINS: Final = frozenset(
    {"example", "invalid", "test", "localhost", "local"}
    | {"png", "jpg", "jpeg", "gif", "svg", "webp", "js", "ts", "py", "css", "json"}
)
"""Reserved by RFC 2606, or a file's: `icon@2x.png`."""
_EXAMPLES: Final = (".example.com", ".example.org", ".example.net")


def is_phone(number: str) -> bool:
    """Whether it can be a number of E.164: a country's code, 8 to 15 digits."""
    digits = number[1:]
    return 8 <= len(digits) <= 15 and len(set(digits)) > 2


def is_ch_ahv(digits: str) -> bool:
    """A Swiss social insurance number: 756, and EAN-13's check digit."""
    weighed = sum(int(d) * (1, 3)[n % 2] for n, d in enumerate(digits))
    return weighed % 10 == 0


def is_es_dni(text: str) -> bool:
    """A Spanish identity number: its letter is the number modulo 23."""
    number = text[:-1].replace("X", "0").replace("Y", "1").replace("Z", "2")
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == text[-1]


def is_fr_nir(text: str) -> bool:
    """A French social security number: its key makes it 0 modulo 97."""
    number = text[:13].replace("2A", "19").replace("2B", "18")
    return 97 - int(number) % 97 == int(text[13:])


def is_it_fiscal_code(text: str) -> bool:
    """An Italian fiscal code: its last letter checks the fifteen others."""
    total = 0
    for place, one in enumerate(text[:15]):
        value = int(one, 36)
        value = value - 10 if one.isalpha() else value
        total += _IT_ODD[value] if place % 2 == 0 else value
    return chr(ord("A") + total % 26) == text[15]


_IT_ODD: Final = (
    *(1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14),
    *(16, 10, 22, 25, 24, 23),
)


def is_br_cpf(digits: str) -> bool:
    """A Brazilian taxpayer's number: two check digits modulo 11."""
    if len(set(digits)) == 1:
        return False
    for size in (9, 10):
        weighed = sum(
            int(d) * w
            for d, w in zip(digits[:size], range(size + 1, 1, -1), strict=True)
        )
        if weighed * 10 % 11 % 10 != int(digits[size]):
            return False
    return True


def is_us_ssn(digits: str) -> bool:
    """A number that the US Social Security Administration may have given out."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    is_given = area not in ("000", "666") and area < "900"
    is_known_sample = digits in ("078051120", "123456789", "219099999")
    return is_given and group != "00" and serial != "0000" and not is_known_sample


FORMS: Final = (
    Form("iban", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b", is_iban),
    Form("payment-card", r"\b[2-6]\d{3}(?:[ \-]?\d){8,15}\b", is_card),
    Form("phone", r"\+[1-9](?:[ .()/\-]{0,2}\d){7,14}\b", is_phone),
    Form("ch-ahv", r"\b756\.\d{4}\.\d{4}\.\d{2}\b", is_ch_ahv),
    Form("es-dni", r"\b(?:\d{8}|[XYZ]\d{7})-?[A-HJ-NP-TV-Z]\b", is_es_dni),
    Form(
        "fr-nir",
        r"\b[12] ?\d{2} ?(?:0[1-9]|1[0-2]) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}\b",
        is_fr_nir,
    ),
    Form(
        "it-fiscal-code",
        r"\b[A-Z]{6}\d{2}[ABCDEHLMPRST]\d{2}[A-Z]\d{3}[A-Z]\b",
        is_it_fiscal_code,
    ),
    Form("br-cpf", r"\b\d{3}\.\d{3}\.\d{3}-\d{2}\b", is_br_cpf),
    Form("us-ssn", r"\b\d{3}-\d{2}-\d{4}\b", is_us_ssn),
)
"""All but e-mail, which has a cheaper mark than any expression."""

EMAIL: Final = Form(
    "email",
    r"\b[A-Za-z0-9._%+\-]{1,64}@(?:[A-Za-z0-9\-]{1,63}\.){1,8}[A-Za-z]{2,24}\b",
    is_email,
)
SEPARATORS: Final = str.maketrans("", "", " .-/()")
