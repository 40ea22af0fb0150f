"""Secrets that were written where only a reference may stand."""

from __future__ import annotations

import re
from typing import Final

_SHAPES: Final = (
    ("an API key", re.compile(r"\bsk[-_](?=\S*[0-9A-Z])\S{12,}")),
    ("an API key", re.compile(r"\b(gsk_|xai-|pplx-|r8_|hf_|nvapi-)\w*\d\w{15,}")),
    ("a Google API key", re.compile(r"\bAIza[0-9A-Za-z_-]{20,}")),
    ("a Comptroller credential", re.compile(r"\bctl_[0-9A-Za-z]+_\S{12,}")),
    ("an AWS access key", re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a GitHub token", re.compile(r"\b(gh[opsur]_|github_pat_)\w{20,}")),
    ("a Slack token", re.compile(r"\bxox[abeoprs]-\S{8,}")),
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    ("a signed token", re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.")),
    ("a bearer token", re.compile(r"(?i)\bbearer\s+\S{12,}")),
    ("a password in a URL", re.compile(r"\w://[^/\s:@]*:[^/\s@]+@")),
)


def secret_kind(text: str) -> str | None:
    """Says what kind of secret a text looks like; None: like none.

    Only the kind is ever said, so that no message repeats the secret.
    """
    for kind, shape in _SHAPES:
        if shape.search(text):
            return kind
    return None
