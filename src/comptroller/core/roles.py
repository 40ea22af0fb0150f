"""Role addresses: mailboxes that are shared, so that nobody answers for them."""

from __future__ import annotations

import re
import unicodedata
from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# RFC 2142 names for services, networks and business, then what is seen in use.
_ROLES: Final = _words(
    """
    postmaster hostmaster webmaster usenet news www uucp ftp abuse noc security info
    marketing sales support noreply donotreply nobody mailer mailerdaemon daemon
    bounce bounces root admin admins administrator administration sysadmin sysadmins
    sysop billing invoice invoices invoicing accounting accounts accountspayable
    accountsreceivable payments payroll finance procurement purchasing orders help
    helpdesk servicedesk itsupport service services customerservice customersupport
    customercare care contact contactus hello hi hey enquiries inquiries enquiry
    inquiry feedback office mail email mailbox inbox reception team teams staff
    everyone all allstaff group groups department crew squad employees members
    leadership board management devops sre ops operations platform infra
    infrastructure oncall dev devs developers engineering engineers it ict data ml
    ai mlops aiops llm research backend frontend qa testing build builds ci cd cicd
    release releases bot bots robot automation alerts alert alerting monitoring
    notifications notification notify status incident incidents pagerduty jira
    github gitlab system service legal compliance privacy dpo gdpr ciso cto ceo cfo
    cio coo hr jobs careers recruiting recruitment press media pr events community
    partners partnerships subscribe unsubscribe newsletter newsletters list lists
    announce announcements test tests demo example user users guest anonymous
    unknown owner owners vertrieb buchhaltung rechnung rechnungen kontakt anfragen
    verwaltung personal kundenservice kundendienst technik einkauf facturation
    comptabilite ventes equipe assistance contacto ventas soporte facturacion equipo
    administracion compras atencion verkoop facturen facturatie klantenservice
    boekhouding administratie inkoop contabilita vendite assistenza fatturazione
    suporte vendas financeiro faturamento contato
    """
)
"""A local part that is one of these, in whole, is nobody's own."""

_GROUP_WORDS: Final = _words(
    """
    team teams group groups dept department helpdesk servicedesk support noreply
    donotreply billing invoices invoicing payments admins administrators ops devops
    mlops aiops dataops oncall alerts alerting notifications operations developers
    engineers members users owners everyone mailbox inbox dl mailinglist equipe
    equipo abteilung
    """
)
"""A word that makes the whole a group: `platform-team`.

Words that are also family names are left out (Benjamin List, Leopold Staff).
"""

_SUFFIXES: Final = ("team", "teams", "group", "support", "admin", "ops", "desk", "list")
"""What follows a role in one word: `datateam`."""

_LIST_HOSTS: Final = (
    "lists.",
    "list.",
    "groups.",
    "listserv.",
    "mailman.",
    "googlegroups.",
)
_LIST_COMMANDS: Final = re.compile(
    r".+-(list|request|owner|bounces|subscribe|unsubscribe|announce|admin)"
)
_BOUNDARIES: Final = re.compile(r"[._-]+|(?<=[^\d])(?=\d+$)")


def is_role_address(email: str) -> str | None:
    """Says why an address is not one person's own.

    Where it could be either, it is taken for a person's (`info.kowalski`,
    `benjamin.list`): refusing a living person is worse than letting a shared
    mailbox pass that a review will find.

    Args:
        email: an address such as `ada@acme.example`.

    Returns:
        The reason in words, or None when it may well be a person's.
    """
    local, _, host = _plain(email).partition("@")
    local = local.partition("+")[0] or local
    if host.startswith(_LIST_HOSTS):
        return f'"{host}" serves mailing lists'
    words = [one for one in _BOUNDARIES.split(local) if one and not one.isdigit()]
    if _is_role("".join(words)) or (words and all(map(_is_role, words))):
        return f'"{local}" is a role, not a person'
    if _LIST_COMMANDS.fullmatch(local):
        return f'"{local}" is the name of a mailing list'
    group = next((word for word in words if word in _GROUP_WORDS), None)
    if group is not None:
        return f'"{local}" names a group ("{group}"), not a person'
    return None


def _is_role(word: str) -> bool:
    return word in _ROLES or any(
        word.endswith(suffix) and word.removesuffix(suffix) in _ROLES
        for suffix in _SUFFIXES
    )


def _plain(email: str) -> str:
    """Lower case without accents, so that `équipe` is found as `equipe`."""
    split = unicodedata.normalize("NFKD", email.strip().lower())
    return "".join(one for one in split if not unicodedata.combining(one))
