from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.core.errors import ProofError
from comptroller.core.merkle import (
    EMPTY_ROOT,
    CompactRange,
    HashGetter,
    TreeHead,
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_hash,
    root_from_inclusion,
    subtree_root,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

# The leaves and roots that implementations of RFC 6962 are tested with.
KNOWN_LEAVES = [
    bytes.fromhex(one)
    for one in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
KNOWN_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = st.integers(1, 70)


# -- RFC 6962, section 2.1, word for word ------------------------------------------


def split(size: int) -> int:
    k = 1
    while k * 2 < size:
        k *= 2
    return k


def mth(data: Sequence[bytes]) -> bytes:
    if not data:
        return sha256(b"").digest()
    if len(data) == 1:
        return sha256(b"\x00" + data[0]).digest()
    k = split(len(data))
    return sha256(b"\x01" + mth(data[:k]) + mth(data[k:])).digest()


def path(m: int, data: Sequence[bytes]) -> list[bytes]:
    if len(data) == 1:
        return []
    k = split(len(data))
    if m < k:
        return [*path(m, data[:k]), mth(data[k:])]
    return [*path(m - k, data[k:]), mth(data[:k])]


def subproof(m: int, data: Sequence[bytes], *, known: bool) -> list[bytes]:
    if m == len(data):
        return [] if known else [mth(data)]
    k = split(len(data))
    if m <= k:
        return [*subproof(m, data[:k], known=known), mth(data[k:])]
    return [*subproof(m - k, data[k:], known=False), mth(data[:k])]


# -----------------------------------------------------------------------------------


def leaves(count: int) -> list[bytes]:
    return [b"record %d" % place for place in range(count)]


def getter(data: Sequence[bytes]) -> HashGetter:
    def get(level: int, index: int) -> bytes:
        begin, end = index << level, (index + 1) << level
        assert end <= len(data), "asked for a subtree that is not complete"
        return mth(data[begin:end])

    return get


def grown(data: Sequence[bytes]) -> CompactRange:
    tree = CompactRange()
    for one in data:
        tree.append(leaf_hash(one))
    return tree


@pytest.mark.parametrize("size", range(9))
def test_roots_of_the_known_leaves_are_the_known_roots(size: int) -> None:
    """The published vectors hold, in the growing tree and over a getter."""
    data = KNOWN_LEAVES[:size]

    assert grown(data).root().hex() == KNOWN_ROOTS[size]
    assert tree_root(size, getter(data)).hex() == KNOWN_ROOTS[size]


@given(st.lists(st.binary(max_size=40), max_size=80), st.data())
def test_a_growing_tree_has_the_root_of_the_definition(
    data: list[bytes], draw: st.DataObject
) -> None:
    """Grown leaf by leaf, and taken up again anywhere, the root is the RFC's."""
    stop = draw.draw(st.integers(0, len(data)))
    early = grown(data[:stop])
    tree = CompactRange(early.size, early.frontier)
    for one in data[stop:]:
        tree.append(leaf_hash(one))

    assert tree.head() == (len(data), mth(data))


@given(st.integers(0, 5), st.integers(0, 20))
def test_whole_subtrees_are_appended_as_their_leaves(level: int, rest: int) -> None:
    """A perfect subtree's root stands for its leaves."""
    data = leaves((3 << level) + rest)
    tree = CompactRange()
    for begin in range(0, 3 << level, 1 << level):
        block = data[begin : begin + (1 << level)]
        tree.append(subtree_root([leaf_hash(one) for one in block]), level)
    for one in data[3 << level :]:
        tree.append(leaf_hash(one))

    assert tree.root() == mth(data)


@given(SIZES, st.data())
def test_inclusion_proofs_are_those_of_the_definition(
    size: int, draw: st.DataObject
) -> None:
    """Each proof is the RFC's, asks only for what is complete, and is accepted."""
    index = draw.draw(st.integers(0, size - 1))
    data = leaves(size)
    proof = inclusion_path(index, size, getter(data))

    assert proof == path(index, data)
    verify_inclusion(index, leaf_hash(data[index]), TreeHead(size, mth(data)), proof)


@given(SIZES, st.data())
def test_consistency_proofs_are_those_of_the_definition(
    new: int, draw: st.DataObject
) -> None:
    """Each proof is the RFC's, asks only for what is complete, and is accepted."""
    old = draw.draw(st.integers(0, new))
    data = leaves(new)
    proof = consistency_path(old, new, getter(data))
    before, after = TreeHead(old, mth(data[:old])), TreeHead(new, mth(data))

    assert proof == (subproof(old, data, known=True) if old else [])
    verify_consistency(before, after, proof)


@given(SIZES, st.data())
def test_a_changed_inclusion_proof_proves_nothing(
    size: int, draw: st.DataObject
) -> None:
    """One byte, one hash more or less, another leaf, index or root: refused."""
    index = draw.draw(st.integers(0, size - 1))
    data = leaves(size)
    head, leaf = TreeHead(size, mth(data)), leaf_hash(data[index])
    proof = inclusion_path(index, size, getter(data))
    flipped = leaf[:-1] + bytes([leaf[-1] ^ 1])
    changed = [[*proof, leaf], proof[:-1]] if proof else [[leaf]]
    for place, one in enumerate(proof):
        bad = one[:-1] + bytes([one[-1] ^ 1])
        changed.append([*proof[:place], bad, *proof[place + 1 :]])

    for bad_path in changed:
        with pytest.raises(ProofError):
            verify_inclusion(index, leaf, head, bad_path)
    with pytest.raises(ProofError):
        verify_inclusion(index, flipped, head, proof)
    with pytest.raises(ProofError):
        verify_inclusion(index, leaf, TreeHead(size, flipped), proof)
    if size > 1:
        with pytest.raises(ProofError):
            verify_inclusion((index + 1) % size, leaf, head, proof)


@given(st.integers(2, 70), st.data())
def test_a_changed_past_is_never_consistent(new: int, draw: st.DataObject) -> None:
    """A tree that differs in one old leaf, with a proof of its own, is refused."""
    old = draw.draw(st.integers(1, new))
    edited = draw.draw(st.integers(0, old - 1))
    data = leaves(new)
    before = TreeHead(old, mth(data[:old]))
    data[edited] = b"rewritten"
    proof = consistency_path(old, new, getter(data))

    with pytest.raises(ProofError):
        verify_consistency(before, TreeHead(new, mth(data)), proof)


@given(st.integers(2, 70), st.data())
def test_a_changed_consistency_proof_proves_nothing(
    new: int, draw: st.DataObject
) -> None:
    """One byte, or one hash more or less, and the proof is refused."""
    old = draw.draw(st.integers(1, new - 1))
    data = leaves(new)
    before, after = TreeHead(old, mth(data[:old])), TreeHead(new, mth(data))
    proof = consistency_path(old, new, getter(data))
    changed = [[*proof, EMPTY_ROOT], proof[:-1], []]
    for place, one in enumerate(proof):
        bad = bytes([one[0] ^ 128]) + one[1:]
        changed.append([*proof[:place], bad, *proof[place + 1 :]])

    for bad_path in changed:
        with pytest.raises(ProofError):
            verify_consistency(before, after, bad_path)


def test_what_needs_no_proof_takes_none() -> None:
    """Trees of one size, or empty ones, are told apart by their roots alone."""
    one, other = TreeHead(3, bytes(32)), TreeHead(3, bytes([1] * 32))
    verify_consistency(one, one, [])
    verify_consistency(TreeHead(0, EMPTY_ROOT), one, [])

    for before, after, proof in (
        (one, other, []),
        (TreeHead(0, bytes(32)), one, []),
        (one, one, [bytes(32)]),
        (TreeHead(4, bytes(32)), one, []),
    ):
        with pytest.raises(ProofError):
            verify_consistency(before, after, proof)


def test_what_is_out_of_bounds_is_refused() -> None:
    """Records that are not there, hashes that are none, proofs without an end."""
    get = getter(leaves(3))

    for refused in (
        lambda: inclusion_path(3, 3, get),
        lambda: inclusion_path(-1, 3, get),
        lambda: consistency_path(4, 3, get),
        lambda: root_from_inclusion(3, 3, bytes(32), []),
        lambda: root_from_inclusion(0, 2, bytes(32), [bytes(31)]),
        lambda: root_from_inclusion(0, 2**62, bytes(32), [bytes(32)] * 65),
    ):
        with pytest.raises(ProofError):
            refused()


def test_a_frontier_must_fit_its_size() -> None:
    """A tree is not taken up from what no tree of that size has."""
    for size, frontier in ((3, [bytes(32)]), (0, [bytes(32)]), (1, [bytes(31)])):
        with pytest.raises(ValueError, match=r"frontier|bytes"):
            CompactRange(size, frontier)
    with pytest.raises(ValueError, match="level"):
        CompactRange(1, [bytes(32)]).append(bytes(32), level=1)


def test_nodes_and_leaves_are_hashed_apart() -> None:
    """No leaf has the hash of an inner node over the same bytes."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")

    assert node_hash(left, right) != leaf_hash(left + right)
