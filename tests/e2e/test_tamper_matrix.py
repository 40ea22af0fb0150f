"""What somebody does to the trail of a gateway, and who says what was done.

Each row spoils a copy of one real data directory; the stand-alone verifier and
`comptroller audit verify` must both end with 1 and name it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import pytest
from tlog_scales.signing import Vkey
from tlog_scales.tlog import Checkpoint, InclusionProof, InclusionProofInvalid

from comptroller.adapters.tlog.keys import read_key
from comptroller.adapters.tlog.reader import TreeReader
from comptroller.adapters.tlog.state import decode_state, encode_state
from comptroller.adapters.tlog.tiles import decode_bundle, encode_bundle
from comptroller.adapters.tlog.writer import TrailWriter
from comptroller.core.checkpoint import parse_checkpoint, parse_note
from comptroller.testing.chat import chat
from comptroller.testing.provider.process import running_provider
from comptroller.testing.small import small_configuration
from comptroller.testing.tree import ServeTree, command, run_command, told

MODELS = {"chat": "price: {input: 1, output: 2}, max_output_tokens: 9999"}
REQUESTS: Final = 8


class Site:
    """A copy of the data directory of a gateway that has stopped."""

    def __init__(self, folder: Path, kept: Path) -> None:
        self.folder = folder
        self.data = folder / "comptroller-data"
        self.trail = self.data / "trail"
        self.kept = kept
        """An older checkpoint that somebody else has."""

    def size(self) -> int:
        """Of the tree in the checkpoint."""
        note = parse_note((self.trail / "checkpoint").read_bytes())
        return parse_checkpoint(note.body).head.size

    def records(self) -> list[bytes]:
        """All of the trail."""
        return list(TreeReader(self.trail, self.size()).records())

    def entries(self, change: Callable[[list[bytes]], None]) -> None:
        """Edits the file of entries, as whoever has no key can."""
        size = self.size()
        path = self.trail / f"tile/entries/000.p/{size}"
        records = decode_bundle(path.read_bytes(), size, "entries")
        change(records)
        path.write_bytes(encode_bundle(records))

    def sign_anew(self, change: Callable[[list[bytes]], None]) -> None:
        """Writes another history and signs it, as whoever has the key can."""
        records = self.records()
        change(records)
        shutil.rmtree(self.trail)
        writer = TrailWriter(self.trail, read_key(self.data / "keys/trail.key"))
        writer.append(records, {})
        writer.publish()
        writer.close()

    def verify(self, *words: str) -> tuple[int, str]:
        """What the stand-alone verifier says."""
        vkey = (self.data / "trail.vkey").read_text().strip()
        program = [sys.executable, "-m", "comptroller.verify", str(self.trail)]
        done = subprocess.run(
            [*program, "--vkey", vkey, *words],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def audit(self, *words: str) -> tuple[int, str]:
        """What the command says."""
        done = command(self.folder, "audit", "verify", *words)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gateway's whole folder, after it stopped; `kept` is an older checkpoint."""
    folder = tmp_path_factory.mktemp("recorded")
    with running_provider() as origin:
        provider = f"{{base_url: {origin}, speaks: [openai]}}"
        text = small_configuration(provider, MODELS)
        (folder / "comptroller.yaml").write_text(text)
        run_command(folder, "apply", "--yes")
        key = told(folder, "key", "issue", "checkout", "--for", "ada")["secret"]
        data = folder / "comptroller-data"
        run_command(folder, "audit", "sequence")
        shutil.copy(data / "trail/checkpoint", folder / "oldest")
        for _ in range(2):
            tree = ServeTree(folder, 1)
            for _ in range(REQUESTS):
                chat(tree.port, key)
            assert tree.stop() == 0, tree.log()
            if not (folder / "kept").exists():
                shutil.copy(data / "trail/checkpoint", folder / "kept")
    return folder


@pytest.fixture
def site(recorded: Path, tmp_path: Path) -> Site:
    def without_sockets(folder: str, names: list[str]) -> list[str]:
        return [one for one in names if (Path(folder) / one).is_socket()]

    to = tmp_path / "site"
    shutil.copytree(recorded, to, ignore=without_sockets)
    return Site(to, to / "kept")


def decided(records: list[bytes]) -> int:
    """The place of a decision that is in the tree of the older checkpoint."""
    return next(n for n, one in enumerate(records) if b".decided.v1" in one)


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def flip_entry(site: Site) -> None:
    def change(records: list[bytes]) -> None:
        place = decided(records)
        records[place] = records[place].replace(b'"allow"', b'"bllow"', 1)

    site.entries(change)


def flip_tile(site: Site) -> None:
    flip(site.trail / f"tile/0/000.p/{site.size()}", 33)


def flip_checkpoint(site: Site) -> None:
    path = site.trail / "checkpoint"
    flip(path, path.read_bytes().rindex(b"=\n") - 6)


def dropped(records: list[bytes]) -> None:
    del records[decided(records)]


def repeated(records: list[bytes]) -> None:
    place = decided(records)
    records.insert(place, records[place])


def swapped(records: list[bytes]) -> None:
    places = [n for n, one in enumerate(records) if b".decided.v1" in one]
    one, other = places[0], places[1]
    records[one], records[other] = records[other], records[one]


def rewritten(records: list[bytes]) -> None:
    place = decided(records)
    records[place] = records[place].replace(b'"allow"', b'"ALLOW"', 1)


def sealed_anew(records: list[bytes]) -> None:
    """Makes every seal that of the records before it, as if nothing had been."""
    begins: dict[str, int] = {}
    lines: dict[str, list[bytes]] = {}
    for place, record in enumerate(records):
        head = msgspec.json.decode(record)
        covered = lines.setdefault(head["source"], [])
        if "sha256" in head["data"] and ".journal." in head["type"]:
            text = b"".join(one + b"\n" for one in covered)
            begin = begins.get(head["source"], 0)
            head["data"] = {"from": begin, "sha256": sha256(text).hexdigest()}
            records[place] = msgspec.json.encode(head)
            begins[head["source"]] = int(head["sequence"])
            covered.clear()
        covered.append(records[place])


def truncate(site: Site) -> None:
    def change(records: list[bytes]) -> None:
        note = parse_note(site.kept.read_bytes())
        del records[parse_checkpoint(note.body).head.size - 1 :]

    site.sign_anew(change)


def fork(site: Site) -> None:
    """Another history from an early record on, which grows beyond the first."""

    def change(records: list[bytes]) -> None:
        last = records[-1]
        rewritten(records)
        head = msgspec.json.decode(last)
        for step in (1, 2, 3):
            more = head | {
                "sequence": str(int(head["sequence"]) + step),
                "id": f"forked-{step}",
            }
            records.append(msgspec.json.encode(more))

    site.sign_anew(change)


class Row(NamedTuple):
    """A thing that somebody does, and the words that name it."""

    name: str
    does: Callable[[Site], None]
    says: str
    needs_older: bool = False
    """Whether only a checkpoint kept elsewhere tells the verifier."""


MATRIX: Final = [
    Row("a flipped byte in an entry", flip_entry, "is not the one of tile/0/"),
    Row("a flipped byte in a tile", flip_tile, "is not the one of tile/0/"),
    Row("a flipped byte in a checkpoint", flip_checkpoint, "checkpoint: changed, or"),
    Row("a record dropped", lambda site: site.entries(dropped), "leaves a gap"),
    Row("a record repeated", lambda site: site.entries(repeated), "comes again"),
    Row("records swapped", lambda site: site.entries(swapped), "leaves a gap"),
    Row("dropped, signed", lambda site: site.sign_anew(dropped), "leaves a gap"),
    Row("repeated, signed", lambda site: site.sign_anew(repeated), "comes again"),
    Row("swapped, signed", lambda site: site.sign_anew(swapped), "leaves a gap"),
    Row("truncated, signed", truncate, "truncated since", needs_older=True),
    Row(
        "rewritten, signed",
        lambda site: site.sign_anew(rewritten),
        "forked or rewritten since",
        needs_older=True,
    ),
    Row("forked, signed", fork, "forked or rewritten since", needs_older=True),
]


@pytest.mark.parametrize("row", MATRIX, ids=lambda row: row.name)
def test_what_is_done_to_the_trail_is_named(site: Site, row: Row) -> None:
    """By the verifier and by the command, each of which ends with 1."""
    row.does(site)
    words = ("--since", str(site.kept)) if row.needs_older else ()
    for code, said in (site.verify(*words), site.audit(*words)):
        assert code == 1, said
        assert row.says in said
        assert "Traceback" not in said


def test_the_honest_trail_passes(site: Site) -> None:
    """Otherwise the matrix would prove nothing."""
    since = ("--since", str(site.kept))
    assert site.verify(*since)[0] == 0
    code, said = site.audit(*since)
    assert code == 0, said


def test_journals_tell_what_the_key_holder_did(site: Site) -> None:
    """With no older checkpoint, a seal contradicts it; seals made anew, the journals.

    Whoever has the key and makes everything anew is shown by a witness only.
    """
    site.sign_anew(rewritten)
    code, said = site.verify()
    assert code == 1
    assert "the journal was edited before it was sequenced" in said
    site.sign_anew(sealed_anew)
    assert site.verify()[0] == 0, "nothing in the log itself tells"
    code, said = site.audit()
    assert code == 1
    assert "has another record in its place" in said


def test_a_clock_set_back_is_named(site: Site) -> None:
    """Noted, not wrong: an honest clock may be set, too."""

    def change(records: list[bytes]) -> None:
        place = decided(records) + 1
        head = msgspec.json.decode(records[place]) | {"time": "2020-01-01T00:00:00Z"}
        records[place] = msgspec.json.encode(head)
        sealed_anew(records)

    site.sign_anew(change)
    for code, said in (site.verify(), site.audit()):
        assert "clock set back to 2020-01-01" in said
        assert code in {0, 1}
    assert site.verify()[0] == 0


def test_a_journal_edited_after_it_was_sequenced_is_named(site: Site) -> None:
    """The trail has the record that was there first."""
    for path in sorted((site.data / "journal").iterdir()):
        content = path.read_bytes()
        path.write_bytes(content.replace(b'"allow"', b'"ALLOW"', 1))
    code, said = site.audit()
    assert code == 1
    assert "has another record in its place" in said


@pytest.mark.parametrize("edit", ["dropped", "repeated", "broken"])
def test_a_journal_edited_before_it_is_sequenced_is_named(
    site: Site, edit: str
) -> None:
    """The sequencer notes it in the trail, for good."""
    shutil.rmtree(site.trail)
    (site.data / "trail.vkey").unlink()
    path = max((site.data / "journal").iterdir(), key=lambda one: one.stat().st_size)
    lines = path.read_bytes().splitlines(keepends=True)
    if edit == "dropped":
        del lines[3]
    elif edit == "repeated":
        lines.insert(3, lines[3])
    else:
        lines[3] = lines[3].replace(b'"', b"'", 3)
    path.write_bytes(b"".join(lines))
    run_command(site.folder, "audit", "sequence")
    assert "tells of a gap" in site.verify()[1]
    code, said = site.audit()
    assert code == 1, said
    assert "tells of a gap" in said
    source = path.stem.replace(".", "/")
    assert source in said


def test_an_edit_before_sequencing_that_keeps_form_and_sequence_is_named(
    site: Site,
) -> None:
    """By the journal's own seal, which its process worked out from what it wrote."""
    shutil.rmtree(site.trail)
    (site.data / "trail.vkey").unlink()
    path = next(
        one
        for one in sorted((site.data / "journal").iterdir())
        if b'"allow"' in one.read_bytes()
    )
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"allow"', b'"ALLOW"', 1))
    run_command(site.folder, "audit", "sequence")
    source = "/" + path.stem.replace(".", "/")
    for code, said in (site.verify(), site.audit()):
        assert code == 1, said
        assert f"the seal of {source} is not that of its records" in said
        assert "the journal was edited before it was sequenced" in said
        assert "tells of a gap" not in said


def test_an_older_checkpoint_put_back_is_named(site: Site) -> None:
    """By whoever has no key: the state says that more was signed.

    The last one but one is what a kill leaves: the next sequencer goes on from it.
    """
    shutil.copy(site.folder / "oldest", site.trail / "checkpoint")
    os.utime(site.trail / "checkpoint")
    code, said = site.audit()
    assert code == 1, said
    assert "state.json" in said


def test_a_state_that_says_nothing_is_named(site: Site) -> None:
    """It has no signature: what it would have told must not go unsaid."""
    path = site.trail / "state.json"
    path.write_bytes(path.read_bytes()[:-9])
    code, said = site.audit()
    assert code == 1, said
    assert "WRONG state.json" in said


def scaled(proof: bytes, record: bytes, vkey: str) -> None:
    """Has what another wrote check our proof of a record; raises what it has."""
    head, _, note = proof.partition(b"\n\n")
    _, index, *hashes = head.decode().split("\n")
    checkpoint = Checkpoint.from_text(note.decode())
    checkpoint.verify(Vkey.from_string(vkey))
    path = [b64decode(one) for one in hashes]
    number = int(index.removeprefix("index "))
    inclusion = InclusionProof(number, checkpoint.size, path)
    inclusion.check(sha256(b"\0" + record).digest(), checkpoint.root_hash)


def test_another_library_accepts_what_prove_wrote(site: Site) -> None:
    """And refuses another record, index or path."""
    subject = msgspec.json.decode(site.records()[decided(site.records())])["subject"]
    request_id = subject.rpartition("/")[2]
    found = told(site.folder, "audit", "prove", request_id, "--to", str(site.folder))
    for one in found["proofs"].values():
        record = Path(one["record"]).read_bytes()
        proof = Path(one["proof"]).read_bytes()
        scaled(proof, record, found["vkey"])
        lines = proof.split(b"\n")
        place = b"index %d" % one["index"]
        for bad, about in (
            (proof, record.replace(b'"', b"'", 1)),
            (proof.replace(place, b"index %d" % (one["index"] ^ 1)), record),
            (b"\n".join([*lines[:2], lines[3], lines[2], *lines[4:]]), record),
        ):
            with pytest.raises(InclusionProofInvalid):
                scaled(bad, about, found["vkey"])


def test_a_journal_that_nobody_will_take_is_named(site: Site) -> None:
    """Who edits state.json, which has no signature, keeps a journal out of the trail.

    The log itself cannot know of it.
    """
    source = "/n/w9/01Z"
    began = next(one for one in site.records() if b"journal.started.v1" in one)
    whose = msgspec.json.decode(began)["source"]
    line = began.replace(whose.encode(), source.encode()) + b"\n"
    (site.data / "journal/n.w9.01Z.jsonl").write_bytes(line)
    path = site.trail / "state.json"
    state = decode_state(path.read_bytes())
    for offset in (0, len(line)):
        ended = {**state.positions, source: [offset, 1, "ended"]}
        path.write_bytes(encode_state(msgspec.structs.replace(state, positions=ended)))
        run_command(site.folder, "audit", "sequence")
        assert site.verify()[0] == 0
        code, said = site.audit()
        assert code == 1, said
        assert f"the journal {source} is not all in the trail" in said
