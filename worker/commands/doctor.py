"""`paceline doctor`."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import typer
from redis import Redis
from sqlalchemy import Engine, select

from config.settings import Settings
from paceline import tables, wire
from paceline.broker import redis_client
from paceline.connection import engine
from paceline.database import read
from paceline.errors import ConfigurationError, PacelineError
from paceline.producing import emit
from worker import doctor as looks
from worker import embedded, schema
from worker.app import topology_of
from worker.commands.context import settings_of
from worker.doctor import Finding
from worker.lanes_view import lane_views
from worker.limits import Limiter


def doctor(config: Path | None, *, sandbox: bool, as_json: bool) -> None:
    """Look at everything and say what to do; exit code 1 if something is wrong."""
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
            yield from _broker(settings, redis)
            if of_database[0].ok:
                yield from _lanes(settings, opened, redis)
        finally:
            opened.dispose()


def _broker(settings: Settings, redis: Redis) -> Iterator[Finding]:
    try:
        embedded.check_running(settings.connection)
    except PacelineError as error:
        yield Finding("broker", ok=False, found="does not run", advice=str(error))
        return
    yield from looks.broker(redis)


def _lanes(settings: Settings, opened: Engine, redis: Redis) -> Iterator[Finding]:
    topology = topology_of(settings)
    with read(opened) as connection:
        published = set(connection.execute(select(tables.columns(tables.Account).c.name)).scalars())
    limiter = Limiter(redis, wire.limiter_prefix(schema.installation(opened)))
    yield from looks.lanes(lane_views(opened, limiter, topology), topology, published)


def _line(finding: Finding) -> str:
    return f"{'ok ' if finding.ok else 'BAD'}  {finding.subject}: {finding.found}" + (
        f"; {finding.advice}" if finding.advice else ""
    )
