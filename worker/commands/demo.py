"""`paceline demo`: a private installation, the sandbox as its provider, and proof of what arrived there."""

import fcntl
import http.client
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from sqlalchemy import Engine, func, select

from config.settings import Settings
from config.values import Bind
from paceline import wire
from paceline.broker import redis_client
from paceline.connection import private_directory
from paceline.database import read
from paceline.errors import PacelineError
from paceline.status import Status
from worker import schema
from worker.app import client_of, topology_of
from worker.commands.context import CHECKOUT, database, settings_of
from worker.commands.demo_plan import ACCOUNT, RECIPIENTS, outgoing, write_configuration
from worker.commands.demo_view import DemoView
from worker.commands.output import Printer
from worker.commands.supervisor import Supervisor
from worker.commands.up import WIDTH, everything
from worker.lanes_view import lane_views
from worker.limits import Limiter
from worker.statements import attempt, message

# The demo reads its own configuration, and writes to no database but its own.
FOREIGN = ("PACELINE_CONFIG", "PACELINE_DATABASE_URL", "PACELINE_BROKER_URL")
PATIENCE = 180.0  # seconds until every message must have come to rest
ANSWER = 10.0  # seconds for the sandbox's answer
SETTLED = frozenset({Status.DELIVERED, Status.READ, Status.FAILED, Status.EXPIRED, Status.CANCELLED, Status.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: our own counts, and the sandbox's summary of what arrived there."""

    enqueued: int
    statuses: Mapping[str, int]
    accepted: int  # messages that the provider gave an id
    attempts: int
    arrived: Mapping[str, Any]


def demo(*, keep: bool) -> None:
    """Run the demo; exit code 1 if anything was not as promised."""
    for name in FOREIGN:
        os.environ.pop(name, None)
    view = DemoView(Console(file=sys.stdout))
    with _private_directory() as directory, (directory / "log").open("wb") as log:
        file, sandbox_settings = write_configuration(directory)
        settings = settings_of(file, sandbox=True)
        view.say(f"Starting Paceline and the sandbox; what they log is in {directory / 'log'}.")
        printer = Printer(log.fileno(), WIDTH)
        with everything(settings, printer, sandbox=True, sandbox_settings=sandbox_settings) as supervisor:
            broken = _run(settings, supervisor, view)
            if keep:
                _keep(settings, supervisor, view)
    if broken:
        raise PacelineError("\n".join(broken))


def _run(settings: Settings, supervisor: Supervisor, view: DemoView) -> list[str]:
    with database(settings) as engine:
        enqueued = _enqueue(settings, view)
        _follow(settings, supervisor, engine, view)
        if supervisor.asked:
            raise typer.Exit(130)
        outcome = _outcome(settings, engine, enqueued)
    view.report(_rows(outcome))
    broken = broken_promises(outcome)
    if not broken:
        view.say("Everything arrived once, and no window held more than its limit.")
    return broken


def _enqueue(settings: Settings, view: DemoView) -> int:
    started = time.monotonic()
    with client_of(settings) as client:
        receipt = client.enqueue_many(outgoing(CHECKOUT / RECIPIENTS))
    if receipt.rejected:
        raise PacelineError(f"{RECIPIENTS}: {receipt.rejected[0].field}: {receipt.rejected[0].reason}")
    milliseconds = (time.monotonic() - started) * 1000
    view.say(f"Enqueued {receipt.enqueued} messages via {ACCOUNT} in {milliseconds:.0f} ms.")
    return receipt.enqueued


def _follow(settings: Settings, supervisor: Supervisor, engine: Engine, view: DemoView) -> None:
    """Show the lanes until every message has come to rest, time is up, or a signal asked to stop."""
    topology = topology_of(settings)
    used = {name: lane for name, lane in topology.lanes.items() if lane.senders or lane.pollers}
    busy = replace(topology, lanes=used)
    started = shown = time.monotonic()
    with closing(redis_client(settings.connection)) as redis, view.running():
        limiter = Limiter(redis, wire.limiter_prefix(schema.installation(engine)))
        while not supervisor.asked and time.monotonic() - started < PATIENCE:
            supervisor.turn(view.every)
            if time.monotonic() - shown >= view.every:
                shown = time.monotonic()
                statuses = _statuses(engine)
                view.show(shown - started, lane_views(engine, limiter, busy), statuses)
                if statuses.keys() <= SETTLED:
                    return


def _keep(settings: Settings, supervisor: Supervisor, view: DemoView) -> None:
    view.say(
        f"Flower {settings.flower.bind.url}   hooks {settings.hooks.bind.url}   "
        f"sandbox {settings.sandbox.url}/_control   configuration {settings.file}   Ctrl-C stops."
    )
    while not supervisor.asked:
        supervisor.turn(60.0)


def _statuses(engine: Engine) -> dict[str, int]:
    with read(engine) as connection:
        rows = connection.execute(select(message.c.status, func.count()).group_by(message.c.status))
        return {Status(status): count for status, count in rows}


def _outcome(settings: Settings, engine: Engine, enqueued: int) -> Outcome:
    with read(engine) as connection:
        accepted = connection.scalar(select(func.count(message.c.provider_message_id)))
        attempts = connection.scalar(select(func.count()).select_from(attempt))
    arrived = _asked(settings.sandbox.bind, "/_control/aurogy/summary")
    return Outcome(enqueued, _statuses(engine), accepted or 0, attempts or 0, arrived)


def _asked(bind: Bind, path: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection(bind.host, bind.port, timeout=ANSWER)
    with closing(connection):
        connection.request("GET", path)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
    return answer


def _rows(it: Outcome) -> list[tuple[str, str]]:
    count = it.statuses.get
    delivered, was_read = count(Status.DELIVERED, 0), count(Status.READ, 0)
    facts = {
        "enqueued": it.enqueued,
        "sent": it.accepted,
        "delivered": delivered + was_read,
        "of these read": was_read,
        "failed": count(Status.FAILED, 0),
        "webhooks taken": it.arrived["webhooks"]["acknowledged"],
        "attempts": it.attempts,
        "answered 429": it.arrived["throttled"],
        "arrived twice": it.arrived["duplicates"]["surplus"],
    }
    windows = {
        f"most {each['group']} requests in any window": f"{each['highest']}, limit {each['limit']}"
        for each in it.arrived["windows"]
    }
    return [(name, str(value)) for name, value in {**facts, **windows}.items()]


def broken_promises(it: Outcome) -> list[str]:
    """What was not as promised, a sentence each."""
    moving = {str(status): count for status, count in it.statuses.items() if status not in SETTLED}
    unknown, arrived = it.statuses.get(Status.UNKNOWN, 0), it.arrived
    over = [window["group"] for window in arrived["windows"] if window["exceeded"]]
    missing = it.enqueued - sum(it.statuses.values())
    found = {
        f"{arrived['throttled']} requests were answered 429.": arrived["throttled"],
        f"{arrived['duplicates']['surplus']} messages arrived twice.": arrived["duplicates"]["surplus"],
        f"The limit of {', '.join(over)} was exceeded.": over,
        f"{missing} messages are missing.": missing,
        "No webhook was taken.": not arrived["webhooks"]["acknowledged"],
        f"Not settled after {PATIENCE:g} s: {moving}.": moving,
        f"{unknown} messages are unknown.": unknown,
        f"The sandbox accepted {arrived['accepted']} messages, we know of {it.accepted}.": (
            arrived["accepted"] != it.accepted
        ),
    }
    return [sentence for sentence, broken in found.items() if broken]


@contextmanager
def _private_directory() -> Iterator[Path]:
    """`.paceline/demo`, empty, and ours as long as the demo runs."""
    home = private_directory(Path.cwd() / ".paceline")
    with (home / "demo.lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PacelineError(f"Another demo runs in {home}; stop that one first.") from None
        directory = home / "demo"
        shutil.rmtree(directory, ignore_errors=True)
        yield private_directory(directory)
