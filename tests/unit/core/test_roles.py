from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.core.roles import is_role_address


def words(text: str) -> list[str]:
    return text.split()


ROLES = words(
    """
    team noreply no-reply no_reply do-not-reply donotreply support sales info
    billing admin abuse postmaster hostmaster webmaster security noc root
    mailer-daemon platform-team platform_team platform.team team-platform mlteam
    data-team ml.ops devops sre ops checkout-ops on-call oncall it it-support
    itsupport help-desk helpdesk hr finance accounts accounts-payable invoices
    invoice payroll legal contact hello office all everyone staff team+ai support+ml
    support2 admin01 announce-list developers-request ada-subscribe web-admin
    group-ml dl-engineering vertrieb buchhaltung kontakt rechnungen équipe equipe
    facturation comptabilité soporte ventas facturación equipo suporte verkoop
    klantenservice fatturazione SUPPORT Team.Retail alerts pagerduty jenkins-alerts
    ai-developers
    """
)

PEOPLE = words(
    """
    ada ada.lovelace alovelace a.lovelace ada-lovelace ada_lovelace lovelace.ada
    ada1 ada+ai ada.teamer teamer info.kowalski kowalski.info benjamin.list
    leopold.staff dev.patel amos.root david.sales mia.service grace.admiral timothy
    opsahl steam.boat joan.dark sally.ride art.house al.ma jo li x grant.marketer
    helpmann supporta holly.contacts andrea.accounti mark.press josé renée müller
    o'brien
    """
)


@pytest.mark.parametrize("local", ROLES)
def test_role_addresses_are_told(local: str) -> None:
    """A shared mailbox is told in the usual spellings, and in several languages."""
    assert is_role_address(f"{local}@acme.example")


@pytest.mark.parametrize("local", PEOPLE)
def test_people_are_people(local: str) -> None:
    """A person's address is not refused, even where a name looks like a role."""
    assert is_role_address(f"{local}@acme.example") is None


@pytest.mark.parametrize(
    "host", ["lists.acme.example", "groups.acme.example", "googlegroups.com"]
)
def test_hosts_of_mailing_lists_are_told(host: str) -> None:
    """Whatever stands before the @ of a list server is a list."""
    assert is_role_address(f"ada@{host}") == f'"{host}" serves mailing lists'


@given(
    first=st.sampled_from(["ada", "grace", "alan", "mary", "li", "zoë", "björn"]),
    last=st.sampled_from(["lovelace", "hopper", "turing", "list", "staff", "sales"]),
    joint=st.sampled_from([".", "_", ""]),
    digits=st.sampled_from(["", "1", "42"]),
)
def test_a_first_and_a_last_name_make_a_person(
    first: str, last: str, joint: str, digits: str
) -> None:
    """Names put together in the usual ways are not refused."""
    assert is_role_address(f"{first}{joint}{last}{digits}@acme.example") is None


@given(
    role=st.sampled_from(["team", "support", "billing", "noreply", "group", "alerts"]),
    word=st.sampled_from(["retail", "emea", "checkout", "ml", "west-coast"]),
    joint=st.sampled_from([".", "_", "-"]),
    upper=st.booleans(),
)
def test_a_group_word_makes_a_group(
    role: str, word: str, joint: str, *, upper: bool
) -> None:
    """A group's word before or after another is found, however it is joined."""
    for local in (f"{role}{joint}{word}", f"{word}{joint}{role}"):
        written = local.upper() if upper else local
        assert is_role_address(f"{written}@acme.example")


@given(st.text(max_size=30))
def test_any_text_has_an_answer(text: str) -> None:
    """Whatever is written, the answer is a reason or None."""
    reason = is_role_address(text)

    assert reason is None or reason
