"""The ports: what the engine asks of the outside, and what each promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from comptroller.core.credential import Credential
from comptroller.core.rates import RateCard
from comptroller.core.usage import Usage
from comptroller.engine.deletion_ports import DeletionReports
from comptroller.engine.leasing import AskLeases, Leased
from comptroller.engine.ledger_ports import Ledger
from comptroller.engine.object_ports import ObjectReports
from comptroller.engine.policy_ports import PolicyReports
from comptroller.engine.retention_ports import RetentionReports


class Clock(Protocol):
    """The time."""

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""

    def monotonic_s(self) -> float:
        """Seconds that never go back, for durations and deadlines."""


class Ids(Protocol):
    """Unique, time-ordered identifiers."""

    def new(self) -> str:
        """A ULID: 26 characters, increasing within a process."""


class Timer(Protocol):
    """Something that will be called."""

    def cancel(self) -> None:
        """Lets it not be called."""


class Timers(Protocol):
    """Calls things later, on the process's one event loop."""

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Calls once, not before so many seconds; never inside this call."""


class LeaseDesk(Protocol):
    """Where a worker asks for leases: the control process, seen from outside."""

    def ask(self, asked: AskLeases, on_answer: Callable[[Leased | None], None]) -> None:
        """Asks once; never blocks.

        Args:
            asked: the ask. The same number may be sent again until it is answered.
            on_answer: called once on the event loop, not inside this call; with
                None when no answer came in time: it may have been done or not.
        """

    def returned(self) -> None:
        """Says that a `lease.returned` record is durable; may be lost."""


class Entropy(Protocol):
    """Randomness for secrets."""

    def token(self, bytes_count: int) -> bytes:
        """So many unpredictable bytes."""


class Journal(Protocol):
    """One process's append-only file of records; the process alone writes it.

    A record is one JSON document without a newline. Order is kept. After any
    failure to write or to sync, the journal stays failed: every later append
    raises, so that nothing can be forwarded unrecorded.
    """

    source: str
    """CloudEvents `source` of this journal: `/node/worker/boot`."""
    failed: bool
    """Whether nothing can be recorded any more until the process is started anew."""

    @property
    def sequence(self) -> int:
        """Of the next record, which its builder takes; the append counts it on."""

    def append(
        self, record: bytes, on_durable: Callable[[bool], None] | None = None
    ) -> None:
        """Writes a record; never blocks for the disk.

        Args:
            record: the exact bytes of the record, at most 65,535.
            on_durable: called once on the event loop, with True when the record
                is as durable as the journal's mode promises, or with False when
                that failed. None: the caller does not wait, and the record
                becomes durable with a later one or within a second.

        Raises:
            JournalUnavailableError: it has failed or is closed; nothing is written.
        """

    def close(self) -> None:
        """Makes all durable and lets go of the lock."""


class DurableJournal(Protocol):
    """The journal of a process that may wait: what it took is on disk."""

    source: str
    """CloudEvents `source` of this journal: `/node/worker/boot`."""

    @property
    def sequence(self) -> int:
        """Of the next record, from which builders count; appends count it on."""

    def append_all(self, batch: Sequence[bytes]) -> None:
        """Appends records in order, with one wait for the disk.

        Raises:
            JournalUnavailableError: not all are durable; it has failed for good.
        """


class JournalPosition(NamedTuple):
    """A place in a journal."""

    source: str
    offset: int
    """Bytes from the start of the source's stream of records."""


class JournalRecord(NamedTuple):
    """A record with where it stands, so that it can be shown again."""

    source: str
    offset: int
    line: bytes
    """The exact bytes, without the newline."""


class JournalReader(Protocol):
    """Reads all journals of a data directory, whoever writes them."""

    def sources(self) -> Sequence[str]:
        """Every source that has a journal, oldest first."""

    def read(self, source: str, offset: int, bytes_max: int) -> Sequence[JournalRecord]:
        """The complete records from an offset on; a torn tail is not returned."""

    def size(self, source: str) -> int:
        """Bytes in the source's stream, a torn tail included."""

    def is_dead(self, source: str) -> bool:
        """True when its process is gone for sure: its lock could be taken."""

    def record_at(self, position: JournalPosition) -> bytes:
        """The exact bytes of the record that begins there."""


class SnapshotStore(Protocol):
    """The state that workers serve from, replaced as a whole."""

    def publish(self, snapshot: bytes) -> None:
        """Replaces it atomically and durably; readers see the old or the new."""

    def read_if_changed(self) -> bytes | None:
        """The snapshot when it changed since this reader's last call, else None."""


class RateCards(Protocol):
    """Every rate card that was ever in force, so that a cost can be shown again."""

    def keep(self, card: RateCard) -> None:
        """Keeps a card durably; keeping it again changes nothing."""

    def card(self, version: str) -> RateCard | None:
        """The card of a version; None: it is not kept here."""


class SecretResolver(Protocol):
    """Secrets by reference."""

    def resolve(self, reference: str) -> str:
        """The secret behind `env:NAME` or `file:PATH`.

        Raises:
            ConfigurationError: there is none, with the reference and what to do.
        """


class RegistryObject(NamedTuple):
    """One applied object of the configuration."""

    kind: str
    id: str
    body: bytes
    """JSON of the core.registry value."""


class CredentialRow(NamedTuple):
    """A credential with when it was last used."""

    credential: Credential
    last_used_ns: int | None


class RequestRow(NamedTuple):
    """One request, as `comptroller requests` shows it (design.md §8)."""

    request_id: str
    time_ns: int
    tenant: str
    unit: str
    service: str
    credential_id: str
    person: str
    owner_policy: str
    owner_billing: str
    owner_technical: str
    decision: str
    reason: str
    route: str
    model: str | None
    model_answered: str | None
    usage: Usage
    usage_source: str | None
    cost_nano_usd: int
    hold_nano_usd: int
    rate_card: str | None
    state: str
    """`open`, `settled`, `released`, `abandoned` or `refused`."""
    duration_us: int | None
    decided_at: JournalPosition
    ended_at: JournalPosition | None


class RequestQuery(NamedTuple):
    """Which requests, newest first."""

    service: str | None = None
    decision: str | None = None
    since_ns: int | None = None
    limit: int | None = 100
    """None: all."""


class SpendRow(NamedTuple):
    """Spend of one key over a span of time."""

    key: str
    requests: int
    usage: Usage
    cost_nano_usd: int


class Reports(Protocol):
    """Reads of the store; any process may hold one, the data is as projected."""

    def requests(self, query: RequestQuery) -> Sequence[RequestRow]:
        """The requests that match, newest first."""

    def request(self, request_id: str) -> RequestRow | None:
        """One request."""

    def spend(self, by: str, since_ns: int | None) -> Sequence[SpendRow]:
        """Spend by `owner` (billing), `unit`, `service`, `model` or `credential`.

        Of requests decided at or after since_ns, dearest first. What was refused
        counts no request, what is still open none yet, what was released one.
        """

    def registry_objects(self) -> Sequence[RegistryObject]:
        """Everything applied, at the revision of `revision()`."""

    def revision(self) -> int:
        """The revision of the last applied configuration; 0: none yet."""

    def credentials(self) -> Sequence[CredentialRow]:
        """Every credential ever issued, oldest first."""


class OpenRequest(NamedTuple):
    """A decision without an end."""

    request_id: str
    hold_nano_usd: int
    """Of one whose hold grows with its stream, as far as it grew."""
    hold_usage: Usage


class Store(
    Reports,
    Ledger,
    PolicyReports,
    ObjectReports,
    RetentionReports,
    DeletionReports,
    Protocol,
):
    """The store; the control process alone writes it."""

    def position(self, source: str) -> int:
        """The offset up to which a source has been projected; 0: nothing yet."""

    def project(self, records: Sequence[JournalRecord], end: JournalPosition) -> None:
        """Projects records of one source and moves its position, in one step.

        Records before the position are ignored, so a repeat changes nothing.

        Raises:
            StoreUnavailableError: nothing was changed.
        """

    def open_sources(self) -> Sequence[str]:
        """The sources that have allowed decisions without an end."""

    def open_requests(self, source: str) -> Sequence[OpenRequest]:
        """The allowed decisions of a source that have no end yet."""

    def is_lost(self) -> bool:
        """Whether another store, or none, is in its place: nobody reads this one."""


class TokenCounter(Protocol):
    """Exact tokenizers, to count a prompt whose bytes do not fit a budget."""

    def counter(self, encoding: str) -> Callable[[str], int] | None:
        """Counts the tokens of a text, exactly as the models' provider does.

        Args:
            encoding: the tokenizer's name, such as `o200k_base`.

        Returns:
            None: there is none, or it is not loaded yet; asking begins to load it,
            apart from the event loop, and a later call may get it.
        """


class UpstreamFailure(NamedTuple):
    """Why an upstream call ended without a whole reply."""

    code: str
    """`connect`, `tls`, `timeout`, `reset`, `garbage`, `too_large`, `busy`."""
    detail: str
    """For people; no secrets, no prompt text."""
    sent: bool
    """Whether any byte of the request may have reached the provider."""


class ReplySink(Protocol):
    """Takes one upstream reply as it arrives; called on the event loop, in order."""

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The reply's status and headers, names as sent; hop-by-hop ones included."""

    def on_data(self, data: bytes) -> None:
        """The next bytes of the body, transfer coding removed."""

    def on_end(self) -> None:
        """The reply is whole. Nothing follows."""

    def on_failed(self, failure: UpstreamFailure) -> None:
        """The reply will not be whole. Nothing follows."""


class UpstreamCall(Protocol):
    """One call under way."""

    def pause(self) -> None:
        """Stops reading the reply, so that the provider feels back-pressure."""

    def resume(self) -> None:
        """Reads on."""

    def abort(self) -> bool:
        """Closes the connection; the sink hears nothing more.

        Returns:
            Whether any byte of the request may have reached the provider.
        """


class UpstreamTarget(NamedTuple):
    """Where a call goes."""

    host: str
    port: int
    tls: bool
    ca_file: str | None


class UpstreamRequest(NamedTuple):
    """What is sent, as bytes ready for the socket."""

    target: UpstreamTarget
    head: bytes
    body: bytes
    first_byte_timeout_s: float
    idle_timeout_s: float


class Upstreams(Protocol):
    """Calls to providers. A request is sent at most once."""

    @property
    def unsent_bytes(self) -> int:
        """Bytes of request bodies that wait here for a provider to take them."""

    def call(self, request: UpstreamRequest, sink: ReplySink) -> UpstreamCall:
        """Starts a call; the sink hears of everything that follows.

        A pooled connection that turns out to be closed before anything was
        written is replaced; once a byte may have been sent nothing is repeated.
        """

    async def close(self) -> None:
        """Closes idle connections; calls under way are aborted."""
