"""What an application's tests stand on: a service that runs, and processes that are the application's."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from redis import Redis

from paceline import MessageNotFound, MessageView, Status
from sandbox.background import SandboxServer
from tests.acceptance.commands_support import ROOT, clean_environment
from tests.support.installation import Installation, installation, until
from tests.support.ports import free_port
from tests.support.servers import start_valkey

WORKER = (sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-l", "warning")
# A wake-up that the broker does not take at once is lost, and the next tick makes up for it. Here nothing ticks, so
# producers wait for a broker that a busy machine has put aside.
PATIENT = """
from paceline import wakeup
wakeup.CONNECT_TIMEOUT = 60.0
wakeup.SHORT.update(socket_connect_timeout=60.0, socket_timeout=60.0)
"""
SOON = 90.0  # seconds; a message takes some milliseconds on an idle machine


@dataclass
class ServiceForShops:
    """A service that sends what applications enqueue. Nothing ticks: what is sent was announced by its producer."""

    built: Installation
    sandbox: SandboxServer
    broker_url: str
    directory: Path

    @property
    def database_url(self) -> str:
        """The database that the applications share with it."""
        return self.built.engine.url.render_as_string(hide_password=False)

    @property
    def patience(self) -> Path:
        """Where Python finds what makes a producer patient."""
        return self.directory / "patience"

    @property
    def path(self) -> str:
        """Where Python finds that, and the checkout."""
        return f"{self.patience}{os.pathsep}{ROOT}"

    @property
    def on_sqlite(self) -> bool:
        """Whether that is SQLite."""
        return self.built.engine.dialect.name == "sqlite"

    def environment(self, **more: str) -> dict[str, str]:
        """What a producer is told."""
        told = {"PACELINE_DATABASE_URL": self.database_url, "PACELINE_BROKER_URL": self.broker_url}
        applications = {"DATABASE_URL": self.database_url, "BROKER_URL": self.broker_url}
        return clean_environment(PYTHONPATH=self.path, **applications, **told, **more)

    def accepted(self, message: str | None = None, *, key: str | None = None) -> MessageView:
        """The message of that id or idempotency key, once the provider has taken it; it took it once."""
        client = self.built.client

        def is_accepted() -> bool:
            with contextlib.suppress(MessageNotFound):
                return client.status(message, idempotency_key=key).status is Status.ACCEPTED
            return False

        until(is_accepted, SOON)
        view = client.status(message, idempotency_key=key)
        assert [each.outcome for each in view.attempts] == ["accepted"]
        assert [each.message_id for each in self.sandbox.ledger("aurogy")].count(view.provider_message_id or "") == 1
        return view

    def rows(self, sql: str) -> list[Any]:
        """The first column of what a query finds."""
        with self.built.engine.connect() as connection:
            return list(connection.execute(sa.text(sql)).scalars())


@contextmanager
def serve(directory: Path, database_url: str) -> Iterator[ServiceForShops]:
    """A service on this migrated database."""
    port = free_port()
    with start_valkey(directory, "--port", str(port)) as url, Redis.from_url(url) as redis, SandboxServer() as sandbox:
        poll = {"schedule": [600]}  # nothing ticks, and nothing is asked for
        with installation(directory, database_url, redis, sandbox.base_url("aurogy"), poll=poll) as built:
            made = ServiceForShops(built, sandbox, f"redis://127.0.0.1:{port}/0", directory)
            made.patience.mkdir()
            (made.patience / "sitecustomize.py").write_text(PATIENT)
            environment = clean_environment(
                PYTHONPATH=made.path, PACELINE_CONFIG=str(built.settings_file), PYTHONWARNINGS="ignore"
            )
            with running(WORKER, directory / "worker.log", cwd=ROOT, env=environment):
                yield made


@contextmanager
def running(command: Sequence[str], log: Path, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that ends with the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, **options)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=SOON)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def output_of(command: Sequence[str | Path], cwd: Path, env: dict[str, str]) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=SOON, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def answers(port: int) -> bool:
    """Whether anybody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def without_the_checkout(environment: dict[str, str]) -> dict[str, str]:
    """The same for a process that must not find our packages by chance."""
    return {name: value for name, value in environment.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
