"""What providers tell us: each event is stored once, and moves the message it speaks of forward.

An event may come twice, before its message's id is known to us, or after a later one. So the row comes first, and a
repetition ends there; what speaks of a message that is not known yet is parked, and looked for again by the sweep; and
a status only ever rises. The order inside a transaction is webhooks, messages, events, so that no two wait for each
other.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from sqlalchemy import Connection, Engine

from paceline.content import Content, content_of
from paceline.database import write
from paceline.events import place
from paceline.status import Status
from providers.base import STATUS_EVENT
from worker.hooks.statements import InboundStatements
from worker.lanes.topology import Topology
from worker.retry import next_poll
from worker.rows import encode
from worker.suppressing import Suppressing, Wish

UNREADABLE = "unreadable"  # the kind of what is genuine and makes no sense to us

FIRST_LOOK = 2.0  # seconds after which a parked event's message is looked for again; then each time its age doubles
PARKED_FOR = 24 * 3600.0  # seconds after which it is not looked for any more

# A report moves what has left and is in nobody's hands. One that is under way, or is to be sent once more, is waited
# for; one that was cancelled or expired never left.
_OPEN = frozenset({Status.UNKNOWN, Status.ACCEPTED, Status.SENT, Status.FAILED, Status.DELIVERED, Status.READ})
_UNDER_WAY = frozenset({Status.QUEUED, Status.SENDING})
_SETTLED = frozenset({Status.FAILED, Status.DELIVERED, Status.READ})

log = structlog.get_logger("paceline.webhook")


@dataclass(slots=True)  # not frozen, nor is `Report`: thousands of them are made in a second
class Arrival:
    """One event of a genuine webhook. `fingerprint` is its key's; times are Unix seconds; `data` is JSON.

    `message_id` is ours, where it came to that message's own address; `wishes` what its recipient wants from now on.
    """

    fingerprint: str = field(repr=False)
    account: str
    dedup_key: str = field(repr=False)
    kind: str
    happened_at: float | None = None
    provider_message_id: str | None = field(default=None, repr=False)
    status: str | None = None
    reason: str | None = None
    recipient: str | None = field(default=None, repr=False)
    message_id: str | None = None
    data: str | None = field(default=None, repr=False)
    wishes: tuple[Wish, ...] = ()


@dataclass(slots=True)
class Report:
    """What a stored webhook says of a message; `age` in seconds."""

    webhook: int
    fingerprint: str = field(repr=False)
    provider_message_id: str = field(repr=False)
    status: Status
    reason: str | None
    recipient: str | None = field(default=None, repr=False)
    message_id: str | None = None
    age: float = 0.0


@dataclass(slots=True)
class Standing:
    """A message of which something is said, as it stands while one report after the other is applied."""

    id: str
    account: str
    status: Status
    moved: bool = False
    reason: str | None = None
    adopts: str | None = field(
        default=None, repr=False
    )  # the provider's id, which an answer that was lost would have told

    def follow(self, report: Report) -> bool:
        """Apply the report if it moves the message forward; True if it does."""
        if self.status not in _OPEN or report.status.rank <= self.status.rank:
            return False
        self.status, self.reason, self.moved = report.status, report.reason, True
        return True

    def event(self) -> dict[str, Any]:
        """That it stands where it does, for the table of events. Here and in other rows, what is missing is null."""
        said = {"message_id": self.id, "account": self.account, "status": self.status.value, "kind": STATUS_EVENT}
        return {**said, "reason": self.reason} if self.reason else said


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of some arrivals: so many were new, these messages moved, and so many events wait for theirs."""

    stored: int
    moved: Sequence[Standing]
    parked: int


class Inbox:
    """The write side of webhooks. Every method is safe to repeat and to run anywhere, any number of times at once."""

    def __init__(self, engine: Engine, topology: Topology) -> None:
        self._engine = engine
        self._topology = topology
        self._accounts: dict[str, list[str]] = {}
        for sender in topology.senders.values():
            self._accounts.setdefault(sender.fingerprint, []).append(sender.name)
        self._statements = InboundStatements(engine.dialect.name)
        self._suppressing = Suppressing(engine.dialect.name)

    def accounts_of(self, fingerprint: str) -> Sequence[str]:
        """The accounts that share a key: an event to one of them may speak of a message that another sent."""
        return self._accounts.get(fingerprint, [])

    def record(
        self, arrivals: Sequence[Arrival], judge: Callable[[Connection], Sequence[Arrival]] | None = None
    ) -> Recorded:
        """Store what is new of these, and apply it, in one transaction; `judge` may leave some of them out first."""
        with write(self._engine) as connection:
            return self._record(connection, arrivals if judge is None else judge(connection))

    def _record(self, connection: Connection, arrivals: Sequence[Arrival]) -> Recorded:
        safe = content_of(connection)
        if not safe.clear:
            arrivals = [_hidden(safe, arrival) for arrival in arrivals]
        # In the order of the unique index, so that two receivers of the same events do not wait for each other.
        ordered = sorted(arrivals, key=_identity)
        rows = [{"n": number, **_row(safe, arrival)} for number, arrival in enumerate(ordered)]
        stored = connection.execute(self._statements.store, {"rows": encode(rows)}).all()
        ids = {(fingerprint, dedup_key): id_ for id_, fingerprint, dedup_key in stored}
        reports, said = [], []
        wishes: list[Wish] = []
        for arrival in arrivals:
            webhook = ids.pop((arrival.fingerprint, arrival.dedup_key), None)
            if webhook is not None:
                wishes += arrival.wishes
            if webhook is not None and arrival.kind == STATUS_EVENT:
                reports.append(_report(webhook, arrival))
            elif webhook is not None and arrival.kind != UNREADABLE:
                said.append(_event(safe, arrival))
        moved, parked = self._apply(connection, reports, said)
        self.put_off(connection, {report.webhook: FIRST_LOOK for report in parked})
        self._suppressing.heed(connection, wishes)
        return Recorded(len(stored), moved, len(parked))

    def match_parked(self, limit: int) -> tuple[int, list[Report]]:
        """Look again for the messages of at most `limit` parked events; how many were due, and those still without."""
        with write(self._engine) as connection:
            found = connection.execute(self._statements.parked, {"count": limit}).mappings()
            reports = [Report(**{**row, "status": Status(row["status"])}) for row in found]
            moved, parked = self._apply(connection, sorted(reports, key=lambda report: report.webhook), [])
            waits: dict[int, float | None] = {report.webhook: None for report in reports}
            waits |= {report.webhook: max(FIRST_LOOK, report.age) for report in parked if report.age < PARKED_FOR}
            self.put_off(connection, waits)
        for message in moved:
            log.info("matched", message_id=message.id, account=message.account, status=str(message.status))
        return len(reports), parked

    def settle(self, connection: Connection, message: Standing, reports: Sequence[Report]) -> None:
        """Apply reports to a message that is locked and had no provider's id: it has theirs now."""
        told = [message.event() for report in reports if message.follow(report)]
        self._write(connection, [message], reports[0].provider_message_id)
        self._tell(connection, told)

    def put_off(self, connection: Connection, waits: Mapping[int, float | None]) -> None:
        """When the messages of these webhooks are looked for, in seconds; None: no more."""
        if waits:
            rows = [{"id": id_, "seconds": seconds} for id_, seconds in sorted(waits.items())]
            connection.execute(self._statements.put_off, {"rows": encode(rows)})

    def _apply(
        self, connection: Connection, reports: Sequence[Report], told: list[dict[str, Any]]
    ) -> tuple[list[Standing], list[Report]]:
        """Apply reports in order, and tell of them and of what else happened: what moved, and what has no message."""
        standing = self._look_up(connection, reports) if reports else {}
        parked, strange = [], []
        for report in reports:
            message = standing.get(report.webhook)
            if message is None:
                strange.append(report)
            elif message.status in _UNDER_WAY:
                parked.append(report)
            elif message.follow(report):
                told.append(message.event())
        moved = sorted({message.id: message for message in standing.values() if message.moved}.values(), key=_id)
        self._write(connection, moved)
        self._tell(connection, told)
        return moved, parked + self._expected(connection, strange)

    def _expected(self, connection: Connection, strange: Sequence[Report]) -> list[Report]:
        """Those of unknown ids that may yet turn out to speak of a message of ours: its row is there before it leaves.

        What a provider says of messages that it made itself, as of a broadcast's, would wait for nothing.
        """
        keys = {report.fingerprint for report in strange}
        expecting = {
            key
            for key in keys
            if connection.scalar(self._statements.open_sends, {"accounts": list(self.accounts_of(key))})
        }
        return [report for report in strange if report.fingerprint in expecting or report.message_id]

    def _tell(self, connection: Connection, told: Sequence[Mapping[str, Any]]) -> None:
        """Write events, in this order."""
        if told:
            rows = [{"n": number, **item} for number, item in enumerate(told)]
            connection.execute(self._statements.tell, {"rows": encode(rows)})

    def _look_up(self, connection: Connection, reports: Sequence[Report]) -> dict[int, Standing]:
        """The messages that these speak of, locked: by webhook, each message once."""
        ours = self._look_up_ours(connection, reports)
        # What came to one message's own address is believed of no other, whatever id it names.
        theirs = self._look_up_theirs(connection, [report for report in reports if not report.message_id])
        known = {message.id: message for message in ours.values()}
        return ours | {webhook: known.get(message.id, message) for webhook, message in theirs.items()}

    def _look_up_ours(self, connection: Connection, reports: Sequence[Report]) -> dict[int, Standing]:
        """Of those that came to a message's own address, by our id; one without the provider's id adopts it."""
        named = sorted({report.message_id for report in reports if report.message_id})
        if not named:
            return {}
        rows = encode([{"message_id": id_} for id_ in named])
        found = {row.id: row for row in connection.execute(self._statements.look_up_ours, {"rows": rows})}
        standing: dict[str, Standing] = {}
        matched = {}
        for report in reports:
            row = found.get(report.message_id or "")
            if row is not None and row.account in self.accounts_of(report.fingerprint):
                message = standing.setdefault(row.id, Standing(row.id, row.account, Status(row.status)))
                message.adopts = row.provider_message_id or message.adopts or report.provider_message_id or None
                matched[report.webhook] = message
        return matched

    def _look_up_theirs(self, connection: Connection, reports: Sequence[Report]) -> dict[int, Standing]:
        """Of the others, by key and the provider's id."""
        if not reports:
            return {}
        safe = content_of(connection)
        # What came before there was a key for content has its id in the clear until `encrypt` comes to it.
        plain = {report.webhook: safe.id_in(report.provider_message_id) for report in reports}
        named = {report.webhook: (report.fingerprint, plain[report.webhook]) for report in reports}
        wanted = {
            (account, stored): named[report.webhook]
            for report in reports
            for account in self.accounts_of(report.fingerprint)
            for stored in {report.provider_message_id, plain[report.webhook], safe.id(plain[report.webhook])}
        }
        rows = encode([{"account": account, "provider_message_id": id_} for account, id_ in wanted])
        found = connection.execute(self._statements.look_up, {"rows": rows}).all()
        # By ascending ids: should two bear the same id of the provider's, the newer one is meant.
        standing = {
            wanted[account, name]: Standing(id_, account, Status(status)) for id_, account, status, name in found
        }
        return {webhook: standing[name] for webhook, name in named.items() if name in standing}

    def _write(self, connection: Connection, moved: Sequence[Standing], adopted: str | None = None) -> None:
        if not moved:
            return
        rows = [
            {
                "id": message.id,
                "status": message.status.value,
                "reason": message.reason or None,
                "poll_in": self._poll_in(message),
            }
            for message in moved
        ]
        connection.execute(self._statements.move, {"rows": encode(rows)})
        names = [(message.id, name) for message in moved if (name := adopted or message.adopts)]
        if names:
            given = encode([{"id": id_, "provider_message_id": name} for id_, name in names])
            connection.execute(self._statements.adopt, {"rows": given})

    def _poll_in(self, message: Standing) -> float | None:
        """Seconds until it is asked about, if nobody was going to yet; None once it is settled."""
        sender = self._topology.senders.get(message.account)
        return None if message.status in _SETTLED or sender is None else next_poll(sender, 0)


_STORED = tuple(name for name in Arrival.__slots__ if name != "wishes")
_id = operator.attrgetter("id")
_identity = operator.attrgetter("fingerprint", "dedup_key")


def _report(webhook: int, arrival: Arrival) -> Report:
    assert arrival.status is not None
    return Report(
        webhook,
        arrival.fingerprint,
        arrival.provider_message_id or "",
        Status(arrival.status),
        arrival.reason,
        message_id=arrival.message_id,
    )


def _hidden(safe: Content, arrival: Arrival) -> Arrival:
    """The arrival with what is only compared in the form in which it is: whom it names, and the provider's id."""
    named, id_ = arrival.recipient, arrival.provider_message_id
    return replace(
        arrival,
        recipient=None if named is None else safe.name("", named),
        provider_message_id=None if id_ is None else safe.id(id_),
    )


def _row(safe: Content, arrival: Arrival) -> dict[str, Any]:
    """The arrival as its row holds it."""
    # Not `asdict`, which copies deeply and takes thirty times as long.
    row = {name: value for name in _STORED if (value := getattr(arrival, name)) is not None}
    if arrival.data is not None:
        row["data"] = safe.seal(arrival.data, "webhook", arrival.fingerprint, arrival.dedup_key)
    return row


def _event(safe: Content, arrival: Arrival) -> dict[str, Any]:
    said = {"message_id": None, "account": arrival.account, "status": None, "reason": None}
    data = None if arrival.data is None else safe.seal(arrival.data, *place(arrival.account, arrival.kind))
    return {**said, "kind": arrival.kind, "data": data}
