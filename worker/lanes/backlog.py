"""Which lanes have something to claim: what the tick files again when Redis forgot it."""

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from paceline.clock import now
from paceline.status import Priority
from worker.jobs.statements import STEPS_DUE
from worker.lanes.topology import Topology
from worker.statements import WAITING, lane_row, message, stream

_OVERDUE = select(message.c.id).where(message.c.account == bindparam("account"), message.c.poll_at <= now()).limit(1)

_STEPPING = select(lane_row.c.name).where(STEPS_DUE)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The lanes with a message, a question or a job's step that may be claimed now; and those of them with a message of
    priority `high`, which may use what is reserved for it when the lane is filed for the others' next token."""

    lanes: list[str]
    urgent: list[str]


def waiting_lanes(connection: Connection, topology: Topology) -> Waiting:
    """What waits. One index probe for each line, account and lane."""
    ready = select(stream.c.via, stream.c.priority).where(
        stream.c.paused.is_(False),
        stream.c.held.is_(False),
        stream.c.cancelled.is_(False),
        WAITING,
    )
    lines = connection.execute(ready).all()
    sending = {line.via for line in lines}
    high = {line.via for line in lines if line.priority == Priority.HIGH.level}
    asking = {
        name
        for lane in topology.lanes.values()
        for name in lane.pollers
        if connection.execute(_OVERDUE, {"account": name}).first()
    }
    calling = set(connection.scalars(_STEPPING))
    lanes = topology.lanes.values()
    return Waiting(
        lanes=[
            lane.name
            for lane in lanes
            if sending & lane.senders.keys() or asking & lane.pollers.keys() or (lane.callers and lane.name in calling)
        ],
        urgent=[lane.name for lane in lanes if high & lane.senders.keys()],
    )
