"""When everything that was started answers."""

import http.client
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from config.values import Bind
from paceline import wire
from paceline.errors import PacelineError
from worker.commands.supervisor import Supervisor

PATIENCE = 90.0  # seconds until everything must answer
ANSWER = 1.0  # seconds for one answer
LOOK = 0.1  # seconds between two looks


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must answer."""

    name: str
    answers: Callable[[], bool]


class NotReady(PacelineError):
    """Something did not answer in time."""


def wait(supervisor: Supervisor, checks: Iterable[Check], patience: float = PATIENCE) -> bool:
    """True once all answer, False if a signal asked to stop before. Raises `NotReady` after `patience` seconds."""
    waiting = list(checks)
    end = time.monotonic() + patience
    while not supervisor.asked:
        while waiting and waiting[0].answers():
            waiting.pop(0)
        if not waiting:
            return True
        if time.monotonic() > end:
            raise NotReady(f"{waiting[0].name} did not answer within {patience:g} s; its output says why.")
        supervisor.turn(LOOK)
    return False


def http_server(name: str, bind: Bind, path: str) -> Check:
    """A server answers at its address; 401 is an answer, a 5xx is none."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind.host, bind.host)  # noqa: S104  # listening everywhere

    def answers() -> bool:
        connection = http.client.HTTPConnection(host, bind.port, timeout=ANSWER)
        try:
            connection.request("GET", path)
            return connection.getresponse().status < 500
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return Check(f"{name} at {bind}", answers)


def workers(app: Celery, nodes: Sequence[str]) -> Check:
    """Each worker process answers Celery's ping."""

    def answers() -> bool:
        try:
            replies: list[dict[str, Any]] = app.control.ping(destination=nodes, timeout=ANSWER) or []
        except (OperationalError, OSError):
            return False
        return {node for reply in replies for node in reply} >= set(nodes)

    return Check("the worker", answers)


def beat(redis: Redis, installation: str) -> Check:
    """A tick has run: beat called it and a worker took it."""

    def answers() -> bool:
        try:
            return bool(redis.exists(wire.tick_key(installation)))
        except RedisError:
            return False

    return Check("beat", answers)
