"""Which lanes have something to claim: what the tick files again when Redis forgot it."""

from sqlalchemy import Connection, bindparam, exists, select

from paceline.clock import now
from worker.statements import READY, message, stream
from worker.topology import Topology, Work

_OVERDUE = select(message.c.id).where(message.c.account == bindparam("account"), message.c.poll_at <= now()).limit(1)


def waiting_lanes(connection: Connection, topology: Topology) -> list[str]:
    """The lanes with a message, or a question, that may be claimed now. One index probe for each line and account."""
    ready = select(stream.c.via).where(
        stream.c.paused.is_(False),
        stream.c.cancelled.is_(False),
        exists().where(message.c.stream_id == stream.c.id, READY),
    )
    sending = set(connection.execute(ready).scalars())
    asking = {
        name
        for lane in topology.lanes.values()
        if lane.work is Work.POLL
        for name in lane.senders
        if connection.execute(_OVERDUE, {"account": name}).first()
    }
    found = {Work.SEND: sending, Work.POLL: asking, Work.CALL: set[str]()}
    return [lane.name for lane in topology.lanes.values() if found[lane.work] & lane.senders.keys()]
