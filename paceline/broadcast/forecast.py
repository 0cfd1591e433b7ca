"""When a broadcast's last message will have left: one reading of the database, and `simulation` on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, func, literal_column, select

from paceline import tables
from paceline.broadcast.definition import RAMP_DAY, Definition, Preview
from paceline.broadcast.schedule import next_run
from paceline.broadcast.simulation import HOURS, RAMP, WORKERS, Outlook, Queue, simulate
from paceline.broadcast.standing import Standing, of_lanes, standing
from paceline.broadcast.stored import definition_in
from paceline.broadcast.times import begins_at, windows
from paceline.content import keyring_of
from paceline.status import LEVELS
from paceline.views import iso, moment

STREAM = tables.columns(tables.Stream)
MESSAGE = tables.columns(tables.Message)


Lines = Mapping[tuple[str, int], int]  # how many messages wait, by zone and day of the ramp-up


@dataclass(frozen=True, slots=True)
class Forecast:
    """When the last message will have left (None: not before somebody opens or resumes something), of how many messages
    and parts, and which limit it is that takes the time. `late`: some will expire first; `advice` says what would help.
    """

    finish_at: datetime | None
    messages: int
    parts: int
    limited_by: str
    late: bool
    advice: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The shape of `broadcast show --json`'s `forecast`."""
        return {
            "finish_at": None if self.finish_at is None else iso(self.finish_at),
            "messages": self.messages,
            "parts": self.parts,
            "limited_by": self.limited_by,
            "late": self.late,
            "advice": self.advice,
        }


@dataclass(frozen=True, slots=True)
class _Day:
    """The newest day of a ramp-up that was let go, from 1 (0: none yet), and when, Unix seconds."""

    number: int
    at: float


@dataclass(frozen=True, slots=True)
class _Waits:
    """What waits in one of its lines, and the line's place among its rivals; None: that of one which comes new."""

    count: int
    passed: float | None = None


NO_DAY = _Day(0, 0.0)


def forecast_of(connection: Connection, definition: Definition, found: Preview, lines: Lines) -> Forecast:
    """Of one that is not staged."""
    lane = standing(connection, definition.via)
    start = lane.at
    if definition.cron is not None:
        start = next_run(definition.cron, definition.timezone or "UTC", lane.at)
    own = _own(definition, {line: _Waits(count) for line, count in lines.items()}, lane, start)
    return _told(lane, own, found.messages, found.parts, definition.expires_at)


def forecast_of_row(connection: Connection, row: Any, *, resumed: bool = False) -> Forecast:
    """Of one that is staged, from what of it still waits. `resumed`: as if it were let go now, should it be paused."""
    if row.status in ("finished", "cancelled"):
        ended = None if row.finished_at is None else moment(row.finished_at)
        return Forecast(ended, row.messages, row.parts, "", late=False)
    definition = definition_in(keyring_of(connection), row.id, row.definition)
    if row.paused and not resumed:
        late = row.expires_at is not None
        return Forecast(None, row.messages, row.parts, "it is paused", late=late, advice="resume it")
    busy = row.released_at if row.status == "running" and not definition.waits else None
    lane = standing(connection, row.via, exclude=row.id, busy_since=busy)
    lines, today = _waiting(connection, row.id)
    start = lane.at if row.next_run_at is None else row.next_run_at
    own = _own(definition, lines, lane, start, today)
    return _told(lane, own, row.messages, row.parts, row.expires_at)


def leaves_at(connection: Connection, via: str, level: int) -> float | None:
    """When a message that joined the line of this priority just now would leave, Unix seconds; None: nobody can say."""
    return _last_of_line(standing(connection, via, behind=level), level)


def backlog_leaves_at(connection: Connection, lane: str) -> float | None:
    """When everything that waits on a lane now will have left, Unix seconds; None: nobody can say."""
    found = of_lanes(connection, [lane])
    if found.shut and found.opens_at is None:
        return None
    ends = [each.finish_at for each in _simulated(found, ()).values()]
    return None if None in ends else max((end for end in ends if end is not None), default=found.at)


def _last_of_line(lane: Standing, level: int) -> float | None:
    if lane.shut and lane.opens_at is None:
        return None
    mine = [queue for queue in lane.queues if queue.level == level and queue.name.endswith("/line")]
    others = [queue for queue in lane.queues if queue not in mine]
    passed = min((queue.passed for queue in mine), default=0.0)
    last = Queue("mine", 1 + sum(queue.count for queue in mine), level, passed=passed)
    outlook = simulate(lane.at, lane.bounds, [*others, last], opens_at=lane.opens_at, rate=lane.rate)
    return outlook["mine"].finish_at


def _waiting(connection: Connection, broadcast_id: str) -> tuple[dict[tuple[str, int], _Waits], _Day]:
    """What of it waits, and the newest day of its ramp-up. What is on its way has its tokens, which the ledger says."""
    found = connection.execute(
        select(
            STREAM.c.zone, STREAM.c.day, STREAM.c.released_at, STREAM.c.passed, func.count(MESSAGE.c.id).label("number")
        )
        .select_from(STREAM)
        .outerjoin(
            MESSAGE,
            and_(
                MESSAGE.c.stream_id == STREAM.c.id,
                MESSAGE.c.broadcast,
                MESSAGE.c.status == literal_column("'queued'"),
            ),
        )
        .where(STREAM.c.broadcast == broadcast_id)
        .group_by(STREAM.c.zone, STREAM.c.day, STREAM.c.released_at, STREAM.c.passed)
    ).all()
    let_go = {row.day: row.released_at for row in found if row.released_at is not None}
    newest = max(let_go, default=0)
    lines = {(row.zone, row.day): _Waits(int(row.number), float(row.passed)) for row in found}
    return lines, _Day(newest, let_go.get(newest, 0.0))


def _own(
    definition: Definition, lines: Mapping[tuple[str, int], _Waits], lane: Standing, start: float, today: _Day = NO_DAY
) -> list[Queue]:
    at, level = lane.at, [str(each) for each in LEVELS].index(definition.priority)
    waiting = {line: waits for line, waits in lines.items() if waits.count}
    new = min((queue.passed for queue in lane.queues if queue.level == level), default=0.0)
    days = sorted({day for _, day in waiting})
    queues = []
    for (zone, day), waits in waiting.items():
        before = max((each for each in days if each < day), default=None)
        # The first day that waits was let go already, or comes a day after the one that was; the others follow.
        begins = today.at + RAMP_DAY if before is None and 0 < today.number < day else at
        gap = RAMP_DAY - (at - today.at) if before == today.number else RAMP_DAY
        queues.append(
            Queue(
                f"own/{zone}/{day}",
                waits.count,
                level,
                definition.weight,
                windows(definition, zone, max(at, start, begins), at),
                tuple(f"own/{each}/{number}" for each, number in waiting if number == before),
                gap,
                start=max(start, begins_at(definition, zone) or 0.0),
                passed=new if waits.passed is None else waits.passed,
            )
        )
    return queues or [Queue("own", 0, level)]


def _simulated(lane: Standing, own: Sequence[Queue]) -> dict[str, Outlook]:
    return simulate(lane.at, lane.bounds, [*lane.queues, *own], opens_at=lane.opens_at, rate=lane.rate, busy=lane.busy)


def _told(lane: Standing, own: Sequence[Queue], messages: int, parts: int, expires_at: float | None) -> Forecast:
    if lane.shut and lane.opens_at is None:
        return Forecast(None, messages, parts, lane.shut, late=expires_at is not None, advice="open the lane")
    outlook = _simulated(lane, own)
    mine = [outlook[queue.name] for queue in own]
    never = [each for each in mine if each.finish_at is None]
    last = never[0] if never else max(mine, key=lambda each: each.finish_at or 0.0)
    late = expires_at is not None and (last.finish_at is None or last.finish_at > expires_at)
    return Forecast(
        finish_at=None if last.finish_at is None else moment(last.finish_at),
        messages=messages,
        parts=parts,
        limited_by=last.limited_by,
        late=late,
        advice=_advice(last, late=late),
    )


def _advice(last: Outlook, *, late: bool) -> str | None:
    if last.finish_at is not None and not late:
        return None
    what = {
        "": "an earlier start would help",
        HOURS: "longer sending hours or an earlier start would help",
        RAMP: "a steeper ramp-up or an earlier start would help",
        WORKERS: "more worker processes or an earlier start would help",
    }.get(last.limited_by, f"{last.limited_by} binds: a higher limit, another account or fewer recipients would help")
    return f"it would take over a year; {what}" if last.finish_at is None else f"{what}, or a later expires_at"


__all__ = ["Forecast", "backlog_leaves_at", "forecast_of", "forecast_of_row", "leaves_at"]
