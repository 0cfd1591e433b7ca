"""Keys and lanes whose names have changed: each is known by what it is, and takes its ledger and its closings along.

A key is known by its fingerprint, a lane by its key, its class and its pace. Accounts may have swapped their names, so
whatever moves goes by way of a name that nobody has.
"""

from collections.abc import Iterable, Mapping
from uuid import uuid4

from sqlalchemy import Connection, delete, select, update

from paceline import tables
from worker.lanes.topology import Lane
from worker.statements import grant, key_row, lane_row

_job = tables.columns(tables.Job)

REOPENED = {
    "closed_reason": None,
    "closed_until": None,
    "refusals": 0,
    "succeeded_at": None,
    "unready": None,
    "ask_at": None,
    "asked": 0,
    "late": None,
}
"""A lane as it begins: what closed the one that had its name before says nothing about it."""

_Move = tuple[str, str]


def move(connection: Connection, keys: Mapping[str, str], lanes: Iterable[Lane]) -> None:
    """Give keys (their names by fingerprint) and lanes that are known already the names that they have now."""
    present = {row.fingerprint: row.name for row in connection.execute(select(key_row.c.fingerprint, key_row.c.name))}
    of_keys = [(present[digest], name) for digest, name in keys.items() if present.get(digest, name) != name]
    of_lanes = _lanes(connection, present, dict(of_keys), lanes)
    between = {old: f"~{uuid4().hex}" for old, _ in (*of_keys, *of_lanes)}
    for old, _ in of_lanes:
        _rename_lane(connection, old, between[old])
    for old, _ in of_keys:
        _rename_key(connection, old, between[old])
    for old, new in of_keys:
        connection.execute(delete(key_row).where(key_row.c.name == new))
        connection.execute(delete(lane_row).where(lane_row.c.key == new))
        _rename_key(connection, between[old], new)
    for old, new in of_lanes:
        connection.execute(delete(lane_row).where(lane_row.c.name == new))
        _rename_lane(connection, between[old], new)


def _lanes(
    connection: Connection, present: Mapping[str, str], moving: Mapping[str, str], lanes: Iterable[Lane]
) -> list[_Move]:
    """Which lanes move where. One that no account uses any more stays with its key."""
    wanted = {
        (present[lane.fingerprint], lane.lane_class, lane.pace): lane.name
        for lane in lanes
        if lane.fingerprint in present
    }
    rows = connection.execute(select(lane_row.c.name, lane_row.c.key, lane_row.c.lane_class, lane_row.c.pace)).all()
    moves: list[_Move] = []
    for row in rows:
        new = wanted.get((row.key, row.lane_class, row.pace))
        if new is None:
            kept = moving.get(row.key, row.key) + row.name.removeprefix(row.key)
            new = kept if row.name.startswith(f"{row.key}/") and kept not in wanted.values() else row.name
        if new != row.name:
            moves.append((row.name, new))
    return moves


def _rename_key(connection: Connection, old: str, new: str) -> None:
    connection.execute(update(key_row).where(key_row.c.name == old).values(name=new))
    for table in (lane_row, grant):
        connection.execute(update(table).where(table.c.key == old).values(key=new))


def _rename_lane(connection: Connection, old: str, new: str) -> None:
    key = connection.scalar(select(lane_row.c.key).where(lane_row.c.name == old))
    connection.execute(update(lane_row).where(lane_row.c.name == old).values(name=new))
    connection.execute(update(grant).where(grant.c.key == key, grant.c.lane == old).values(lane=new))
    pending = _job.c.status.in_(("queued", "sending"))
    connection.execute(update(_job).where(_job.c.lane == old, pending).values(lane=new))
