"""A process that dies at its n-th boundary: before or after a transaction's begin and commit, each command to Redis and
its answer, and each request's passing of the hook, its last byte and its answer.

Within a transaction nothing is a boundary of its own: dying there is dying before its commit. Redis' commands are one
each, however many transactions or scripts they carry.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.connection import AbstractConnection
from sqlalchemy import Engine, event

from config.settings import load
from paceline import Client, Text
from paceline.bulk import CHUNK
from paceline.database import engine
from tests.support.installation import ACCOUNT, recipient
from tests.support.operations import PROVIDERS_OFFERING
from worker import transport as wire
from worker.app import topology_of
from worker.planning import by_index
from worker.service import Service

DIED = 86  # the exit status of who has died at its boundary
SLICE = 20.0  # seconds, or until nothing is left to do: who is put aside for a while comes to its boundary all the same
STAGED = 4  # recipients in one transaction of a broadcast, so that it takes several

PATCH = pytest.MonkeyPatch()  # never undone: its process ends

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["tests.chaos.boundaries"])


BEGUN, COMMITTING, COMMITTED = "a transaction has begun", "before a commit", "after a commit"
COMMANDING, ANSWERED = "before a command to Redis", "after an answer of Redis"
ADMITTING, ADMITTED, WRITTEN, DELIVERING = (
    "before the hook",
    "after the hook",
    "after the last byte",
    "before an answer",
)
DATABASE, REDIS, WIRE = (COMMITTING, COMMITTED), (ANSWERED,), (ADMITTED, WRITTEN, DELIVERING)
# What lies between one answer and the next question changes nothing that lasts, so these say what the others have said.
AGAIN = {DATABASE: (BEGUN,), REDIS: (COMMANDING,), WIRE: (ADMITTING,)}


class Countdown:
    """Counts the boundaries of one kind, and ends the process at the n-th."""

    def __init__(self, kind: str, ends_at: int) -> None:
        self._kind = kind
        self._left = ends_at
        self._lock = threading.Lock()
        self.armed = False

    def __call__(self, kind: str) -> None:
        """One more boundary."""
        with self._lock:
            if self.armed and kind == self._kind:
                self._left -= 1
                if self._left == 0:
                    os._exit(DIED)


def run(settings_file: Path, scenario: str, number: int, kind: str, ends_at: int) -> int:
    """Play a scenario in a process that dies at that boundary; its exit status, 0 if it had no such boundary."""
    process = context.Process(target=_play, args=(settings_file, scenario, number, kind, ends_at))
    process.start()
    process.join(240)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def people(number: int) -> list[dict[str, str]]:
    """The recipients of the broadcast of that number: some of them twice."""
    return [{"id": recipient(number * 100 + each)} for each in (0, 1, 2, 3, 4, 1, 5, 6, 7, 0)]


def announce(client: Client, number: int) -> None:
    """Order the broadcast of that number, whoever has before."""
    client.broadcast(f"sale-{number}", Text(to="{id}", text="20 % off."), people(number), ACCOUNT)


def _play(settings_file: Path, scenario: str, number: int, kind: str, ends_at: int) -> None:
    CHUNK.update(dict.fromkeys(CHUNK, STAGED))
    countdown = Countdown(kind, ends_at)
    settings = load(settings_file, environ={}, providers=PROVIDERS_OFFERING)
    opened = by_index(engine(settings.connection))
    with (
        closing(Redis.from_url(str(settings.connection.broker_url))) as redis,
        Client(settings_file, environ={}) as client,
    ):
        name = str(opened.connect().exec_driver_sql("SELECT name FROM paceline_installation").scalar_one())
        service = Service(
            opened,
            redis,
            name,
            topology_of(settings),
            in_flight=16,
            client=client,
            wake=lambda: None,
            in_hand=settings.connection.root / settings.worker.in_hand,
        )
        _watch_databases(countdown, [opened, client._open()._engine])
        _watch_redis(countdown)
        _watch_wire(countdown)
        countdown.armed = True
        SCENARIOS[scenario](service, number)
        countdown.armed = False
    os._exit(0)


def _pump(service: Service, _number: int) -> None:
    service.tick()
    service.pump.run_slice(SLICE)
    service.sweep()


def _job(service: Service, _number: int) -> None:
    service.tick()
    service.pump.run_slice(SLICE)


def _enqueue(service: Service, number: int) -> None:
    service.client.enqueue(Text(to=recipient(number), text="x"), via=ACCOUNT, idempotency_key=f"enqueue-{number}")
    service.client.wake()


def _expand(service: Service, number: int) -> None:
    announce(service.client, number)
    service.broadcasts.steer()
    service.broadcasts.work()


SCENARIOS: Mapping[str, Callable[[Service, int], None]] = {
    "pump": _pump,
    "job": _job,
    "enqueue": _enqueue,
    "expand": _expand,
}


def _watch_databases(countdown: Countdown, engines: list[Engine]) -> None:
    for each in engines:
        event.listen(each, "begin", lambda _: countdown(BEGUN))
        commit = each.dialect.do_commit

        def committed(connection: Any, commit: Callable[[Any], None] = commit) -> None:
            countdown(COMMITTING)
            commit(connection)
            countdown(COMMITTED)

        PATCH.setattr(each.dialect, "do_commit", committed)


def _watch_redis(countdown: Countdown) -> None:
    send, read = AbstractConnection.send_packed_command, AbstractConnection.read_response

    def sent(self: Any, command: Any, *given: Any, **named: Any) -> Any:
        countdown(COMMANDING)
        return send(self, command, *given, **named)  # type: ignore[no-untyped-call]

    def answered(self: Any, *given: Any, **named: Any) -> Any:
        answer = read(self, *given, **named)
        countdown(ANSWERED)
        return answer

    PATCH.setattr(AbstractConnection, "send_packed_command", sent)
    PATCH.setattr(AbstractConnection, "read_response", answered)


def _watch_wire(countdown: Countdown) -> None:
    request = wire._GuardedRequest
    admit, send, write, start = wire.Guard.admit, request.send, request.write_bytes, wire.Transport.send

    async def admitted(self: wire.Guard) -> None:
        countdown(ADMITTING)
        await admit(self)
        countdown(ADMITTED)

    async def sent(self: Any, connection: Any) -> Any:
        response = await send(self, connection)
        if not self.body:
            countdown(WRITTEN)
        return response

    async def written(self: Any, *given: Any) -> None:
        await write(self, *given)
        countdown(WRITTEN)

    def started(self: wire.Transport, exchanges: Any, deliver: Callable[[wire.Answer], None]) -> None:
        def delivered(answer: wire.Answer) -> None:
            countdown(DELIVERING)
            deliver(answer)

        start(self, exchanges, delivered)

    PATCH.setattr(wire.Guard, "admit", admitted)
    PATCH.setattr(request, "send", sent)
    PATCH.setattr(request, "write_bytes", written)
    PATCH.setattr(wire.Transport, "send", started)
