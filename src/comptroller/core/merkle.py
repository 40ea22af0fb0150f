"""Merkle trees of RFC 6962: hashes, roots, and proofs that need few of them.

A getter `(level, index) -> hash` stands for the tree: the hash of the perfect
subtree over the leaves `index * 2**level` up to `(index + 1) * 2**level`. Proofs
ask it only for subtrees that are complete at the size they are about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias

from comptroller.core.errors import ProofError

HASH_BYTES: Final = 32
SIZE_MAX: Final = 2**63 - 1
EMPTY_ROOT: Final = sha256(b"").digest()
PATH_HASHES_MAX: Final = 64
"""More hashes than any proof of a tree up to SIZE_MAX has."""

HashGetter: TypeAlias = Callable[[int, int], bytes]


class TreeHead(NamedTuple):
    """A tree: how many leaves, and the root over them."""

    size: int
    root: bytes


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf (RFC 6962, section 2.1)."""
    return sha256(b"\x00" + data).digest()


def leaf_hashes(records: Iterable[bytes]) -> list[bytes]:
    """The hashes of many leaves."""
    return [sha256(b"\x00" + one).digest() for one in records]


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node (RFC 6962, section 2.1)."""
    return sha256(b"\x01" + left + right).digest()


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of sibling hashes."""
    assert hashes  # noqa: S101  a caller's mistake, never input
    assert len(hashes).bit_count() == 1  # noqa: S101
    row = list(hashes)
    while len(row) > 1:
        nodes = map(b"".join, zip(row[::2], row[1::2], strict=True))
        row = [sha256(b"\x01" + both).digest() for both in nodes]
    return row[0]


class CompactRange:
    """A growing tree, of which only the right edge is kept.

    The frontier holds the roots of the perfect subtrees that the leaves fall
    into, largest first: one for each bit that is set in the size.
    """

    __slots__ = ("_frontier", "_size")

    def __init__(self, size: int = 0, frontier: Iterable[bytes] = ()) -> None:
        """Continues a tree.

        Raises:
            ValueError: no tree of that size has such a frontier.
        """
        self._size = size
        self._frontier = list(frontier)
        if not 0 <= size <= SIZE_MAX or len(self._frontier) != size.bit_count():
            raise ValueError(
                f"a tree of {size} leaves has no frontier of {len(self._frontier)}"
            )
        if any(len(one) != HASH_BYTES for one in self._frontier):
            raise ValueError(f"a hash has {HASH_BYTES} bytes")

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return self._size

    @property
    def frontier(self) -> tuple[bytes, ...]:
        """Roots of the perfect subtrees, largest first."""
        return tuple(self._frontier)

    def append(self, leaf: bytes, level: int = 0) -> None:
        """Appends a leaf's hash, or at a level the root of a perfect subtree.

        Raises:
            ValueError: a subtree of that level cannot begin here.
        """
        position, rest = divmod(self._size, 1 << level)
        if rest:
            raise ValueError(f"no subtree of level {level} begins at {self._size}")
        frontier = self._frontier
        while position & 1:
            leaf = node_hash(frontier.pop(), leaf)
            position >>= 1
        frontier.append(leaf)
        self._size += 1 << level

    def root(self) -> bytes:
        """The root over all leaves."""
        return _folded(self._frontier) if self._frontier else EMPTY_ROOT

    def head(self) -> TreeHead:
        """Size and root."""
        return TreeHead(self._size, self.root())


def _folded(hashes: Sequence[bytes]) -> bytes:
    """One hash of perfect subtrees, largest first."""
    result = hashes[-1]
    for one in reversed(hashes[:-1]):
        result = node_hash(one, result)
    return result


def _range_root(begin: int, end: int, get: HashGetter) -> bytes:
    """The root over leaves that begin where a subtree as large as they begins."""
    hashes = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        hashes.append(get(level, begin >> level))
        begin += 1 << level
    return _folded(hashes)


def tree_root(size: int, get: HashGetter) -> bytes:
    """The root over the first leaves of a tree."""
    return _range_root(0, size, get) if size else EMPTY_ROOT


def _split(size: int) -> int:
    """The largest power of two below a size."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_path(index: int, size: int, get: HashGetter) -> list[bytes]:
    """Proves that a leaf is in a tree (RFC 6962, section 2.1.1).

    Returns:
        The siblings on the way up, the leaf's own first.

    Raises:
        ProofError: the tree has no such leaf.
    """
    if not 0 <= index < size <= SIZE_MAX:
        raise ProofError(f"a tree of {size} records has no record {index}")
    begin, end = 0, size
    path = []
    while end - begin > 1:
        split = begin + _split(end - begin)
        if index < split:
            path.append(_range_root(split, end, get))
            end = split
        else:
            path.append(_range_root(begin, split, get))
            begin = split
    return path[::-1]


def consistency_path(old: int, new: int, get: HashGetter) -> list[bytes]:
    """Proves that a tree begins with an older one (RFC 6962, section 2.1.2).

    Returns:
        Nothing where nothing needs to be proved: the older is empty, or the same.

    Raises:
        ProofError: the older is the larger.
    """
    if not 0 <= old <= new <= SIZE_MAX:
        raise ProofError(f"a tree of {new} records cannot begin with {old}")
    if old in (0, new):
        return []
    begin, end = 0, new
    path = []
    while old != end:
        split = begin + _split(end - begin)
        if old <= split:
            path.append(_range_root(split, end, get))
            end = split
        else:
            path.append(_range_root(begin, split, get))
            begin = split
    if begin:  # else it is the older tree itself, whose root the verifier has
        path.append(_range_root(begin, end, get))
    return path[::-1]


def root_from_inclusion(
    index: int, size: int, leaf: bytes, path: Sequence[bytes]
) -> bytes:
    """The root that a path leads to from a leaf's hash (RFC 9162, 2.1.3.2).

    Raises:
        ProofError: no path of that tree has this form.
    """
    if not 0 <= index < size <= SIZE_MAX:
        raise ProofError(f"a tree of {size} records has no record {index}")
    _check_hashes(path)
    here, last, root = index, size - 1, leaf
    for sibling in path:
        if not last:
            raise ProofError("the inclusion proof is too long")
        if here & 1 or here == last:
            root = node_hash(sibling, root)
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        here, last = here >> 1, last >> 1
    if last:
        raise ProofError("the inclusion proof is too short")
    return root


def verify_inclusion(
    index: int, leaf: bytes, head: TreeHead, path: Sequence[bytes]
) -> None:
    """Checks that a leaf's hash is in a tree.

    Raises:
        ProofError: the path does not prove it.
    """
    if root_from_inclusion(index, head.size, leaf, path) != head.root:
        raise ProofError(f"the record is not number {index} of the tree {head.size}")


def verify_consistency(old: TreeHead, new: TreeHead, path: Sequence[bytes]) -> None:
    """Checks that a tree begins with an older one (RFC 9162, section 2.1.4.2).

    Raises:
        ProofError: it does not, or the path does not prove it.
    """
    if not 0 <= old.size <= new.size <= SIZE_MAX:
        raise ProofError(f"a tree of {new.size} records cannot begin with {old.size}")
    _check_hashes(path)
    if old.size in (0, new.size):
        expected = new.root if old.size else EMPTY_ROOT
        if path or old.root != expected:
            raise ProofError(f"two different trees have {old.size} records")
        return
    roots = _roots_from_consistency(old, new, path)
    if roots != (old.root, new.root):
        raise ProofError(f"the tree {new.size} does not begin with the tree {old.size}")


def _roots_from_consistency(
    old: TreeHead, new: TreeHead, path: Sequence[bytes]
) -> tuple[bytes, bytes]:
    rest = list(path)
    if old.size.bit_count() == 1:
        rest.insert(0, old.root)
    if not rest:
        raise ProofError("the consistency proof is too short")
    here, last = old.size - 1, new.size - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    before = after = rest[0]
    for sibling in rest[1:]:
        if not last:
            raise ProofError("the consistency proof is too long")
        if here & 1 or here == last:
            before = node_hash(sibling, before)
            after = node_hash(sibling, after)
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        here, last = here >> 1, last >> 1
    if last:
        raise ProofError("the consistency proof is too short")
    return before, after


def _check_hashes(path: Sequence[bytes]) -> None:
    if len(path) > PATH_HASHES_MAX or any(len(one) != HASH_BYTES for one in path):
        raise ProofError(
            f"a proof has at most {PATH_HASHES_MAX} hashes of {HASH_BYTES} bytes"
        )
