"""Bringing the database up to this version, and publishing in it what producers must know."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, delete, insert, inspect, select, update

from paceline import tables
from paceline.capabilities import Capabilities
from paceline.content import key_ids, keyring_of
from paceline.database import read, write
from paceline.directory import VERSION
from paceline.errors import DatabaseNotReady
from paceline.status import LEVELS
from worker.encryption import suppressed
from worker.jobs.statements import relane
from worker.lanes.moving import REOPENED, move
from worker.lanes.topology import Sender, Topology
from worker.limits import Bucket
from worker.statements import key_row, lane_row, stream

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
    """Publish accounts, routes, keys and lanes, and make the lines they need; the installation's name.

    With keys for content it is encrypted from here on. Raises `ContentLocked` if one is missing.
    """
    with write(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        name = _installation(connection)
        _content(connection)
        _accounts(connection, topology)
        _keys(connection, topology)
        _jobs(connection, topology)
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


def _content(connection: Connection) -> None:
    """Make the content keys of this configuration those of the installation; digests keep their secret.

    Where it was in the clear, the list of opt-outs changes in the same transaction: nobody is sought there in one form
    while they stand there in another.
    """
    table = tables.columns(tables.Installation)
    said, secret = connection.execute(select(table.c.content, table.c.digest_secret)).one()
    keys = keyring_of(connection)
    if keys.ids != tuple(key_ids(said)) or not keys.ids:
        prepared = keys.prepared(said, secret)
        connection.execute(update(table).values(content=prepared, digest_secret="" if prepared else secret))
        if prepared and not said:
            suppressed(keys, lambda: nullcontext(connection), lambda: nullcontext(connection))


def check_content(engine: Engine) -> None:
    """Raise `ContentLocked` unless this process can read and write what the database holds."""
    with read(engine) as connection:
        keyring_of(connection).check(connection.scalar(select(tables.columns(tables.Installation).c.content)) or "")


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
                    "capabilities": json.dumps(_capabilities(sender).as_json()),
                }
                for sender in topology.senders.values()
            ],
        )
    if topology.routes:
        connection.execute(
            insert(route),
            [{"name": name, "accounts": json.dumps(accounts)} for name, accounts in topology.routes.items()],
        )


def _capabilities(sender: Sender) -> Capabilities:
    """What a producer must know of it: also the lanes on which its operations wait."""
    operations = sender.provider.operations
    calls = {
        name: replace(call, lane=sender.lane_for(operations[name].lane_class))
        for name, call in sender.capabilities.calls.items()
    }
    return replace(sender.capabilities, calls=calls)


def _jobs(connection: Connection, topology: Topology) -> None:
    """Open jobs wait on the lanes that their accounts have now."""
    for sender in topology.senders.values():
        lanes: dict[str, list[str]] = {}
        for name, operation in sender.provider.operations.items():
            lanes.setdefault(sender.lane_for(operation.lane_class), []).append(name)
        for lane, operations in lanes.items():
            relane(connection, sender.name, operations, lane)


def _keys(connection: Connection, topology: Topology) -> None:
    """Keys and lanes keep their closings and their ledger; what no account uses any more is left as it is."""
    wanted = {sender.fingerprint: sender.key for sender in topology.senders.values()}
    move(connection, wanted, topology.lanes.values())
    present = set(connection.scalars(select(key_row.c.fingerprint)))
    for fingerprint, name in wanted.items():
        if fingerprint not in present:
            # A new credential, perhaps under an old name: what closed the old one says nothing about this one.
            connection.execute(delete(key_row).where(key_row.c.name == name))
            connection.execute(insert(key_row).values(name=name, fingerprint=fingerprint, nonce=""))
            connection.execute(update(lane_row).where(lane_row.c.key == name).values(**REOPENED))
    known = {row.name: row for row in connection.execute(select(lane_row))}
    for lane in sorted(topology.lanes.values(), key=lambda lane: lane.name):  # in the order in which claims hold them
        limits = json.dumps([bucket.limit.text for bucket in lane.limits.limits])
        shape = json.dumps([_shape(bucket) for bucket in lane.limits.limits])
        values = {"shape": shape, "key": lane.key, "lane_class": lane.lane_class, "pace": lane.pace, "limits": limits}
        row = known.get(lane.name)
        if row is None:
            connection.execute(insert(lane_row).values(name=lane.name, refusals=0, asked=0, **values))
        elif any(getattr(row, name) != value for name, value in values.items()):
            another = (row.key, row.pace) != (lane.key, lane.pace)  # a new sender under an old name
            also = REOPENED if another else {}
            connection.execute(update(lane_row).where(lane_row.c.name == lane.name).values(**values, **also))


def _shape(bucket: Bucket) -> dict[str, Any]:
    """What a forecast must know of a limit; a varied pace counts as slow as it is on average."""
    varied = bucket.jitter * (bucket.limit.window or 0.0) / 2
    return {
        "limit": bucket.limit.text,
        "guard": bucket.guard + varied,
        "reserve": bucket.reserve,
        "shared": bucket.scope is not None,
    }


def _lines(connection: Connection, via: str) -> None:
    for priority in LEVELS:
        line = {"via": via, "priority": priority.level, "broadcast": ""}
        found = select(stream.c.id).where(*(stream.c[name] == value for name, value in line.items()))
        if connection.scalar(found) is None:
            connection.execute(insert(stream).values(**line, weight=1.0, passed=0.0, paused=False, cancelled=False))
