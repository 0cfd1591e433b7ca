"""What time does to broadcasts: their lines are let go and held as their schedule says, runs of recurring ones are
made, and what is over is called so.

Everything stands in rows that are locked while they are changed: any number of workers and beats may do this at once,
and one that dies is taken up by the next. What takes longer than a tick may is in `worker/broadcasts/work.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, bindparam, literal_column, select, update

from paceline import tables
from paceline.broadcast import hosted
from paceline.broadcast.control import counts_of, shortfall
from paceline.broadcast.definition import RAMP_DAY, Definition
from paceline.broadcast.runs import new_run
from paceline.broadcast.schedule import next_run, zone_of
from paceline.broadcast.steps import note
from paceline.broadcast.times import begins_at, outside
from paceline.clock import now
from paceline.database import read, write
from paceline.transactions import CoreTransaction
from worker.broadcasts.work import BroadcastWork, counted, definition_of, guarded

BROADCAST = tables.columns(tables.Broadcast)
STREAM = tables.columns(tables.Stream)
MESSAGE = tables.columns(tables.Message)

OPEN: Any = literal_column("status NOT IN ('finished', 'cancelled')")  # as it stands in the partial index
STEERED = ("scheduled", "running")

CATCH_UP = 3600.0  # seconds for which runs may be late and are all made; our choice, longer than any restart takes

log = structlog.get_logger("paceline.broadcast")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done about a broadcast now. `hold` and `release` are lines by their id, `fresh` those of them that
    are let go for the first time."""

    hold: tuple[int, ...] = ()
    release: tuple[int, ...] = ()
    fresh: tuple[int, ...] = ()
    begins: bool = False
    ends: bool = False
    recurs: bool = False


NOTHING = Plan()


class Broadcasts:
    """`steer` is quick and runs each second; `work` may take a while. `wake` is told the account or route to wake."""

    def __init__(self, engine: Engine, wake: Callable[[str], None] = lambda _via: None) -> None:
        self._engine = engine
        self._wake = wake
        self._work = BroadcastWork(engine, wake)
        self._definitions: dict[str, Definition] = {}

    def steer(self) -> int:
        """Let lines go, hold them, begin runs and end what is over; how many broadcasts are open."""
        with read(self._engine) as connection:
            rows = connection.execute(_OPEN_ROWS).all()
            if not rows:
                self._definitions.clear()
                return 0
            due = self._due(connection, rows)
        for row in due:
            guarded(row.id, self._act)
        return len(rows)

    def work(self) -> dict[str, int]:
        """What takes longer: runs are copied, what was cancelled or given up is ended, counts are taken."""
        return self._work.round()

    def _due(self, connection: Connection, rows: Sequence[Any]) -> list[Any]:
        """Those about which something is to be done."""
        self._definitions = {row.id: self._definitions[row.id] for row in rows if row.id in self._definitions}
        lines: dict[str, list[Any]] = {row.id: [] for row in rows}
        for line in connection.execute(_LINES, {"ids": list(lines)}):
            lines[line.broadcast].append(line)
        by_id = {row.id: row for row in rows if row.status in STEERED}
        due: list[Any] = []

        def look(id_: str) -> None:
            if self._plan(connection, by_id[id_], lines[id_]) != NOTHING:
                due.append(by_id[id_])

        for id_ in by_id:
            guarded(id_, look)
        return due

    def _plan(self, connection: Connection, row: Any, lines: Sequence[Any]) -> Plan:
        if row.job_id is not None:
            return Plan(ends=True) if hosted.ended(connection, row.job_id) else NOTHING
        definition = self._definition(connection, row.id)
        if hosted.is_hosted(definition):
            return NOTHING  # its provider has not been asked yet
        if definition.cron is not None:
            return Plan(recurs=True) if row.next_run_at is None or row.next_run_at <= row.now else NOTHING
        today = _ramp_day(row, lines)
        hold, release, fresh = [], [], []
        for line in lines:
            begins = begins_at(definition, line.zone)
            early = line.day > today or (begins is not None and begins > row.now)
            held = early or outside(definition, line.zone, row.now)
            if held and not line.held:
                hold.append(line.id)
            elif line.held and not held:
                release.append(line.id)
                if line.released_at is None:
                    fresh.append(line.id)
        over = not any(line.queued or line.sending for line in lines)
        return Plan(
            tuple(hold), tuple(release), tuple(fresh), begins=bool(release) and row.status == "scheduled", ends=over
        )

    def _definition(self, connection: Connection, id_: str) -> Definition:
        if id_ not in self._definitions:
            self._definitions[id_] = definition_of(connection, id_)
        return self._definitions[id_]

    def _act(self, id_: str) -> None:
        """Look again with the row in hand, and do it."""
        with write(self._engine) as connection:
            row = connection.execute(
                select(*_COLUMNS).where(BROADCAST.c.id == id_).with_for_update(skip_locked=True)
            ).one_or_none()
            if row is None or row.status not in STEERED:
                return
            plan = self._plan(connection, row, connection.execute(_LINES, {"ids": [id_]}).all())
            self._apply(connection, row, plan)
        if plan.release:
            self._wake(row.via)

    def _apply(self, connection: Connection, row: Any, plan: Plan) -> None:
        transaction = CoreTransaction(connection)
        if plan.recurs:
            self._recur(connection, row)
            return
        for ids, values in (
            (plan.hold, {"held": True}),
            (plan.release, {"held": False}),
            (plan.fresh, {"released_at": now()}),
        ):
            if ids:
                connection.execute(update(STREAM).where(STREAM.c.id.in_(ids)).values(**values))
        mine = update(BROADCAST).where(BROADCAST.c.id == row.id)
        if plan.begins and not plan.ends:
            connection.execute(mine.values(status="running", released_at=now(), updated_at=now()))
            note(transaction, row.id, row.name, row.via, "running")
        if plan.ends:
            counts, reason = _result(connection, row)
            ended: dict[str, Any] = {"status": "finished", "finished_at": now(), "updated_at": now(), "reason": reason}
            ended |= {name: counts[name] for name in hosted.TOTALS if name in counts}
            connection.execute(mine.values(**ended, **counted(counts)))
            note(transaction, row.id, row.name, row.via, "finished")
            log.info("broadcast_finished", broadcast=row.id, **counts)

    def _recur(self, connection: Connection, row: Any) -> None:
        """Make the run that is due, exactly once, and say when the next is."""
        definition = self._definition(connection, row.id)
        assert definition.cron is not None
        assert definition.timezone is not None
        due = row.next_run_at
        if due is not None and not row.paused:
            local = datetime.fromtimestamp(due, zone_of(definition.timezone))
            name = f"{row.name}@{local:%Y-%m-%dT%H:%M%z}"  # with its offset: an hour may come twice
            parent = connection.execute(select(BROADCAST).where(BROADCAST.c.id == row.id)).one()
            run = new_run(CoreTransaction(connection), parent, definition, due, name)
            log.info("broadcast_run", broadcast=row.id, run=run)
        # After a crash each run that was missed is made, one at a time. Whoever was away for longer does not want
        # a day's worth of them at once, nor what came while it was paused.
        caught_up = due is None or row.paused or due < row.now - CATCH_UP
        following = next_run(definition.cron, definition.timezone, row.now if caught_up else due)
        values = {"next_run_at": following, "updated_at": now()}
        connection.execute(update(BROADCAST).where(BROADCAST.c.id == row.id).values(values))


def _ramp_day(row: Any, lines: Sequence[Any]) -> int:
    """Up to which day of its ramp-up it may go: the next one begins a day after this one, once nothing of it waits.

    So a number never sends more in a day than its ramp-up says, also after a pause.
    """
    days = sorted({line.day for line in lines})
    begun = [line for line in lines if line.released_at is not None]
    if len(days) < 2 or not begun:
        return days[0] if days else 1
    today = max(line.day for line in begun)
    began = min(line.released_at for line in begun if line.day == today)
    later = [day for day in days if day > today]
    if not later or row.now < began + RAMP_DAY:
        return int(today)
    until_now = [line for line in lines if line.day <= today]
    return int(today) if any(line.queued for line in until_now) else int(later[0])


def _result(connection: Connection, row: Any) -> tuple[dict[str, int], str | None]:
    """What became of its messages, and why it ended short if it did."""
    standing = hosted.standing_of(connection, row) if row.job_id is not None else None
    if standing is not None:
        return dict(standing.counts), standing.reason
    counts = counts_of(connection, row.id)
    return counts, shortfall(counts)


_COLUMNS = (
    BROADCAST.c.id, BROADCAST.c.name, BROADCAST.c.via, BROADCAST.c.status, BROADCAST.c.paused, BROADCAST.c.next_run_at,
    BROADCAST.c.job_id,
    now().label("now"),
)  # fmt: skip
_OPEN_ROWS = select(*_COLUMNS).where(OPEN)


def _any(status: str) -> Any:
    """Whether a line has a message of that status: one probe of the index over broadcasts' messages."""
    found = select(MESSAGE.c.id).where(
        MESSAGE.c.broadcast, MESSAGE.c.stream_id == STREAM.c.id, MESSAGE.c.status == literal_column(f"'{status}'")
    )
    return found.limit(1).scalar_subquery().is_not(None).label(status)


_LINES = (
    select(STREAM, _any("queued"), _any("sending"))
    .where(STREAM.c.broadcast.in_(bindparam("ids", expanding=True)), STREAM.c.broadcast != literal_column("''"))
    .order_by(STREAM.c.id)
)
