"""`paceline demo`: a private installation, the sandbox as all of its providers, and proof of what arrived there."""

import fcntl
import http.client
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from sqlalchemy import Engine, func, select

from config.settings import Settings
from config.values import Bind
from paceline import Client, wire
from paceline.broker import redis_client
from paceline.connection import private_directory
from paceline.database import read
from paceline.errors import PacelineError
from paceline.status import Status
from paceline.views import JobView
from worker import schema
from worker.app import client_of, topology_of
from worker.commands import demo_messages as messages
from worker.commands.context import CHECKOUT, database, settings_of
from worker.commands.demo_broadcast import DemoBroadcast
from worker.commands.demo_outcome import PATIENCE, SETTLED, Tally, broken_promises
from worker.commands.demo_plan import FAMILIES, write_configuration
from worker.commands.demo_view import LIVE_EVERY, DemoView, Shown
from worker.commands.output import Printer
from worker.commands.supervisor import Supervisor
from worker.commands.up import WIDTH, everything
from worker.limits import Limiter
from worker.statements import attempt, message, stream
from worker.watch.lanes import lane_views

# The demo reads its own configuration, and writes to no database but its own.
FOREIGN = ("PACELINE_CONFIG", "PACELINE_DATABASE_URL", "PACELINE_BROKER_URL")
BROADCASTER = "politicalcomms-main"
ANSWER = 10.0  # seconds for the sandbox's answer


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
    with database(settings) as engine, client_of(settings) as client:
        enqueued = _enqueue(client, view)
        broadcast = client.politicalcomms(BROADCASTER).start_broadcast(**messages.broadcast())
        view.say(f"{BROADCASTER} sends a broadcast to {messages.CONTACTS} contacts by itself, as one job.")
        evening = DemoBroadcast(client, view.say)
        enqueued[evening.via] += evening.messages
        _follow(settings, supervisor, engine, view, lambda: client.job(broadcast), evening)
        if supervisor.asked:
            raise typer.Exit(130)
        job, tallies = client.job(broadcast), _tallies(settings, engine, enqueued)
    view.report({tally.provider: tally.facts() for tally in tallies})
    for tally in tallies:
        if tally.windows():
            view.say(f"Most requests in any window at {tally.provider}: {tally.windows()}.")
    if job.result is not None:
        it = job.result
        view.say(f"The broadcast: {it['total_recipients']} recipients, {it['sent']} sent, {it['delivered']} delivered.")
    broken = broken_promises(tallies, job) + evening.broken()
    if not broken:
        view.say("Everything arrived once, and no window held more than its limit.")
    return broken


def _enqueue(client: Client, view: DemoView) -> Counter[str]:
    """Enqueue everything; how many for each account."""
    items = list(messages.outgoing(CHECKOUT / messages.RECIPIENTS))
    started = time.monotonic()
    receipt = client.enqueue_many(items)
    if receipt.rejected:
        reject = receipt.rejected[0]
        raise PacelineError(f"{items[reject.index].via}: {reject.field}: {reject.reason}")
    milliseconds = (time.monotonic() - started) * 1000
    counts = Counter(item.via for item in items)
    view.say(f"Enqueued {receipt.enqueued} messages through {len(counts)} accounts in {milliseconds:.0f} ms.")
    return counts


def _follow(
    settings: Settings,
    supervisor: Supervisor,
    engine: Engine,
    view: DemoView,
    job: Callable[[], JobView],
    evening: DemoBroadcast,
) -> None:
    """Show accounts and lanes until everything has come to rest, time is up, or a signal asked to stop."""
    topology = topology_of(settings)
    used = {name: lane for name, lane in topology.lanes.items() if lane.senders or lane.pollers}
    busy = replace(topology, lanes=used)
    started = shown = time.monotonic()
    with closing(redis_client(settings.connection)) as redis, view.running():
        limiter = Limiter(redis, wire.limiter_prefix(schema.installation(engine)))
        while not supervisor.asked and time.monotonic() - started < PATIENCE:
            supervisor.turn(LIVE_EVERY)
            evening.turn()
            if time.monotonic() - shown >= view.every:
                shown = time.monotonic()
                statuses, broadcast = _statuses(engine), job()
                view.show(Shown(shown - started, statuses, lane_views(engine, limiter, busy), broadcast))
                if (
                    evening.over
                    and broadcast.status.final
                    and all(each.keys() <= SETTLED for each in statuses.values())
                ):
                    return


def _keep(settings: Settings, supervisor: Supervisor, view: DemoView) -> None:
    view.say(
        f"Flower {settings.flower.bind.url}   hooks {settings.hooks.bind.url}   "
        f"sandbox {settings.sandbox.url}/_control   configuration {settings.file}   Ctrl-C stops."
    )
    while not supervisor.asked:
        supervisor.turn(60.0)


def _statuses(engine: Engine) -> dict[str, Counter[Status]]:
    """How many messages of each account stand where."""
    found: dict[str, Counter[Status]] = {name: Counter() for name in FAMILIES}
    with read(engine) as connection:
        rows = connection.execute(
            select(stream.c.via, message.c.status, func.count())
            .join(stream, stream.c.id == message.c.stream_id)
            .group_by(stream.c.via, message.c.status)
        )
        for via, status, count in rows:
            found[via][Status(status)] += count
    return found


def _tallies(settings: Settings, engine: Engine, enqueued: Counter[str]) -> list[Tally]:
    statuses = _statuses(engine)
    with read(engine) as connection:
        ids = select(message.c.account, func.count(message.c.provider_message_id)).group_by(message.c.account)
        accepted = Counter(dict(_pairs(connection.execute(ids))))
        made = select(attempt.c.account, func.count()).group_by(attempt.c.account)
        attempts = Counter(dict(_pairs(connection.execute(made))))
    tallies = []
    for family in dict.fromkeys(FAMILIES.values()):
        accounts = [name for name, belongs in FAMILIES.items() if belongs == family]
        tallies.append(
            Tally(
                provider=family,
                enqueued=sum(enqueued[name] for name in accounts),
                statuses=sum((statuses[name] for name in accounts), Counter()),
                accepted=sum(accepted[name] for name in accounts),
                attempts=sum(attempts[name] for name in accounts),
                arrived=_asked(settings.sandbox.bind, f"/_control/{family}/summary"),
            )
        )
    return tallies


def _pairs(rows: Iterable[Any]) -> Iterator[tuple[str, int]]:
    return ((account, count) for account, count in rows if account is not None)


def _asked(bind: Bind, path: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection(bind.host, bind.port, timeout=ANSWER)
    with closing(connection):
        connection.request("GET", path)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
    return answer


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
