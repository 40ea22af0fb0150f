"""The revision of a bundle: what names its content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

POLICY_SUFFIX: Final = ".policy.yaml"


def revision_of(files: Iterable[tuple[str, bytes]]) -> str:
    """`sha256:` over the names and bytes of the policy files; tests do not count.

    Bytes are taken with LF and without a byte order mark, so that a checkout on
    another system is the same revision; the order of the files does not matter.
    """
    listing = "".join(
        sorted(
            f"{hashlib.sha256(_canonical(content)).hexdigest()}  {name}\n"
            for name, content in files
            if name.endswith(POLICY_SUFFIX)
        )
    )
    return f"sha256:{hashlib.sha256(listing.encode()).hexdigest()}"


def _canonical(content: bytes) -> bytes:
    return content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
