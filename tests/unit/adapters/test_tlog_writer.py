from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from comptroller.adapters.tlog.keys import TrailKey
from comptroller.adapters.tlog.reader import TreeReader, read_checkpoint
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.core.checkpoint import (
    NoteSignature,
    format_note,
    parse_checkpoint,
    parse_note,
    verified,
)
from comptroller.core.errors import TrailDamagedError, TrailUnavailableError
from comptroller.core.merkle import (
    EMPTY_ROOT,
    CompactRange,
    TreeHead,
    leaf_hash,
    verify_consistency,
)

KEY = TrailKey("trail.example/test", bytes(32))
SIZES = [0, 1, 255, 256, 257, 511, 513, 65_537]


def records(begin: int, end: int) -> list[bytes]:
    return [b'{"record":%d}' % number for number in range(begin, end)]


def head_of(written: Sequence[bytes]) -> TreeHead:
    tree = CompactRange()
    for one in written:
        tree.append(leaf_hash(one))
    return tree.head()


@contextmanager
def opened(folder: Path) -> Iterator[TrailWriter]:
    writer = TrailWriter(folder, KEY)
    try:
        yield writer
    finally:
        writer.close()


def grow(folder: Path, *sizes: int) -> None:
    """Appends and publishes up to each size, each by a writer of its own."""
    for size in sizes:
        with opened(folder) as writer:
            writer.append(records(writer.size, size), {"source": size})
            writer.publish()


def published(folder: Path) -> TreeHead:
    note = read_checkpoint(folder)
    assert note is not None
    return parse_checkpoint(verified(note, [KEY])[0].body).head


def files(folder: Path) -> list[str]:
    return sorted(
        str(one.relative_to(folder))
        for one in folder.rglob("*")
        if one.is_file() and one.name != "lock"
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch", [100, 65_537])
def test_a_log_of_any_size_is_read_back(tmp_path: Path, size: int, batch: int) -> None:
    """Around full tiles and above: all records, the true root, and a new start."""
    with opened(tmp_path) as writer:
        for begin in range(0, size, batch):
            end = min(size, begin + batch)
            assert writer.append(records(begin, end), {"source": end}) == begin
        writer.publish()
        assert writer.head == head_of(records(0, size))
    reader = TreeReader(tmp_path, size)

    assert published(tmp_path) == reader.head() == head_of(records(0, size))
    assert list(reader.records()) == records(0, size)
    with opened(tmp_path) as writer:
        assert (writer.size, writer.published) == (size, reader.head())
        assert writer.positions == ({"source": size} if size else {})
        writer.append([b"next"], {})
        writer.publish()
    assert published(tmp_path) == head_of([*records(0, size), b"next"])


@pytest.mark.parametrize("parts", [(1, 1), (255, 256, 257), (700, 3), (300,) * 9])
def test_a_batch_in_parts_leaves_the_same_files(
    tmp_path: Path, parts: Sequence[int]
) -> None:
    """Only what is durable in the end has partial files, however it came."""
    every = records(0, sum(parts) + 5)
    with opened(tmp_path / "whole") as writer:
        writer.append(every, {})
    with opened(tmp_path / "parts") as writer:
        rest = every
        for size in parts:
            writer.extend(rest[:size])
            rest = rest[size:]
        assert writer.append(rest, {}) == sum(parts)
    assert files(tmp_path / "parts") == files(tmp_path / "whole")
    for name in files(tmp_path / "whole"):
        both = ((tmp_path / one / name).read_bytes() for one in ("whole", "parts"))
        assert len(set(both)) == 1, name


def test_what_was_only_taken_in_is_not_there_after_a_new_start(
    tmp_path: Path,
) -> None:
    """Its full bundles are, without a name in the state; they are written again."""
    grow(tmp_path, 100)
    with opened(tmp_path) as writer:
        writer.extend(records(1000, 2000))
    with opened(tmp_path) as writer:
        assert (writer.size, writer.positions) == (100, {"source": 100})
    grow(tmp_path, 700)
    assert list(TreeReader(tmp_path, 700).records()) == records(0, 700)
    assert published(tmp_path) == head_of(records(0, 700))


def test_partial_files_stand_beside_full_ones_as_the_format_says(
    tmp_path: Path,
) -> None:
    """Each published size has its files; those a full one replaced are gone."""
    grow(tmp_path, 255)
    assert files(tmp_path) == [
        "checkpoint",
        "state.json",
        "tile/0/000.p/255",
        "tile/entries/000.p/255",
    ]
    grow(tmp_path, 256)
    full = ["tile/0/000", "tile/1/000.p/1", "tile/entries/000"]
    assert files(tmp_path) == ["checkpoint", "state.json", *full]
    grow(tmp_path, 257, 259)
    assert files(tmp_path) == [
        "checkpoint",
        "state.json",
        "tile/0/000",
        "tile/0/001.p/1",
        "tile/0/001.p/3",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/1",
        "tile/entries/001.p/3",
    ]


def test_an_empty_log_is_published_and_continued(tmp_path: Path) -> None:
    """Nothing is a size, too: the first checkpoint may come before any record."""
    grow(tmp_path, 0)
    assert published(tmp_path) == TreeHead(0, EMPTY_ROOT)
    grow(tmp_path, 3)

    assert published(tmp_path) == head_of(records(0, 3))


def test_what_is_not_new_is_published_as_it_is(tmp_path: Path) -> None:
    """A heartbeat keeps the note, and what a witness added to it."""
    grow(tmp_path, 5)
    note = parse_note((tmp_path / "checkpoint").read_bytes())
    witness = NoteSignature("witness.example", b"abcd", bytes(72))
    both = format_note(note._replace(signatures=(*note.signatures, witness)))
    (tmp_path / "checkpoint").write_bytes(both)

    with opened(tmp_path) as writer:
        assert writer.publish() == both
    assert (tmp_path / "checkpoint").read_bytes() == both


def test_one_process_writes(tmp_path: Path) -> None:
    """A second writer is refused, until the first lets go."""
    with (
        opened(tmp_path),
        pytest.raises(TrailUnavailableError, match="another process"),
    ):
        TrailWriter(tmp_path, KEY)
    with opened(tmp_path) as writer:
        writer.append([b"x"], {})
    with pytest.raises(TrailUnavailableError, match="closed"):
        writer.append([b"x"], {})


def test_a_record_too_long_appends_nothing(tmp_path: Path) -> None:
    """The batch is refused as a whole, and the log goes on."""
    with opened(tmp_path) as writer:
        with pytest.raises(ValueError, match="65536"):
            writer.append([b"good", bytes(65_536)], {"source": 1})
        assert (writer.size, writer.positions) == (0, {})
        writer.append([bytes(65_535)], {"source": 2})
        assert writer.head == head_of([bytes(65_535)])


def test_positions_may_change_without_records(tmp_path: Path) -> None:
    """A journal that ended is remembered even if it left nothing new."""
    grow(tmp_path, 2)
    with opened(tmp_path) as writer:
        writer.append([], {"source": 2, "ended": [True, None, "x"]})
    with opened(tmp_path) as writer:
        assert writer.positions == {"source": 2, "ended": [True, None, "x"]}
        assert writer.size == 2


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The kernel refuses longer files, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_after_an_error_of_the_disk_nothing_is_written_or_signed(
    tmp_path: Path,
) -> None:
    """The writer stops; the next one continues with what was durable."""
    grow(tmp_path, 300)
    before = (tmp_path / "checkpoint").read_bytes()
    handles = len(list(Path("/proc/self/fd").iterdir()))
    with opened(tmp_path) as writer:
        with (
            files_of_at_most(4096),
            pytest.raises(TrailUnavailableError, match="cannot be written"),
        ):
            writer.append(records(300, 900), {"source": 900})
        with pytest.raises(TrailUnavailableError, match="failed before"):
            writer.publish()
        with pytest.raises(TrailUnavailableError, match="failed before"):
            writer.append([b"x"], {})
    assert (tmp_path / "checkpoint").read_bytes() == before
    assert len(list(Path("/proc/self/fd").iterdir())) == handles

    with opened(tmp_path) as writer:
        assert (writer.size, writer.positions) == (300, {"source": 300})
    grow(tmp_path, 700)
    assert published(tmp_path) == head_of(records(0, 700))


# -- what is not what was written ----------------------------------------------------


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    grow(folder, 100, 300)
    return folder


def copied(log: Path, to: Path) -> Path:
    return Path(shutil.copytree(log, to / "trail"))


EDGE = [
    "state.json",
    "checkpoint",
    "tile/0/001.p/44",
    "tile/1/000.p/1",
    "tile/entries/001.p/44",
]


@pytest.mark.parametrize("name", EDGE)
@pytest.mark.parametrize("part", range(10))
def test_a_flipped_bit_is_named_and_nothing_is_signed(
    log: Path, tmp_path: Path, name: str, part: int
) -> None:
    """Whatever file of the edge is damaged: a new start fails and says which."""
    folder = copied(log, tmp_path)
    data = bytearray((folder / name).read_bytes())
    data[part * (len(data) - 1) // 9] ^= 1 << part % 8
    (folder / name).write_bytes(data)
    before = (folder / "checkpoint").read_bytes()

    with pytest.raises(TrailDamagedError, match=name):
        TrailWriter(folder, KEY)
    assert (folder / "checkpoint").read_bytes() == before


@pytest.mark.parametrize("name", EDGE)
@pytest.mark.parametrize("keep", [None, 0, 20])
def test_a_lost_or_cut_file_is_named(
    log: Path, tmp_path: Path, name: str, keep: int | None
) -> None:
    """A file that is gone or cut is not made up."""
    folder = copied(log, tmp_path)
    data = (folder / name).read_bytes()
    (folder / name).unlink()
    if keep is not None:
        (folder / name).write_bytes(data[:keep])
    lost_unseen = name == "checkpoint" and keep is None
    if lost_unseen:  # the state knows of the one before it
        name = "100 records was published"

    with pytest.raises(TrailDamagedError, match=name):
        TrailWriter(folder, KEY)


def test_a_damaged_old_tile_is_never_signed_into_a_new_root(
    log: Path, tmp_path: Path
) -> None:
    """Full tiles are not read at each start; the root stays the true one."""
    folder = copied(log, tmp_path)
    data = bytearray((folder / "tile/0/000").read_bytes())
    data[5000] ^= 4
    (folder / "tile/0/000").write_bytes(data)

    with (
        pytest.raises(TrailDamagedError, match="does not continue"),
        opened(folder) as writer,  # 100, the state's checkpoint, is below that tile
    ):
        writer.publish()
    assert published(folder) == head_of(records(0, 300))


def test_an_older_state_does_not_continue_a_newer_checkpoint(
    log: Path, tmp_path: Path
) -> None:
    """Putting back an old copy of the log, to sign another future, fails."""
    folder = copied(log, tmp_path)
    grow(folder, 310)
    newer = (folder / "checkpoint").read_bytes()
    shutil.rmtree(folder)
    folder = copied(log, tmp_path)
    (folder / "checkpoint").write_bytes(newer)

    with pytest.raises(TrailDamagedError, match="310 records was signed, and 300"):
        TrailWriter(folder, KEY)


def test_another_past_is_not_signed(log: Path, tmp_path: Path) -> None:
    """A longer log of other records, put in place of this, contradicts its note."""
    other = tmp_path / "other"
    with opened(other) as writer:
        writer.append([b"rewritten", *records(1, 400)], {})
        writer.publish()
    shutil.copy(log / "checkpoint", other / "checkpoint")

    with pytest.raises(TrailDamagedError, match="a tree of 300 records was signed"):
        TrailWriter(other, KEY)


def test_a_note_exchanged_while_running_stops_the_writer(
    log: Path, tmp_path: Path
) -> None:
    """What stands on the disk is read again before each signature."""
    folder = copied(log, tmp_path)
    older = tmp_path / "older"
    grow(older, 100)
    with opened(folder) as writer:
        writer.append([b"x"], {})
        shutil.copy(older / "checkpoint", folder / "checkpoint")
        with pytest.raises(TrailDamagedError, match="not the one published last"):
            writer.publish()
        with pytest.raises(TrailUnavailableError, match="failed before"):
            writer.publish()


def test_another_key_does_not_continue_a_log(log: Path, tmp_path: Path) -> None:
    """Neither another name nor another key of the same name."""
    folder = copied(log, tmp_path)
    for key in (
        TrailKey("other.example", bytes(32)),
        TrailKey(KEY.key.name, bytes(31) + b"x"),
    ):
        with pytest.raises(TrailDamagedError, match=r"other|checkpoint"):
            TrailWriter(folder, key)


def test_an_honest_log_is_consistent_from_size_to_size(tmp_path: Path) -> None:
    """Every published tree begins with each one before it."""
    heads = []
    for size in (1, 7, 255, 256, 300, 512, 700):
        grow(tmp_path, size)
        heads.append(published(tmp_path))

    for place, new in enumerate(heads):
        for old in heads[:place]:
            proof = TreeReader(tmp_path, new.size).consistency(old.size)
            verify_consistency(old, new, proof)
