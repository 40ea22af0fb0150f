from __future__ import annotations

import msgspec

from comptroller.engine import fold, records
from comptroller.engine.policy_records import POLICY_LOADED, PolicyLoaded
from comptroller.engine.recording import Recorder
from comptroller.testing.journal import InMemoryJournal
from comptroller.testing.system import FakeClock

A, B = "sha256:aa", "sha256:bb"


def test_a_load_is_recorded_before_what_is_decided_by_it() -> None:
    """The record stands where the worker put it, in the shape that stores read."""
    journal = InMemoryJournal("/node/w0/01A")
    recorder = Recorder(journal, FakeClock())
    recorder.unauthenticated("no_credential", 1)
    recorder.policy_loaded(A, None)
    recorder.unauthenticated("no_credential", 1)
    recorder.policy_loaded(None, A)
    envelopes = [
        msgspec.json.decode(record.line, type=records.Envelope)
        for record in journal.records
    ]
    assert [one.sequence for one in envelopes] == ["0", "1", "2", "3"]
    assert len({one.id for one in envelopes}) == 4
    assert envelopes[1].type == envelopes[3].type == POLICY_LOADED
    loads = fold.fold(journal.records).policies
    assert [one.data for one in loads] == [
        PolicyLoaded(revision=A, previous=None),
        PolicyLoaded(revision=None, previous=A),
    ]
    assert [one.offset for one in loads] == [
        journal.records[1].offset,
        journal.records[3].offset,
    ]
