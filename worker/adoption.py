"""Events whose message we know by no id: the request was accepted, and its answer lost.

The provider's event then bears an id that we never saw. It is the message's if nothing else can be meant: the event has
waited for a lease, so that every request which was under way when it came has ended; exactly one attempt to its
recipient has no id of the provider's; and no event to that recipient bears another unknown id. Anything less would be a
guess, and the message stays `unknown`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import Connection, Engine

from paceline.database import write
from paceline.status import Status
from worker.inbound import Inbox, Report, Standing
from worker.inbound_statements import InboundStatements
from worker.topology import Topology

log = structlog.get_logger("paceline.webhook")


class Adoption:
    """Finds the messages of events that bear unknown ids. Safe to run anywhere, any number of times at once."""

    def __init__(self, engine: Engine, topology: Topology, inbox: Inbox) -> None:
        self._engine = engine
        self._inbox = inbox
        self._statements = InboundStatements(engine.dialect.name)
        self._leases: dict[str, float] = {}
        for sender in topology.senders.values():
            leases = [lane.lease for lane in topology.lanes_of(sender.key)]
            self._leases[sender.fingerprint] = max(leases)

    def adopt(self, reports: Sequence[Report]) -> int:
        """Find the messages of these reports, which nobody knows by their ids; how many were found."""
        adopted = 0
        waited = {report.webhook for report in reports if self._waited(report)}
        for fingerprint in sorted({report.fingerprint for report in reports if report.webhook in waited}):
            with write(self._engine) as connection:
                adopted += self._adopt(connection, fingerprint, waited)
        return adopted

    def _waited(self, report: Report) -> bool:
        lease = self._leases.get(report.fingerprint)
        return lease is not None and report.age > lease

    def _adopt(self, connection: Connection, fingerprint: str, waited: set[int]) -> int:
        run = self._statements
        recipients = connection.execute(run.recipients, {"webhooks": sorted(waited), "fingerprint": fingerprint})
        asked = sorted(recipients.scalars())
        if not asked:
            return 0
        events = connection.execute(run.orphans, {"fingerprint": fingerprint, "recipients": asked}).all()
        accounts = list(self._inbox.accounts_of(fingerprint))
        attempts = connection.execute(run.unnamed, {"accounts": accounts, "recipients": asked}).all()
        adopted = 0
        for recipient in asked:
            said = [row for row in events if row.recipient == recipient]
            if not waited.intersection(row.id for row in said) or len({row.provider_message_id for row in said}) > 1:
                continue
            heard = max(row.received_at for row in said)
            could = [row for row in attempts if row.recipient == recipient and row.at <= heard]
            if len(could) == 1:
                adopted += self._give(connection, fingerprint, could[0], said)
        return adopted

    def _give(self, connection: Connection, fingerprint: str, attempt: Any, said: Sequence[Any]) -> int:
        """Apply the events to the attempt's message, if it is still one without an id; 1 if it is."""
        run = self._statements
        row = connection.execute(run.lock, {"message": attempt.message_id}).one_or_none()
        if row is None:
            return 0
        message = Standing(row.id, row.account, Status(row.status))
        for item in said:
            report = Report(item.id, fingerprint, item.provider_message_id, Status(item.status), item.reason)
            self._inbox.settle(connection, message, report)
        named: Mapping[str, Any] = {"message": attempt.message_id, "attempt_number": attempt.number}
        connection.execute(run.named, named)
        self._inbox.put_off(connection, dict.fromkeys((item.id for item in said), None))
        log.info("adopted", message_id=message.id, account=message.account, attempt=attempt.number)
        return 1
