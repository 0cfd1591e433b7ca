"""`python -m worker.health worker|beat|hooks|flower|sandbox`: does that part, on this host, make progress?

For the health checks of containers and supervisors: exit code 0 if it does, 1 and a sentence on stderr if not. A worker
whose node answers pings while its threads hang is not well, nor is a beat that calls nobody. No part is blamed for
another: that no tick runs is the beat's fault if none waits, and the workers' if one does.
"""

import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from celery import Celery
from redis import Redis

from paceline import wire
from paceline.broker import redis_client
from paceline.errors import PacelineError
from paceline.explain import explain
from worker import schema
from worker.app import SANDBOX, make_app
from worker.commands import children, readiness
from worker.commands.context import database, settings_of
from worker.pump import SLICE

WELL, UNWELL, WRONG_USE = 0, 1, 2
PARTS = ("worker", "beat", "hooks", "flower", "sandbox")
ANSWER = 5.0  # seconds for a worker's answer
PATIENCE = 5.0  # seconds in which a tick must be seen; there is one every second
LOOK = 0.05  # seconds between two looks


class Unwell(PacelineError):
    """A part does not make progress."""


def main(arguments: Sequence[str]) -> int:
    """Check one part; the exit code."""
    if len(arguments) != 1 or arguments[0] not in PARTS:
        return _say(f"takes one of {', '.join(PARTS)}", WRONG_USE)
    try:
        check(arguments[0])
    except Exception as error:
        return _say(explain(error), UNWELL)
    return WELL


def check(part: str) -> None:
    """Raise `Unwell`, or what kept us from looking."""
    settings = settings_of(None, sandbox=bool(os.environ.get(SANDBOX)))
    servers = {
        "hooks": readiness.http_server("hooks", settings.hooks.bind, "/health"),
        "flower": readiness.http_server("Flower", settings.flower.bind, "/healthcheck"),
        "sandbox": readiness.http_server("the sandbox", settings.sandbox.bind, "/_control"),
    }
    if part in servers:
        if not servers[part].answers():
            raise Unwell(f"{servers[part].name} does not answer.")
        return
    with database(settings) as engine:
        installation = schema.installation(engine)
    with closing(redis_client(settings.connection)) as redis:
        redis.ping()  # where it is away, Celery would say so by an exception that nobody here explains
        if part == "beat":
            check_beat(redis, installation)
            return
        longest = SLICE + children.DRAIN + max(account.timeout for account in settings.accounts.values())
        check_nodes(make_app(settings, installation), children.nodes(settings), longest)
        check_ticks_are_taken(redis, installation)


def check_nodes(app: Celery, nodes: Sequence[str], longest: float) -> None:
    """Every worker process of this host answers, and has no task in hand for more than `longest` seconds."""
    active: dict[str, list[dict[str, Any]]] = app.control.inspect(destination=nodes, timeout=ANSWER).active() or {}
    silent = [node for node in nodes if node not in active]
    if silent:
        raise Unwell(f"{', '.join(silent)}: no answer.")
    for node, tasks in active.items():
        # A task that nobody has begun yet has no time.
        age = max((time.time() - task["time_start"] for task in tasks if task["time_start"]), default=0.0)
        if age > longest:
            raise Unwell(f"{node}: has had a task in hand for {age:.0f} s.")


def check_ticks_are_taken(redis: Redis, installation: str) -> None:
    """A tick runs, or none waits to be run."""
    if not _tick_seen(redis, installation) and redis.llen(wire.system_queue(installation)):
        raise Unwell(f"The workers have run no tick for {PATIENCE:g} s, and some wait.")


def check_beat(redis: Redis, installation: str) -> None:
    """A tick runs, or is called."""
    before = redis.llen(wire.system_queue(installation))
    if not _tick_seen(redis, installation) and redis.llen(wire.system_queue(installation)) <= before:
        raise Unwell(f"beat has called no tick for {PATIENCE:g} s.")


def _tick_seen(redis: Redis, installation: str) -> bool:
    # Its flag stands for half a second, and nobody announces it.
    end = time.monotonic() + PATIENCE
    while not redis.exists(wire.tick_key(installation)):
        if time.monotonic() > end:
            return False
        time.sleep(LOOK)
    return True


def _say(sentence: str, code: int) -> int:
    sys.stderr.write(f"paceline health: {sentence}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
