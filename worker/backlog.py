"""Which lanes have something to claim: what the tick files again when Redis forgot it."""

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from paceline.clock import now
from paceline.status import Priority
from worker.statements import WAITING, message, stream
from worker.topology import Topology, Work

_OVERDUE = select(message.c.id).where(message.c.account == bindparam("account"), message.c.poll_at <= now()).limit(1)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The lanes with a message, or a question, that may be claimed now; and those of them with one of priority `high`,
    which may use what is reserved for it when the lane is filed for the others' next token."""

    lanes: list[str]
    urgent: list[str]


def waiting_lanes(connection: Connection, topology: Topology) -> Waiting:
    """What waits. One index probe for each line and account."""
    ready = select(stream.c.via, stream.c.priority).where(
        stream.c.paused.is_(False),
        stream.c.cancelled.is_(False),
        WAITING,
    )
    lines = connection.execute(ready).all()
    sending = {line.via for line in lines}
    high = {line.via for line in lines if line.priority == Priority.HIGH.level}
    asking = {
        name
        for lane in topology.lanes.values()
        if lane.work is Work.POLL
        for name in lane.senders
        if connection.execute(_OVERDUE, {"account": name}).first()
    }
    found = {Work.SEND: sending, Work.POLL: asking, Work.CALL: set[str]()}
    return Waiting(
        lanes=[lane.name for lane in topology.lanes.values() if found[lane.work] & lane.senders.keys()],
        urgent=[lane.name for lane in topology.lanes.values() if lane.work is Work.SEND and high & lane.senders.keys()],
    )
