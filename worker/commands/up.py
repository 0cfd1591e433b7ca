"""`paceline up`: everything in one terminal."""

import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.settings import Settings
from config.values import Bind
from paceline.broker import broker_socket, redis_client
from paceline.connection import private_directory
from paceline.errors import ConfigurationError, PacelineError
from worker import embedded
from worker.app import make_app
from worker.commands import children, readiness
from worker.commands.context import check_broker, settings_of
from worker.commands.database import prepare
from worker.commands.output import Output, Printer
from worker.commands.supervisor import Supervisor

WIDTH = 9  # characters of the longest name


def up(config: Path | None, *, sandbox: bool) -> None:
    """Run everything until a signal asks to stop."""
    settings = settings_of(config, sandbox=sandbox)
    printer = Printer(sys.stdout.fileno(), WIDTH)
    with everything(settings, printer, sandbox=sandbox) as supervisor:
        if not supervisor.asked:
            printer.line("", "ready")
        while not supervisor.asked:
            supervisor.turn(60.0)


@contextmanager
def everything(
    settings: Settings, output: Output, *, sandbox: bool, sandbox_settings: Path | None = None
) -> Iterator[Supervisor]:
    """Start everything, and hand over the supervisor when all of it answers or a signal asked to stop; stop it after.

    Raises a `PacelineError`, with nothing left running, if a port is taken, another `up` runs on the same
    configuration, or something does not start.
    """
    check_ports(settings, sandbox=sandbox)
    with _alone(settings.connection.root):
        installation = prepare(settings)
        with Supervisor(output) as supervisor:
            if _start(supervisor, settings, installation, sandbox=sandbox, sandbox_settings=sandbox_settings):
                supervisor.ready()
            yield supervisor


def check_ports(settings: Settings, *, sandbox: bool) -> None:
    """Raise `ConfigurationError` for each address that cannot be listened at."""
    binds = {"hooks": settings.hooks.bind, "flower": settings.flower.bind}
    if sandbox:
        binds["sandbox"] = settings.sandbox.bind
    problems = [
        f"{settings.file}: {name}.bind: {bind} {problem}"
        for name, bind in binds.items()
        if (problem := _port_problem(bind)) is not None
    ]
    if problems:
        raise ConfigurationError(problems)


def _port_problem(bind: Bind) -> str | None:
    try:
        family = socket.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM)[0][0]
        socket.create_server((bind.host, bind.port), family=family).close()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        return f"cannot be listened at ({reason}); choose another address or stop what uses it"
    return None


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold this installation's lock, which ends with the process whatever happens to it."""
    path = private_directory(root / ".paceline") / "up.lock"
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError([f"{path}: this file cannot be written: {error.strerror}"]) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PacelineError(f"Another `paceline up` runs in {root}; stop that one first.") from None
        yield


def _start(
    supervisor: Supervisor, settings: Settings, installation: str, *, sandbox: bool, sandbox_settings: Path | None
) -> bool:
    """Start all parts, the broker first; True once all of them answer."""
    if not _start_broker(supervisor, settings):
        return False
    redis = redis_client(settings.connection)
    try:
        check_broker(redis)
        if sandbox:
            supervisor.start(children.sandbox_(settings, sandbox_settings))
        for child in (
            *children.workers(settings, sandbox=sandbox),
            children.hooks(settings, sandbox=sandbox),
            children.beat(settings, sandbox=sandbox),
            children.flower(settings, sandbox=sandbox),
        ):
            supervisor.start(child)
        checks = [
            *([readiness.http_server("the sandbox", settings.sandbox.bind, "/_control")] if sandbox else []),
            readiness.http_server("hooks", settings.hooks.bind, "/health"),
            readiness.http_server("Flower", settings.flower.bind, "/healthcheck"),
            readiness.workers(make_app(settings, installation), children.nodes(settings)),
            readiness.beat(redis, installation),
        ]
        return readiness.wait(supervisor, checks)
    finally:
        redis.close()


def _start_broker(supervisor: Supervisor, settings: Settings) -> bool:
    if not embedded.is_embedded(settings.connection):
        return True
    path = broker_socket(settings.connection)
    if embedded.answers(path):
        return True  # it outlived another supervisor; whoever started it ends it
    supervisor.start(children.broker(settings))
    return readiness.wait(supervisor, [readiness.Check("the embedded broker", lambda: embedded.answers(path))])
