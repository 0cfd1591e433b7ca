"""`paceline doctor`."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import typer
from redis import Redis
from sqlalchemy import Engine, select

from config.logging import configure
from config.settings import Settings
from paceline import tables, wire
from paceline.broker import redis_client
from paceline.connection import engine
from paceline.database import read
from paceline.errors import ConfigurationError, PacelineError
from paceline.producing import emit
from worker import embedded, schema
from worker.app import topology_of
from worker.commands.context import settings_of
from worker.lanes.gate import Gates
from worker.ledger import Ledger
from worker.limits import Limiter
from worker.probe import Prober
from worker.store import Store
from worker.transport import Transport
from worker.watch import doctor as looks
from worker.watch import doctor_providers as outside
from worker.watch.doctor import Finding
from worker.watch.lanes import lane_views

ANSWER = {"socket_timeout": 2.0, "socket_connect_timeout": 2.0}  # seconds for the answer of the application's broker


def doctor(config: Path | None, *, sandbox: bool, as_json: bool) -> None:
    """Look at everything and say what to do; exit code 1 if something is wrong."""
    configure(level="ERROR")  # what is found is told below, and stdout is for that alone
    findings = list(_findings(config, sandbox=sandbox))
    if as_json:
        emit([finding.as_json() for finding in findings])
    else:
        emit("\n".join(map(_line, findings)))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _findings(config: Path | None, *, sandbox: bool) -> Iterator[Finding]:
    try:
        settings = settings_of(config, sandbox=sandbox)
    except ConfigurationError as error:
        for problem in error.problems:
            yield Finding("configuration", ok=False, found="cannot be used", advice=problem)
        return
    yield Finding("configuration", ok=True, found=f"{settings.file}, accounts {', '.join(settings.accounts)}")
    try:
        opened = engine(settings.connection)
    except PacelineError as error:
        yield Finding("database", ok=False, found="cannot be used", advice=str(error))
        return
    with closing(redis_client(settings.connection)) as redis:
        try:
            of_database = list(looks.database(opened))
            yield from of_database
            of_broker = list(_broker(settings, redis))
            yield from of_broker
            yield from _events(settings)
            yield from looks.software()
            if of_database[0].ok:
                yield from looks.content(opened)
                yield from _lanes(settings, opened, redis, asking=of_broker[0].ok)
        finally:
            opened.dispose()


def _broker(settings: Settings, redis: Redis) -> Iterator[Finding]:
    try:
        embedded.check_running(settings.connection)
    except PacelineError as error:
        yield Finding("broker", ok=False, found="does not run", advice=str(error))
        return
    yield from looks.broker(redis)


def _events(settings: Settings) -> Iterator[Finding]:
    """What is told of events, if its broker is another than ours."""
    events = settings.events
    if events.task is not None and events.broker is not None:
        with closing(
            redis_client(replace(settings.connection, broker_url=events.broker.get_secret_value()), **ANSWER)
        ) as redis:
            yield from looks.events(redis, events.task)


def _lanes(settings: Settings, opened: Engine, redis: Redis, *, asking: bool) -> Iterator[Finding]:
    """What the lanes say; and, if there is a broker to give tokens, what the providers do."""
    topology = topology_of(settings)
    with read(opened) as connection:
        published = set(connection.execute(select(tables.columns(tables.Account).c.name)).scalars())
    limiter = Limiter(redis, wire.limiter_prefix(schema.installation(opened)))
    yield from looks.lanes(lane_views(opened, limiter, topology), topology, published)
    if not asking:
        yield from outside.unasked(topology)
    elif published >= topology.senders.keys():
        with closing(Transport()) as transport:
            gates = Gates(topology, limiter, Ledger(opened, limiter, topology))
            yield from outside.accounts(Prober(Store(opened), gates, transport), topology)
    yield from outside.webhooks(topology, settings.hooks.public_url)


def _line(finding: Finding) -> str:
    return f"{'ok ' if finding.ok else 'BAD'}  {finding.subject}: {finding.found}" + (
        f"; {finding.advice}" if finding.advice else ""
    )
