"""Watching a project until it is completed: what became of its messages, and why it stands still."""

import re
from collections.abc import Mapping
from typing import Any

from providers.answers import answered_at, instant, text
from providers.base import Account, Done, Job, Next, Operation, Request, Response
from providers.politicalcomms.reports import project_stats
from providers.politicalcomms.steps import Answer, Fields, Machine, Step, no_check, operation
from providers.politicalcomms.wire import (
    FIRST_POLL,
    ID,
    MOST_POLLS,
    ask,
    fields_of,
    payload,
    poll_wait,
    segment,
    succeeded,
    troubled,
)

# A project may take days, or wait for somebody to resume it: after the usual forty polls it is looked at hourly, and
# the forty begin anew whenever its status changes. What does not move for two weeks is reported as it stands (our
# choice).
SLOW_POLL = 3600.0
LONGEST_WATCH = MOST_POLLS + 14 * 24
# What is scheduled is looked at once its time has come, and now and then before: somebody may have changed it.
LONGEST_SLEEP = 6 * 3600.0

_STATUS = re.compile(r"[a-z][a-z_]{0,31}")
_COUNTED = {"sent": "sent", "delivered": "delivered", "undeliverable": "failed", "replies": "replies",
            "opt_outs": "opt_outs", "clicks_total": "clicks", "clicks_unique": "unique_clicks"}  # fmt: skip


def progress_of(memory: Mapping[str, Any], **news: Any) -> dict[str, Any]:
    """The memory, with `progress` brought up to date."""
    return {**memory, "progress": {**memory.get("progress", {}), **news}}


def watching(project_id: str, memory: Mapping[str, Any], wait: float = 0.0) -> Next:
    """Begins to watch, in so many seconds."""
    return Next("project", {**memory, "project_id": project_id, "polls": 0}, wait)


def until(scheduled_at: object, response: Response) -> float:
    """Seconds from the answer until a scheduled project begins, so that nothing is asked in vain; at most six hours."""
    at, now = instant(scheduled_at), answered_at(response)
    return min(max(0.0, at - (response.received_at if now is None else now)), LONGEST_SLEEP) if at is not None else 0.0


def _ask_stats(account: Account, job: Job) -> Request:
    return ask(account, f"/projects/{segment(job.memory['project_id'])}/stats")


def _ask_project(account: Account, job: Job) -> Request:
    return ask(account, f"/projects/{segment(job.memory.get('project_id') or job.arguments['project_id'])}")


def _stats_read(_account: Account, job: Job, response: Response) -> Answer:
    found = project_stats(payload(response)) if succeeded(response) else None
    if found is None:
        return troubled(response, question=True)
    counted = {ours: found["metrics"][theirs] for theirs, ours in _COUNTED.items() if theirs in found["metrics"]}
    memory = progress_of(job.memory, **counted)
    status = text(found["status"], _STATUS)
    before = memory["progress"].get("status")
    # Only the project itself says why it is paused, when it is due, and, in generation 1, how it stands.
    if not status or (status != before and status != "completed"):
        return Next("project", memory)
    return _go_on(memory, status, before, response)


def _project_read(_account: Account, job: Job, response: Response) -> Answer:
    found = fields_of(response) if succeeded(response) else {}
    if not found:
        return troubled(response, question=True)
    status = text(found.get("status"), _STATUS) or "unknown"
    before = job.memory.get("progress", {}).get("status")
    news: Fields = {"pause_reason": found.get("pause_reason"), "auto_paused": bool(found.get("auto_paused"))}
    if status != "paused":
        news = {"pause_reason": None, "auto_paused": False}
    for name in ("total_recipients", "estimated_cost_cents", "scheduled_at"):
        if found.get(name) is not None:
            news[name] = found[name]
    project = job.memory.get("project_id") or job.arguments.get("project_id")
    memory = progress_of({**job.memory, "project_id": project}, **news)
    if status == "completed" and before is None:
        return Next("stats", progress_of(memory, status="sending", phase="sending"))
    return _go_on(memory, status, before, response)


def _go_on(memory: Mapping[str, Any], status: str, before: str | None, response: Response) -> Answer:
    memory = progress_of(memory, status=status, phase=status)
    polls = 0 if status != before else int(memory.get("polls", 0)) + 1
    if status == "completed" or polls >= LONGEST_WATCH:
        return Done(result_of(memory))
    wait = poll_wait(polls) if polls < MOST_POLLS else SLOW_POLL
    if status == "scheduled":
        sleep = until(memory["progress"].get("scheduled_at"), response)
        polls, wait = (0, sleep + FIRST_POLL) if sleep else (polls, wait)
    return Next("stats", {**memory, "polls": polls}, wait)


def result_of(memory: Mapping[str, Any]) -> Fields:
    """What the job ends with: the ids it made, and how far the project came."""
    ids = {name: memory[name] for name in ("project_id", "list_id", "media_id") if memory.get(name)}
    progress = memory.get("progress", {})
    return {**ids, **progress, "completed": progress.get("status") == "completed"}


WATCH_STEPS = {"stats": Step(_ask_stats, _stats_read), "project": Step(_ask_project, _project_read)}

WATCH: Mapping[str, Operation] = {
    "watch": operation(
        "watch a project until it is completed; a pause is reported, with its reason, and does not end the watch",
        Machine(lambda _account, _job: "project", WATCH_STEPS),
        {"project_id": ID},
        no_check,
    ),
}
