"""`paceline up`: everything in one terminal."""

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.settings import Settings
from paceline.broker import broker_socket, redis_client
from paceline.connection import private_directory
from paceline.errors import ConfigurationError, PacelineError
from worker import embedded
from worker.app import make_app
from worker.commands import children, readiness
from worker.commands.context import check_broker, settings_of
from worker.commands.database import prepare
from worker.commands.output import Output, Printer
from worker.commands.sandbox_webhooks import SandboxWebhooks
from worker.commands.serving import check_addresses
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
    binds = {
        "hooks.bind": settings.hooks.bind,
        "hooks.metrics_bind": settings.hooks.metrics_bind,
        "flower.bind": settings.flower.bind,
    }
    check_addresses(settings.file, {**binds, "sandbox.bind": settings.sandbox.bind} if sandbox else binds)


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
    webhooks = SandboxWebhooks(settings)
    try:
        check_broker(redis)
        if sandbox:
            supervisor.start(children.sandbox_(settings, sandbox_settings, prepare=webhooks.tell))
        for child in (
            *children.workers(settings, sandbox=sandbox),
            children.hooks(settings, sandbox=sandbox),
            children.beat(settings, sandbox=sandbox),
            children.flower(settings, sandbox=sandbox),
        ):
            supervisor.start(child)
        checks = [
            *([readiness.Check("the sandbox", lambda: webhooks.told)] if sandbox else []),
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
