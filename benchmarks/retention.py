"""What a finished message takes on disk, and how fast a purge forgets it: `python -m benchmarks.retention`."""

import argparse
import time
from pathlib import Path

from sqlalchemy import Engine, text

from benchmarks.report import Line, closing, say
from benchmarks.world import Servers, servers
from config.settings import load
from paceline import Client, Outgoing, Text
from paceline.database import engine
from worker import schema
from worker.app import retention_of, topology_of
from worker.planning import by_index

MESSAGES = 50_000
ACCOUNT = "aurogy-bench"
BODY = "Your order has been shipped and will be with you tomorrow between nine and noon. Reply STOP to opt out."

CONFIG = """\
[database]
url = "{url}"
[accounts.{account}]
provider = "aurogy"
api_key = "auro_test_sk_benchmark"
"""

# Each message as it is once it was delivered and reported: an attempt, two events; long ago.
FINISH = """\
UPDATE paceline_message SET status = 'delivered', updated_at = 1, created_at = 1, account = :account, attempt = 1,
  provider_message_id = 'msg_' || id, grant_id = id, first_sent_at = 1, accepted_at = 1;
INSERT INTO paceline_attempt (message_id, number, grant_id, account, at, outcome, http_status, code, duration_ms)
  SELECT id, 1, id, account, 1, 'accepted', 200, '', 51.2 FROM paceline_message;
INSERT INTO paceline_event (message_id, account, at, source, status, kind, position)
  SELECT id, account, 1, 'response', 'accepted', 'status', row_number() OVER (ORDER BY id) FROM paceline_message;
INSERT INTO paceline_event (message_id, account, at, source, status, kind, position)
  SELECT id, account, 1, 'webhook', 'delivered', 'status', :count + row_number() OVER (ORDER BY id)
  FROM paceline_message;
UPDATE paceline_idempotency_key SET created_at = 1"""


def lines(url: str, directory: Path, count: int) -> list[Line]:
    """Store and finish `count` messages in a new database, and forget them all."""
    file = directory / "retention.toml"
    file.write_text(CONFIG.format(url=url, account=ACCOUNT))
    settings = load(file, environ={})
    opened = by_index(engine(settings.connection))
    name = opened.dialect.name
    try:
        topology = topology_of(settings)
        schema.migrate(opened)
        schema.publish(opened, topology)
        empty = _size(opened)
        with Client(file, environ={}) as client:
            client.enqueue_many(
                Outgoing(Text(to=f"auro_usr_{number:08d}a", text=BODY), ACCOUNT, idempotency_key=f"order-{number}")
                for number in range(count)
            )
        with opened.begin() as connection:
            for statement in FINISH.split(";"):
                wanted = {"account": ACCOUNT, "count": count}
                connection.execute(text(statement), {key: wanted[key] for key in wanted if f":{key}" in statement})
        taken = (_size(opened) - empty) / count
        say(f"{name}: {count:,} delivered messages stored")
        began = time.perf_counter()
        counts = retention_of(settings, opened, topology).purge()
        seconds = time.perf_counter() - began
    finally:
        opened.dispose()
    assert counts["messages"] == counts["idempotency_keys"] == count
    return [
        Line(f"{name}: disk of a delivered message with all that belongs to it, bytes", f"{taken:,.0f}"),
        Line(
            f"{name}: messages forgotten a second, contents, rows and keys, rests included", f"{count / seconds:,.0f}"
        ),
    ]


def _size(opened: Engine) -> float:
    """Bytes of the database, rid of what is dead."""
    postgresql = opened.dialect.name == "postgresql"
    with opened.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if postgresql:
            connection.execute(text("VACUUM FULL"))
            return float(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)
    with opened.connect() as connection:
        pages = connection.scalar(text("SELECT page_count FROM pragma_page_count"))
        free = connection.scalar(text("SELECT freelist_count FROM pragma_freelist_count"))
        size = connection.scalar(text("SELECT page_size FROM pragma_page_size"))
    return float((pages - free) * size)


def _all(at: Servers, count: int) -> list[Line]:
    urls = (f"sqlite:///{at.directory}/retention.db", at.postgres.database("retention"))
    return [line for url in urls for line in lines(url, at.directory, count)]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retention", description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    count = parser.parse_args().messages
    with servers() as at:
        closing("Retention", _all(at, count))


if __name__ == "__main__":
    main()
