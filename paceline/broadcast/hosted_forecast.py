"""When a broadcast that its provider sends itself will be done. Until it is scheduled, our own share of the provider's
requests is what can be told; how long the sending takes, its statistics show once it has begun."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from paceline import jobs, tables
from paceline.broadcast.definition import Definition
from paceline.broadcast.forecast import Forecast
from paceline.broadcast.hosted import arguments_of, paused_by, standing_of
from paceline.broadcast.simulation import Queue, simulate
from paceline.broadcast.standing import lanes_of, of_lanes
from paceline.broadcast.stored import definition_in
from paceline.clock import now
from paceline.content import keyring_of
from paceline.errors import JobNotFound
from paceline.views import JobView, iso, moment

JOB = tables.columns(tables.Job)

PACE = "the provider's own pace"
BELOW = 3  # the level of jobs: after every message
ASKED_AFTER = 5.0  # seconds until what was begun is asked about
SHOWN = 10.0  # seconds of sending that show its pace

FIRST = "importing"

# How many requests each phase takes at least, how many of them ask how far it is, and the argument that it needs.
PHASES = {
    "importing": (2, 1, "source_url"),
    "analyzing": (2, 1, "analyze"),
    "media": (3, 1, "media_url"),
    "creating": (1, 0, ""),
    "testing": (1, 0, "test_contacts"),
    "scheduling": (1, 0, ""),
}


def forecast_before(connection: Connection, definition: Definition) -> Forecast:
    """Of one that is not started."""
    at = float(connection.scalar(select(now())) or 0.0)
    return _until_scheduled(connection, definition, at, FIRST, 0)


def forecast_under_way(connection: Connection, row: Any, *, resumed: bool = False) -> Forecast:
    """Of one that has a row, from where its job stands and what its statistics say. `resumed`: as if it were let go."""
    definition = definition_in(keyring_of(connection), row.id, row.definition)
    if row.status in ("finished", "cancelled"):
        return Forecast(_ended(row), row.messages, row.parts, "", late=False)
    if row.job_id is None and row.paused and not resumed:
        return Forecast(None, 0, 0, "it is paused", late=False, advice="resume it")
    if row.job_id is None:
        return _until_scheduled(connection, definition, row.created_at, FIRST, 0)
    try:
        job = jobs.job(connection, row.job_id)
    except JobNotFound:
        return Forecast(None, row.messages, row.parts, PACE, late=False)
    standing = standing_of(connection, row)
    total = 0 if standing is None else standing.counts["messages"]
    progress: Mapping[str, Any] = job.progress if isinstance(job.progress, Mapping) else {}
    if (pause := paused_by(progress)) is not None:
        return Forecast(None, total, total, pause, late=False, advice="resume it")
    phase = str(progress.get("phase", FIRST))
    if phase in PHASES:
        return _until_scheduled(connection, definition, row.created_at, phase, total)
    return _sending(row, definition, job, progress, total)


def _until_scheduled(connection: Connection, definition: Definition, began: float, phase: str, total: int) -> Forecast:
    """What stands between it and the provider's schedule: requests on a lane that others use too."""
    arguments, lane = arguments_of(definition, began), lanes_of(connection, definition.via)[0]
    left = [PHASES[name] for name in list(PHASES)[list(PHASES).index(phase) :]]
    left = [each for each in left if not each[2] or arguments.get(each[2])]
    requests, polls = sum(each[0] for each in left), sum(each[1] for each in left)
    found = of_lanes(connection, [lane])
    if found.shut and found.opens_at is None:
        return Forecast(None, total, total, found.shut, late=False, advice="open the lane")
    others = select(func.count()).where(JOB.c.lane == lane, JOB.c.status == "queued", JOB.c.due_at <= now())
    waiting = [Queue("jobs", int(connection.scalar(others) or 0), BELOW), Queue("own", requests, BELOW)]
    ends = simulate(found.at, found.bounds, [*found.queues, *waiting], opens_at=found.opens_at)["own"].finish_at
    limits = " and ".join(bound.limit.text for bound in found.bounds)
    if ends is None:
        return Forecast(None, total, total, limits, late=False, advice=f"{lane} has no room for it within a year")
    begins = max(ends + polls * ASKED_AFTER, _seconds(arguments["scheduled_at"]))
    return Forecast(
        None,
        total,
        total,
        PACE,
        late=False,
        advice=f"its {requests} requests share {limits} of {lane}, so it begins at {iso(moment(begins))} at the "
        "earliest; how long the provider takes to send it, its statistics show once it has begun",
    )


def _sending(row: Any, definition: Definition, job: JobView, progress: Mapping[str, Any], total: int) -> Forecast:
    """Straight on from what its statistics show."""
    planned = progress.get("scheduled_at")
    starts = _seconds(planned) if planned else (definition.send_at or row.created_at)
    seen, gone = job.updated_at.timestamp(), int(progress.get("sent") or 0)
    took = seen - max(starts, row.released_at or row.created_at)
    if gone and gone >= total:
        return Forecast(job.updated_at, total, total, PACE, late=False)
    if gone and took >= SHOWN:
        return Forecast(moment(seen + (total - gone) * took / gone), total, total, PACE, late=False)
    begins = f"it begins at {iso(moment(starts))}; " if starts > seen else ""
    return Forecast(
        None,
        total,
        total,
        PACE,
        late=False,
        advice=f"{begins}how long the provider takes to send it, its statistics show once it has begun",
    )


def _seconds(text: object) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0


def _ended(row: Any) -> datetime | None:
    return None if row.finished_at is None else moment(row.finished_at)
