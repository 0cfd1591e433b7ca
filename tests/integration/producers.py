"""What the producer's tests stand on: an installation of two accounts and a route, as `paceline migrate` leaves it."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, delete, insert, select

from paceline import Text, tables
from paceline.capabilities import Capabilities, Rule
from paceline.connection import engine, resolve

NOWHERE = "redis://127.0.0.1:1"  # nothing listens there
SECRET = "the digest secret"
INSTALLATION = "testing"

CAPABILITIES = Capabilities(
    kinds={
        "text": {"to": Rule(required=True, min_length=1), "text": Rule(required=True, max_length=100)},
        "media": {"to": Rule(required=True), "url": Rule(required=True), "media_type": Rule(required=True)},
        "email": {"to": Rule(), "subject": Rule(), "html": Rule(), "attachments": Rule()},
    },
    options={"label": Rule(max_length=10), "tags": Rule()},
    channel="sms",
)
SHORTER = Capabilities(
    kinds={"text": {"to": Rule(required=True), "text": Rule(required=True, max_length=20)}}, channel="sms"
)

HELLO = Text(to="+15550100", text="Your order has left.")


def install(database_url: str) -> None:
    """Publish two accounts, `main` and `backup`, and the route `sms` over both."""
    with connected(database_url) as connection:
        for table in (tables.Installation, tables.Account, tables.Route, tables.Stream):
            connection.execute(delete(tables.columns(table)))
        put(connection, tables.Installation, id=1, name=INSTALLATION, digest_secret=SECRET)
        for name, carries in (("main", CAPABILITIES), ("backup", SHORTER)):
            text = json.dumps(carries.as_json())
            put(connection, tables.Account, name=name, provider="p", lane=f"{name}/send", capabilities=text)
        put(connection, tables.Route, name="sms", accounts=json.dumps(["main", "backup"]))


@contextmanager
def connected(database_url: str) -> Iterator[Connection]:
    """A connection of the test's own, committed at the end."""
    made = engine(resolve(database_url=database_url, environ={"PACELINE_CONFIG": ""}))
    try:
        with made.begin() as connection:
            yield connection
    finally:
        made.dispose()


def put(connection: Connection, table: type[tables.Base], **values: Any) -> None:
    """Insert one row, the columns that are not named as the tables default them."""
    connection.execute(insert(tables.columns(table)).values(values))


def rows(database_url: str, table: type[tables.Base]) -> Sequence[sa.Row[Any]]:
    """Every row of a table, in the order of its primary key."""
    found = tables.columns(table)
    with connected(database_url) as connection:
        return connection.execute(select(found).order_by(*found.primary_key)).all()


def sqlite_path(database_url: str) -> Path:
    """The file behind a SQLite URL."""
    return Path(database_url.removeprefix("sqlite:///"))
