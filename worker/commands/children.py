"""The processes of an installation, as a supervisor runs them."""

import socket
import sys
from collections.abc import Callable
from pathlib import Path

from config.settings import Settings
from worker import embedded
from worker.commands.context import CHECKOUT, environment
from worker.commands.supervisor import Child
from worker.watch.flower import flower_environment

# In the order in which they start; they stop in the other one.
BROKER, SANDBOX, AROUND, WORKERS = range(4)

DRAIN = 30.0  # seconds that a worker has beyond its longest request: to write what came of it
CELERY = (sys.executable, "-m", "celery", "--quiet", "-A", "worker.app")


def broker(settings: Settings) -> Child:
    """The embedded broker."""
    return Child("broker", embedded.command(settings.connection), {}, CHECKOUT, BROKER)


def workers(settings: Settings, *, sandbox: bool) -> list[Child]:
    """The worker processes."""
    grace = DRAIN + max(account.timeout for account in settings.accounts.values())
    return [
        Child(
            f"worker-{number}",
            [*CELERY, "worker", "--hostname", node, "--loglevel", "INFO"],
            environment(settings, sandbox=sandbox),
            CHECKOUT,
            WORKERS,
            grace,
        )
        for number, node in enumerate(nodes(settings), start=1)
    ]


def nodes(settings: Settings) -> list[str]:
    """The worker processes' names in Celery and Flower."""
    return [f"paceline-{number}@{socket.gethostname()}" for number in range(1, settings.worker.processes + 1)]


def beat(settings: Settings, *, sandbox: bool) -> Child:
    """The clock."""
    command = [*CELERY, "beat", "--loglevel", "INFO"]
    return Child("beat", command, environment(settings, sandbox=sandbox), CHECKOUT, AROUND)


def flower(settings: Settings, *, sandbox: bool) -> Child:
    """Flower."""
    bind, login = settings.flower.bind, settings.flower.basic_auth
    shown = flower_environment(
        bind.host, bind.port, login.get_secret_value() if login else None, settings.flower.rows_per_second
    )
    return Child("flower", [*CELERY, "flower"], {**environment(settings, sandbox=sandbox), **shown}, CHECKOUT, AROUND)


def hooks(settings: Settings, *, sandbox: bool) -> Child:
    """The receiver of webhooks."""
    command = [sys.executable, "-m", "paceline.cli", "hooks"]
    return Child("hooks", command, environment(settings, sandbox=sandbox), CHECKOUT, AROUND)


def sandbox_(
    settings: Settings, sandbox_settings: Path | None = None, prepare: Callable[[], bool] | None = None
) -> Child:
    """The sandbox. It keeps what arrived in `.paceline/`, and goes on there when it starts again.

    `prepare` tells it what it forgets; see `Child`.
    """
    ledger = settings.connection.root / ".paceline" / "sandbox.jsonl"
    command = [sys.executable, "-m", "sandbox", "--bind", str(settings.sandbox.bind), "--ledger", str(ledger)]
    if sandbox_settings is not None:
        command += ["--settings", str(sandbox_settings)]
    return Child("sandbox", command, environment(settings, sandbox=True), CHECKOUT, SANDBOX, prepare=prepare)
