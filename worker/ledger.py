"""What the database knows of a key's tokens, and giving it to Redis when that has forgotten or remembers something old.

Rows precede tokens: a claim's grant is committed before `acquire` is asked. So whatever was granted is in the ledger,
and an image of it, read while no claim can commit, is never looser than the truth.
"""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    Connection,
    Engine,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    select,
    union_all,
    update,
)

from paceline.clock import now
from paceline.database import write
from worker.lanes.topology import Lane, Topology
from worker.limits import KEY, Closure, Image, Limiter, Spent
from worker.statements import grant, key_row, lane_row

DAY = 26 * 3600.0  # a calendar day and the hour that the autumn adds, with room for guards


def horizon(lanes: Sequence[Lane]) -> float:
    """Seconds after which a grant of these lanes is in no window any more: their longest, and the longest lease."""
    return max((bucket.span or DAY) for lane in lanes for bucket in lane.limits.limits) + max(
        lane.lease for lane in lanes
    )


class SeedRefused(Exception):
    """Redis changed hands while it was being seeded; nothing was granted, and the next claim seeds again."""


class Ledger:
    """Seeds keys."""

    def __init__(self, engine: Engine, limiter: Limiter, topology: Topology) -> None:
        self._engine = engine
        self._limiter = limiter
        self._topology = topology

    def seed(self, key: str, *, own: str | None = None) -> str:
        """Make the key's state in Redis valid; the nonce it bears then.

        `own` is a grant of the caller's that has not been acquired for yet: its tokens are charged when it is.
        Raises `SeedRefused` if another one seeded at the same moment.
        """
        lanes = self._topology.lanes_of(key)
        limits = [lane.limits for lane in lanes]
        signature = lanes[0].signature
        with write(self._engine) as connection:
            nonce: str = connection.execute(
                select(key_row.c.nonce).where(key_row.c.name == key).with_for_update()
            ).scalar_one()
            found = self._limiter.seeded(key, signature=signature)
            if found.current and found.nonce == nonce:
                return nonce
            nonce = uuid4().hex
            connection.execute(update(key_row).where(key_row.c.name == key).values(nonce=nonce))
            image = Image(
                spent=tuple(self._spent(connection, key, lanes, own)),
                closures=tuple(_closures(connection, key, lanes)),
            )
            # Until this transaction commits nobody can read the new nonce, so a seed that is lost seeds nothing.
            if not self._limiter.seed(limits, signature=signature, expected=found.nonce, nonce=nonce, image=image):
                raise SeedRefused
        return nonce

    def _spent(self, connection: Connection, key: str, lanes: list[Lane], own: str | None) -> list[Spent]:
        classes = _classes(lanes)
        rows = connection.execute(_SPENT, {"key": key, "horizon": horizon(lanes), "own": own or ""})
        # A lane that is gone has paid into what it shared with others of its class.
        return [Spent(classes.get(row.lane, row.lane.rpartition("/")[2]), row.age, row.total, row.rest) for row in rows]


def _classes(lanes: Sequence[Lane]) -> dict[str, str]:
    """What the limiter calls each lane of a key, by the lane's name."""
    return {lane.name: lane.limits.lane_class for lane in lanes}


def _closures(connection: Connection, key: str, lanes: Sequence[Lane]) -> list[Closure]:
    found: list[Closure] = []
    classes = _classes(lanes) | {key: KEY}
    for table, name in ((key_row, key_row.c.name), (lane_row, lane_row.c.key)):
        probe = lane_row.c.refusals > 0 if table is lane_row else literal(value=False)
        rows = connection.execute(
            select(
                table.c.name,
                (table.c.closed_until - now()).label("remaining"),
                table.c.closed_reason,
                probe.label("probe"),
            ).where(name == key, table.c.closed_reason.is_not(None))
        )
        found += [
            Closure(
                classes[row.name],
                None if row.remaining is None else max(0.0, row.remaining),
                row.closed_reason,
                bool(row.probe),
            )
            for row in rows
            if row.name in classes  # a lane that is in no configuration any more
        ]
    return found


def _spent_query() -> Select[Any]:
    """The ledger, by lane and age: tokens of requests that may still leave are as young as can be, those with an
    outcome as old as the last of them to leave."""
    recent = and_(
        grant.c.key == bindparam("key"),
        grant.c.created_at > now() - bindparam("horizon"),
        grant.c.id != bindparam("own"),
    )
    granted = func.coalesce(grant.c.granted_high + grant.c.granted_rest, grant.c.high + grant.c.rest)
    granted_rest = func.coalesce(grant.c.granted_rest, grant.c.rest)
    open_ = granted - grant.c.closed
    # The priority of those that are still open is not kept: they count as the rest's, which is the stricter way.
    open_rest = case((open_ < granted_rest, open_), else_=granted_rest)
    lease_over = now() - grant.c.lease_until
    left_at = now() - func.coalesce(grant.c.last_at, grant.c.granted_at, grant.c.created_at)
    parts = union_all(
        select(
            grant.c.lane,
            case((lease_over > 0, lease_over), else_=0.0).label("age"),
            open_.label("total"),
            open_rest.label("rest"),
        ).where(recent, open_ > 0),
        select(
            grant.c.lane, left_at.label("age"), grant.c.closed.label("total"), (granted_rest - open_rest).label("rest")
        ).where(recent, grant.c.closed > 0),
    ).subquery("parts")
    # Neighbours are added up as the youngest of them: finely while windows are short, coarsely for the day's quota.
    neighbours = case((parts.c.age < 120, cast(parts.c.age * 20, Integer)), else_=2400 + cast(parts.c.age / 5, Integer))
    return select(
        parts.c.lane,
        func.min(parts.c.age).label("age"),
        cast(func.sum(parts.c.total), Integer).label("total"),
        cast(func.sum(parts.c.rest), Integer).label("rest"),
    ).group_by(parts.c.lane, neighbours)


_SPENT = _spent_query()
