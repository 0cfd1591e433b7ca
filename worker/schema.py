"""Bringing the database up to this version, and publishing in it what producers must know."""

import json
from pathlib import Path
from uuid import uuid4

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, delete, func, insert, inspect, select, update

from paceline import tables
from paceline.database import write
from paceline.directory import VERSION
from paceline.errors import DatabaseNotReady
from paceline.status import LEVELS
from worker.statements import grant, key_row, lane_row, stream
from worker.topology import Topology

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"

_LOCK = 0x7061_6365  # the PostgreSQL advisory lock that two `migrate` at once take in turn


def migrate(engine: Engine) -> None:
    """Run the migrations that are missing. Safe to run by several at once.

    Raises `DatabaseNotReady` if a newer Paceline has migrated it.
    """
    with write(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        if inspect(connection).has_table(VERSION.name):
            version = connection.scalar(select(VERSION.c.version_num))
            if version is not None and version > tables.SCHEMA_VERSION:
                raise DatabaseNotReady(
                    f"The database was migrated to version {version} by a newer Paceline, this one knows "
                    f"{tables.SCHEMA_VERSION}; upgrade this service."
                )
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def publish(engine: Engine, topology: Topology) -> str:
    """Publish accounts, routes, keys and lanes, and make the lines they need; the installation's name."""
    with write(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        name = _installation(connection)
        _accounts(connection, topology)
        _keys(connection, topology)
        for via in (*topology.senders, *topology.routes):
            _lines(connection, via)
    return name


def installation(engine: Engine) -> str:
    """The installation's name. Raises `DatabaseNotReady` if the database was never migrated."""
    with engine.connect() as connection:
        if inspect(connection).has_table(VERSION.name):
            found = connection.scalar(select(tables.columns(tables.Installation).c.name))
            if found is not None:
                return str(found)
    raise DatabaseNotReady("The database has no Paceline tables; run `paceline migrate`.")


def _installation(connection: Connection) -> str:
    table = tables.columns(tables.Installation)
    found = connection.scalar(select(table.c.name))
    if found is not None:
        return str(found)
    name = uuid4().hex[:12]
    connection.execute(insert(table).values(id=1, name=name, digest_secret=uuid4().hex + uuid4().hex))
    return name


def _accounts(connection: Connection, topology: Topology) -> None:
    account, route = tables.columns(tables.Account), tables.columns(tables.Route)
    connection.execute(delete(account))
    connection.execute(delete(route))
    if topology.senders:
        connection.execute(
            insert(account),
            [
                {
                    "name": sender.name,
                    "provider": sender.provider.name,
                    "lane": sender.lane,
                    "capabilities": json.dumps(sender.capabilities.as_json()),
                }
                for sender in topology.senders.values()
            ],
        )
    if topology.routes:
        connection.execute(
            insert(route),
            [{"name": name, "accounts": json.dumps(accounts)} for name, accounts in topology.routes.items()],
        )


def _keys(connection: Connection, topology: Topology) -> None:
    """Keys and lanes keep their closings and their ledger; what no account uses any more is left as it is."""
    wanted = {sender.fingerprint: sender.key for sender in topology.senders.values()}
    present = {row.fingerprint: row.name for row in connection.execute(select(key_row.c.fingerprint, key_row.c.name))}
    # By way of names that nobody has, since accounts may have swapped theirs.
    moved = {
        fingerprint: f"~{uuid4().hex}" for fingerprint, name in wanted.items() if present.get(fingerprint, name) != name
    }
    for fingerprint, between in moved.items():
        _rename(connection, present[fingerprint], between)
    for fingerprint, name in wanted.items():
        if fingerprint in moved:
            connection.execute(delete(key_row).where(key_row.c.name == name))
            connection.execute(delete(lane_row).where(lane_row.c.key == name))
            _rename(connection, moved[fingerprint], name)
        elif fingerprint not in present:
            # A new credential, perhaps under an old name: what closed the old one says nothing about this one.
            connection.execute(delete(key_row).where(key_row.c.name == name))
            connection.execute(insert(key_row).values(name=name, fingerprint=fingerprint, nonce=""))
            reopened = {"closed_reason": None, "closed_until": None, "refusals": 0, "succeeded_at": None}
            connection.execute(update(lane_row).where(lane_row.c.key == name).values(**reopened))
    known = {row.name: row.limits for row in connection.execute(select(lane_row.c.name, lane_row.c.limits))}
    for lane in sorted(topology.lanes.values(), key=lambda lane: lane.name):  # in the order in which claims hold them
        limits = json.dumps([bucket.limit.text for bucket in lane.limits.limits])
        if known.get(lane.name) == limits:
            continue
        if lane.name in known:
            connection.execute(update(lane_row).where(lane_row.c.name == lane.name).values(limits=limits))
        else:
            connection.execute(insert(lane_row).values(name=lane.name, key=lane.key, limits=limits, refusals=0))


def _rename(connection: Connection, old: str, new: str) -> None:
    """A key's first account has another name now: its ledger and its closings go with it."""
    connection.execute(update(key_row).where(key_row.c.name == old).values(name=new))
    for table, column in ((lane_row, lane_row.c.name), (grant, grant.c.lane)):
        renamed = new + func.substr(column, len(old) + 1)
        connection.execute(update(table).where(table.c.key == old).values({"key": new, column.name: renamed}))


def _lines(connection: Connection, via: str) -> None:
    for priority in LEVELS:
        line = {"via": via, "priority": priority.level, "broadcast": ""}
        found = select(stream.c.id).where(*(stream.c[name] == value for name, value in line.items()))
        if connection.scalar(found) is None:
            connection.execute(insert(stream).values(**line, weight=1.0, passed=0.0, paused=False, cancelled=False))
