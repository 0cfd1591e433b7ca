"""`paceline lanes`."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from paceline import wire
from paceline.broker import redis_client
from paceline.producing import columns, emit
from paceline.views import iso, moment
from worker import schema
from worker.app import topology_of
from worker.commands.context import database, say, settings_of
from worker.limits import Limiter
from worker.watch.lanes import LaneView, lane_views

EVERY = 1.0  # seconds
MOST = 100_000  # messages that are counted each time while watching

TITLES = ("lane", "state", "tokens left", "backlog", "done by", "oldest", "in flight", "unknown")


def lanes(config: Path | None, *, sandbox: bool, as_json: bool, watch: bool) -> None:
    """Show the lanes once, or every second until a signal asks to stop."""
    looks = _looks(config, sandbox=sandbox, watch=watch)
    if not watch:
        views = next(looks)
        emit([view.as_json() for view in views] if as_json else "\n".join(columns(TITLES, _rows(views))))
    elif as_json:
        for views in looks:
            say(json.dumps([view.as_json() for view in views]))
    elif sys.stdout.isatty():
        with Live(console=Console(), auto_refresh=False, screen=True) as live:
            for views in looks:
                live.update(_table(views), refresh=True)
    else:
        for views in looks:
            say("\n".join(columns(TITLES, _rows(views))))


def _looks(config: Path | None, *, sandbox: bool, watch: bool) -> Iterator[list[LaneView]]:
    settings = settings_of(config, sandbox=sandbox)
    topology = topology_of(settings)
    with database(settings) as engine, closing(redis_client(settings.connection)) as redis:
        limiter = Limiter(redis, wire.limiter_prefix(schema.installation(engine)))
        while True:
            yield lane_views(engine, limiter, topology, MOST if watch else None)
            time.sleep(EVERY)  # between two looks at a picture that people watch


def _rows(views: Sequence[LaneView]) -> list[tuple[str, ...]]:
    return [
        (
            view.lane,
            _state(view),
            ", ".join(f"{'?' if it.left is None else it.left} of {it.limit}" for it in view.limits),
            f"{view.backlog}{'+' if view.backlog == MOST else ''}",
            "-" if view.forecast is None else iso(moment(view.forecast)),
            "-" if view.oldest_at is None else iso(moment(view.oldest_at)),
            str(view.in_flight),
            str(view.unknown),
        )
        for view in views
    ]


def _state(view: LaneView) -> str:
    if view.open:
        return "open"
    until = "an operator opens it" if view.closed_until is None else iso(moment(view.closed_until))
    if view.unready:
        until = "its provider says that it can send"
    return f"closed until {until}: {view.closed_reason}"


def _table(views: Sequence[LaneView]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for title in TITLES:
        table.add_column(title, justify="right" if title in ("backlog", "in flight", "unknown") else "left")
    for row, view in zip(_rows(views), views, strict=True):
        table.add_row(*row, style=None if view.open else "yellow")
    return table
