"""Strings that are planted where content and secrets belong, and looked for everywhere else."""

import base64
import binascii
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine, text

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{12,}={0,2}")
DEPTH = 3  # how often something may be wrapped in base64


def found(needles: Mapping[str, str], where: bytes | str) -> set[str]:
    """The names of the needles that stand there, as they are or in base64, in upper or lower case."""
    stacks = b"\n".join(_unwrapped(where.encode("utf-8", "replace") if isinstance(where, str) else where)).lower()
    return {name for name, needle in needles.items() if needle.lower().encode() in stacks}


def _unwrapped(held: bytes, depth: int = DEPTH) -> Iterator[bytes]:
    yield held
    if depth == 0:
        return
    for match in _BASE64.findall(held):
        core = match.rstrip(b"=")
        try:
            inner = base64.b64decode(core + b"=" * (-len(core) % 4), altchars=b"-_" if b"_" in core else None)
        except (binascii.Error, ValueError):
            continue
        if inner.isascii():
            yield from _unwrapped(inner, depth - 1)


def places(engine: Engine, needles: Mapping[str, str]) -> dict[str, set[str]]:
    """By needle: the columns of our tables, as `table.column`, in which it stands."""
    where: dict[str, set[str]] = {name: set() for name in needles}
    with engine.connect() as connection:
        listing = {
            "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'paceline%'",
            "postgresql": "SELECT tablename FROM pg_tables WHERE tablename LIKE 'paceline%' AND schemaname = 'public'",
        }
        for table in connection.execute(text(listing[engine.dialect.name])).scalars().all():
            for row in connection.execute(text(f"SELECT * FROM {table}")).mappings():
                for column, value in row.items():
                    for name in found(needles, str(value)):
                        where[name].add(f"{table}.{column}")
    return where


class Monitor:
    """Everything that a Valkey is told, as MONITOR shows it."""

    def __init__(self, client: Redis) -> None:
        self.commands: list[str] = []
        self._client = client
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="monitor", daemon=True)
        self._begun = threading.Event()

    def start(self) -> None:
        """Listen from now on."""
        self._thread.start()
        assert self._begun.wait(60)

    def stop(self) -> str:
        """All of it, a line each."""
        self._ends.set()
        self._client.ping()  # is heard, and ends the wait
        self._thread.join(60)
        return "\n".join(self.commands)

    def _listen(self) -> None:
        any_client: Any = self._client
        try:
            with any_client.monitor() as monitor:
                self._begun.set()
                while not self._ends.is_set():
                    self.commands.append(monitor.next_command()["command"])
        except RedisError:
            assert self._ends.is_set()


@contextmanager
def monitoring(client: Redis) -> Iterator[Monitor]:
    """A monitor for the block; `stop` it to read."""
    monitor = Monitor(client)
    monitor.start()
    try:
        yield monitor
    finally:
        monitor.stop()
