"""What providers tell us: each event is stored once, and moves the message it speaks of forward.

An event may come twice, before its message's id is known to us, or after a later one. So the row comes first, and a
repetition ends there; what speaks of a message that is not known yet is parked, and looked for again by the sweep; and
a status only ever rises. The order inside a transaction is webhooks, messages, events, so that no two wait for each
other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import structlog
from sqlalchemy import Connection, Engine

from paceline.database import write
from paceline.status import Status
from providers.base import STATUS_EVENT
from worker.inbound_statements import InboundStatements
from worker.retry import next_poll
from worker.rows import encode
from worker.topology import Topology

UNREADABLE = "unreadable"  # the kind of what is genuine and makes no sense to us

FIRST_LOOK = 2.0  # seconds after which a parked event's message is looked for again; then each time its age doubles
PARKED_FOR = 24 * 3600.0  # seconds after which it is not looked for any more

# A report moves what has left and is in nobody's hands. One that is under way, or is to be sent once more, is waited
# for; one that was cancelled or expired never left.
_OPEN = frozenset({Status.UNKNOWN, Status.ACCEPTED, Status.SENT, Status.FAILED, Status.DELIVERED, Status.READ})
_UNDER_WAY = frozenset({Status.QUEUED, Status.SENDING})
_SETTLED = frozenset({Status.FAILED, Status.DELIVERED, Status.READ})

log = structlog.get_logger("paceline.webhook")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One event of a genuine webhook. `fingerprint` is its key's; times are Unix seconds; `data` is JSON."""

    fingerprint: str = field(repr=False)
    account: str
    dedup_key: str = field(repr=False)
    kind: str
    happened_at: float | None = None
    provider_message_id: str | None = field(default=None, repr=False)
    status: str | None = None
    reason: str | None = None
    recipient: str | None = field(default=None, repr=False)
    data: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of some arrivals: `stored` are new, the others were known; `parked` wait for their message."""

    stored: int = 0
    moved: int = 0
    parked: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What a stored webhook says of a message; `age` in seconds."""

    webhook: int
    fingerprint: str = field(repr=False)
    provider_message_id: str = field(repr=False)
    status: Status
    reason: str | None
    age: float = 0.0


@dataclass(slots=True)
class Standing:
    """A message of which something is said, as it stands while one report after the other is applied."""

    id: str
    account: str
    status: Status
    moved: bool = False
    reason: str | None = None


class Inbox:
    """The write side of webhooks. Every method is safe to repeat and to run anywhere, any number of times at once."""

    def __init__(self, engine: Engine, topology: Topology) -> None:
        self._engine = engine
        self._topology = topology
        self._accounts: dict[str, list[str]] = {}
        for sender in topology.senders.values():
            self._accounts.setdefault(sender.fingerprint, []).append(sender.name)
        self._statements = InboundStatements(engine.dialect.name)

    def accounts_of(self, fingerprint: str) -> Sequence[str]:
        """The accounts that share a key: an event to one of them may speak of a message that another sent."""
        return self._accounts.get(fingerprint, [])

    def record(self, arrivals: Sequence[Arrival]) -> Recorded:
        """Store what is new of these, and apply it, in one transaction."""
        rows = [asdict(arrival) | {"n": number} for number, arrival in enumerate(arrivals)]
        # In the order of the unique index, so that two receivers of the same events do not wait for each other.
        rows.sort(key=lambda row: (row["fingerprint"], row["dedup_key"], row["n"]))
        with write(self._engine) as connection:
            stored = connection.execute(self._statements.store, {"rows": encode(rows)}).all()
            if not stored:
                return Recorded()
            ids = {(row.fingerprint, row.dedup_key): row.id for row in stored}
            # Of the same event twice in one batch the first counts.
            new = {ids[item.fingerprint, item.dedup_key]: item for item in reversed(arrivals) if _key(item) in ids}
            fresh = dict(reversed(new.items()))
            reports = [_report(id_, item) for id_, item in fresh.items() if item.kind == STATUS_EVENT]
            said = [item for item in fresh.values() if item.kind not in {STATUS_EVENT, UNREADABLE}]
            moved, parked = self.apply(connection, reports, said)
            self.put_off(connection, {report.webhook: FIRST_LOOK for report in parked})
        return Recorded(len(stored), moved, len(parked))

    def match_parked(self, limit: int) -> list[Report]:
        """Look again for the messages of at most `limit` parked events; those whose message is still not known."""
        with write(self._engine) as connection:
            found = connection.execute(self._statements.parked, {"count": limit}).all()
            reports = [
                Report(row.id, row.fingerprint, row.provider_message_id, Status(row.status), row.reason, row.age)
                for row in found
            ]
            _, parked = self.apply(connection, reports)
            self.put_off(connection, dict.fromkeys((report.webhook for report in reports), None))
            waits = {report.webhook: max(FIRST_LOOK, report.age) for report in parked if report.age < PARKED_FOR}
            self.put_off(connection, waits)
        return parked

    def apply(
        self, connection: Connection, reports: Sequence[Report], said: Sequence[Arrival] = ()
    ) -> tuple[int, list[Report]]:
        """Apply reports to messages by the provider's ids, and tell of the rest; how many moved, and what has none."""
        standing = self._look_up(connection, reports) if reports else {}
        told = [
            {"message_id": None, "account": item.account, "status": None, "reason": None}
            | {"kind": item.kind, "data": item.data}
            for item in said
        ]
        parked = []
        for report in reports:
            message = standing.get((report.fingerprint, report.provider_message_id))
            if message is None or message.status in _UNDER_WAY:
                parked.append(report)
            elif move(message, report):
                told.append(_told(message))
        self._write(connection, standing.values())
        self.tell(connection, told)
        return sum(message.moved for message in standing.values()), parked

    def settle(self, connection: Connection, message: Standing, report: Report) -> None:
        """Apply one report to a message that is locked and had no provider's id: it has that one now."""
        if move(message, report):
            self._write(connection, [message], report.provider_message_id)
            self.tell(connection, [_told(message)])

    def put_off(self, connection: Connection, waits: Mapping[int, float | None]) -> None:
        """When the messages of these webhooks are looked for, in seconds; None: no more."""
        if waits:
            rows = [{"id": id_, "seconds": seconds} for id_, seconds in sorted(waits.items())]
            connection.execute(self._statements.put_off, {"rows": encode(rows)})

    def tell(self, connection: Connection, told: Sequence[Mapping[str, Any]]) -> None:
        """Write events, in this order."""
        if told:
            rows = [{**item, "n": number} for number, item in enumerate(told)]
            connection.execute(self._statements.tell, {"rows": encode(rows)})

    def _look_up(self, connection: Connection, reports: Sequence[Report]) -> dict[tuple[str, str], Standing]:
        """The messages that these speak of, locked: by key and the provider's id."""
        wanted = {
            (account, report.provider_message_id): report.fingerprint
            for report in reports
            for account in self.accounts_of(report.fingerprint)
        }
        rows = encode([{"account": account, "provider_message_id": id_} for account, id_ in wanted])
        found = connection.execute(self._statements.look_up, {"rows": rows}).all()
        # By ascending ids: should two bear the same id of the provider's, the newer one is meant.
        return {
            (wanted[row.account, row.provider_message_id], row.provider_message_id): Standing(
                row.id, row.account, Status(row.status)
            )
            for row in found
        }

    def _write(self, connection: Connection, standing: Iterable[Standing], adopted: str | None = None) -> None:
        rows = [
            {"id": message.id, "status": str(message.status), "reason": message.reason}
            | {"poll_in": self._poll_in(message), "provider_message_id": adopted}
            for message in sorted(standing, key=lambda item: item.id)
            if message.moved
        ]
        if rows:
            connection.execute(self._statements.move, {"rows": encode(rows)})

    def _poll_in(self, message: Standing) -> float | None:
        """Seconds until it is asked about, if nobody was going to yet; None once it is settled."""
        sender = self._topology.senders.get(message.account)
        return None if message.status in _SETTLED or sender is None else next_poll(sender, 0)


def move(message: Standing, report: Report) -> bool:
    """Apply one report to a message if that moves it forward; True if it does."""
    if message.status not in _OPEN or report.status.rank <= message.status.rank:
        return False
    message.status, message.reason, message.moved = report.status, report.reason, True
    log.info("report", message_id=message.id, account=message.account, status=str(message.status))
    return True


def _key(arrival: Arrival) -> tuple[str, str]:
    return arrival.fingerprint, arrival.dedup_key


def _report(webhook: int, arrival: Arrival) -> Report:
    assert arrival.provider_message_id is not None
    assert arrival.status is not None
    return Report(
        webhook, arrival.fingerprint, arrival.provider_message_id, Status(arrival.status), arrival.reason or None
    )


def _told(message: Standing) -> dict[str, Any]:
    return {
        "message_id": message.id,
        "account": message.account,
        "status": str(message.status),
        "reason": message.reason,
        "kind": STATUS_EVENT,
        "data": None,
    }
