"""DATA/trail/state.json: how far the log is, and what it has taken from where."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import msgspec

from comptroller.core.errors import TrailDamagedError
from comptroller.core.merkle import EMPTY_ROOT, CompactRange, TreeHead
from comptroller.engine.trail_ports import Pruning

STATE_BYTES_MAX: Final = 256 * 1024 * 1024


class TrailState(msgspec.Struct, frozen=True, kw_only=True):
    """What a writer continues from; hashes are base64 in the file."""

    origin: str
    size: int = 0
    root: bytes = EMPTY_ROOT
    frontier: list[bytes] = []
    signed_size: int = 0
    """The checkpoint that was published before this state was written."""
    signed_root: bytes = b""
    """Empty: none was."""
    swept: int = 0
    """Up to which size partial files that full ones replaced are gone."""
    minimum: int = 0
    """The first index that is kept: entries below it are removed, or about to be."""
    removed: int = 0
    """The bundles below are known to be gone."""
    prunings: list[Pruning] = []
    """Records that move the minimum once enough is published."""
    positions: dict[str, Any] = {}
    """What belongs to the records: the sequencer's own words, JSON."""

    @property
    def signed(self) -> TreeHead | None:
        """The last published tree that this state knows of."""
        return (
            TreeHead(self.signed_size, self.signed_root) if self.signed_root else None
        )

    @property
    def head(self) -> TreeHead:
        """The tree."""
        return TreeHead(self.size, self.root)


class _Sealed(msgspec.Struct, frozen=True):
    sha256: str
    """Of the bytes of `state`: damage is found before anything is built on it."""
    state: msgspec.Raw


def encode_state(state: TrailState) -> bytes:
    """The content of the file."""
    data = msgspec.json.encode(state)
    sealed = _Sealed(sha256(data).hexdigest(), msgspec.Raw(data))
    return msgspec.json.encode(sealed) + b"\n"


def decode_state(data: bytes) -> TrailState:
    """Reads the content of the file.

    Raises:
        TrailDamagedError: it is not what was written, or contradicts itself.
    """
    try:
        sealed = msgspec.json.decode(data, type=_Sealed)
        if sha256(sealed.state).hexdigest() != sealed.sha256:
            raise TrailDamagedError("state.json does not have its own checksum")
        state = msgspec.json.decode(sealed.state, type=TrailState)
        root = CompactRange(state.size, state.frontier).root()
    except (msgspec.DecodeError, ValueError) as error:
        raise TrailDamagedError(f"state.json cannot be understood: {error}") from error
    if not 0 <= state.removed <= state.minimum <= state.size:
        raise TrailDamagedError("state.json keeps records from where there are none")
    if root != state.root:
        raise TrailDamagedError("state.json has a frontier that is not of its root")
    return state
