"""Events whose message we know by no id: the request was accepted, and its answer lost.

The provider's event then bears an id that we never saw. It is the message's if nothing else can be meant: the event has
waited for a lease, so that every request which was under way when it came has ended; exactly one attempt to its
recipient has no id of the provider's; and no event to that recipient bears another unknown id. Anything less would be a
guess, and the message stays `unknown`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

import structlog
from sqlalchemy import Connection, Engine

from paceline.content import content_of
from paceline.database import write
from paceline.status import Status
from worker.hooks.inbound import Inbox, Report, Standing
from worker.hooks.statements import InboundStatements
from worker.lanes.topology import Topology
from worker.suppressing import addressee


@dataclass(frozen=True, slots=True)
class Unnamed:
    """An attempt without the provider's id; `at` in Unix seconds."""

    message_id: str
    number: int
    at: float
    recipient: str = field(repr=False)


log = structlog.get_logger("paceline.webhook")


class Adoption:
    """Finds the messages of events that bear unknown ids. Safe to run anywhere, any number of times at once."""

    def __init__(self, engine: Engine, topology: Topology, inbox: Inbox) -> None:
        self._engine = engine
        self._inbox = inbox
        self._statements = InboundStatements(engine.dialect.name)
        self._topology = topology

    def adopt(self, reports: Sequence[Report]) -> int:
        """Find the messages of these parked reports, whose ids nobody knows; how many were found."""
        adopted: list[Standing] = []
        ripe = [report for report in reports if report.recipient and report.age > self._lease(report.fingerprint)]
        for fingerprint in sorted({report.fingerprint for report in ripe}):
            recipients = sorted({str(report.recipient) for report in ripe if report.fingerprint == fingerprint})
            with write(self._engine) as connection:
                adopted += self._adopt(connection, fingerprint, recipients)
        for message in adopted:
            log.info("adopted", message_id=message.id, account=message.account, status=str(message.status))
        return len(adopted)

    def _lease(self, fingerprint: str) -> float:
        """The longest that a request of this key may be under way, in seconds."""
        leases = [
            lane.lease
            for sender in self._topology.senders.values()
            if sender.fingerprint == fingerprint
            for lane in self._topology.lanes_of(sender.key)
        ]
        return max(leases, default=inf)

    def _adopt(self, connection: Connection, fingerprint: str, recipients: list[str]) -> list[Standing]:
        run, accounts = self._statements, list(self._inbox.accounts_of(fingerprint))
        events = connection.execute(run.orphans, {"fingerprint": fingerprint, "recipients": recipients}).all()
        attempts = self._unnamed(connection, accounts, recipients)
        pairs = []
        for recipient in recipients:
            said = [row for row in events if row.recipient == recipient]
            if len({row.provider_message_id for row in said}) != 1:
                continue
            heard = min(row.received_at for row in said)
            could = [row for row in attempts if row.recipient == recipient and row.at <= heard]
            if len(could) == 1:
                pairs.append((could[0], said))
        pairs.sort(key=lambda pair: str(pair[0].message_id))
        given = (self._give(connection, attempt, said) for attempt, said in pairs)
        return [message for message in given if message is not None]

    def _unnamed(self, connection: Connection, accounts: list[str], recipients: list[str]) -> Sequence[Any]:
        """Attempts without the provider's id, with their recipients as the webhooks' rows hold them."""
        run, safe = self._statements, content_of(connection)
        if safe.clear:
            return connection.execute(run.unnamed, {"accounts": accounts, "recipients": recipients}).all()
        known = {safe.name("", recipient): recipient for recipient in recipients}  # some from before there was a key
        found = []
        for row in connection.execute(run.unnamed_sealed, {"accounts": accounts}):
            recipient = known.get(safe.name("", addressee(connection, row.message_id, row.payload)))
            if recipient is not None:
                found.append(Unnamed(row.message_id, row.number, row.at, recipient))
        return found

    def _give(self, connection: Connection, attempt: Any, said: Sequence[Any]) -> Standing | None:
        """Apply the events to the attempt's message, if it is one of which more may be said and has no id."""
        run = self._statements
        row = connection.execute(run.lock, {"message": attempt.message_id}).one_or_none()
        if row is None:
            return None
        message = Standing(row.id, row.account, Status(row.status), reason=row.reason)
        reports = [
            Report(item.id, item.fingerprint, item.provider_message_id or "", Status(item.status), item.reason)
            for item in said
        ]
        self._inbox.settle(connection, message, reports)
        connection.execute(run.named, {"message": attempt.message_id, "attempt_number": attempt.number})
        self._inbox.put_off(connection, {item.id: None for item in said})
        return message
