"""Broadcasts that the account's provider sends itself: one durable job instead of messages of ours, the same view."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, and_, update

from paceline import jobs, tables
from paceline.broadcast.definition import Definition
from paceline.broadcast.recipients import URLS, BadRecipients, Source
from paceline.broadcast.rendering import Rendering
from paceline.broadcast.steps import note
from paceline.clock import now
from paceline.directory import Carrier, Directory, Via
from paceline.errors import InvalidMessage, JobNotFound, PacelineError
from paceline.messages import Media, Text
from paceline.status import Status
from paceline.transactions import Transaction
from paceline.views import JobStatus, JobView, iso, moment

BROADCAST = tables.columns(tables.Broadcast)
OPERATION = "broadcast"  # the provider's, which does it all
SOURCE = "source_url"  # the argument that says where its recipients are
OURS = ("local_send_at", "zone_column", "cron", "expires_at", "sending_hours", "default_region", "ramp_up")
UNRANKED = {"priority": "bulk", "weight": 1.0}  # there is no line of ours to share: as they are where nothing was said

TOTALS = ("recipients", "duplicates", "suppressed", "invalid", "messages", "parts")  # which its provider counts

Start = Callable[..., str]


@dataclass(frozen=True, slots=True)
class Hosted:
    """How such a broadcast stands: its status as a broadcast's, its counts, and why it stands still or fell short."""

    status: str
    counts: Mapping[str, int]
    reason: str | None


def host_of(via: Via) -> Carrier | None:
    """The account whose provider sends broadcasts itself, if `via` is one."""
    only = via.carriers[0] if len(via.carriers) == 1 else None
    return only if only is not None and OPERATION in only.capabilities.calls else None


def hosted(definition: Definition, source: Source) -> Definition:
    """The definition with where its recipients are. Raises `InvalidMessage` for what the provider cannot keep to."""
    if not isinstance(source, str) or not source.startswith(URLS):
        raise BadRecipients("recipients", "must be the https URL of a CSV file, which this account's provider imports")
    said = [name for name in (*OURS, "defaults") if getattr(definition, name)]
    said += [name for name, unsaid in UNRANKED.items() if getattr(definition, name) != unsaid]
    if said:
        raise InvalidMessage(said[0], "is not for this account, whose provider sends broadcasts itself; leave it out")
    return replace(definition, options={**definition.options, SOURCE: source})


def is_hosted(definition: Definition) -> bool:
    """Whether its provider sends it."""
    return SOURCE in definition.options


def arguments_of(definition: Definition, began: float) -> dict[str, Any]:
    """What the provider's operation is asked for; `began`, Unix seconds, is when one without a `send_at` goes."""
    message = definition.message
    if not isinstance(message, Text | Media):
        raise InvalidMessage("message", "must be a Text or Media for this account")
    columns = [name for name, field in Rendering(type(message)(**_address(message))).columns.items() if field == "to"]
    if len(columns) != 1 or message.to.strip() != f"{{{columns[0]}}}":
        raise InvalidMessage("to", "must name the column of the numbers, as in {phone}")
    content = {"message_text": message.text} if isinstance(message, Text) else _picture(message)
    if zone_of_schedule(definition) is None:
        raise InvalidMessage("timezone", "is required for this account: an IANA name such as America/New_York")
    at = definition.send_at if definition.send_at is not None else began
    return {
        "name": definition.name,
        "phone_column": columns[0],
        **content,
        "scheduled_at": iso(moment(at)),
        "scheduled_timezone": zone_of_schedule(definition),
        **definition.options,
    }


def zone_of_schedule(definition: Definition) -> str | None:
    """The zone in which the provider is to schedule it: its own option, or else the broadcast's."""
    zone = definition.options.get("scheduled_timezone", definition.timezone)
    return None if zone is None else str(zone)


def admitted(directory: Directory, definition: Definition, broadcast_id: str, began: float) -> jobs.Call:
    """The job that is this broadcast's, checked. Raises `InvalidMessage`."""
    host = host_of(directory.find(definition.via))
    if host is None:
        raise InvalidMessage("via", "names no account any more whose provider sends broadcasts itself")
    arguments = arguments_of(definition, began)
    return jobs.admit(host, OPERATION, arguments, f"broadcast/{broadcast_id}", directory.secret, directory.content)


def begin(transaction: Transaction, broadcast_id: str, definition: Definition, call: jobs.Call) -> None:
    """Start the job and say that it is this broadcast's, in one transaction. Safe to repeat."""
    values = {"status": "running", "paused": False, "released_at": now(), "updated_at": now()}
    if _moved(transaction, broadcast_id, values):
        mine = update(BROADCAST).where(BROADCAST.c.id == broadcast_id)
        transaction.run(mine.values(job_id=jobs.start(transaction, call, None)))
        note(transaction, broadcast_id, definition.name, definition.via, "running")


def hold(transaction: Transaction, broadcast_id: str, definition: Definition) -> None:
    """Have it wait for `resume`: nothing has been asked of its provider. Safe to repeat."""
    values = {"status": "scheduled", "paused": True, "updated_at": now()}
    if _moved(transaction, broadcast_id, values):
        note(transaction, broadcast_id, definition.name, definition.via, "scheduled")


def _moved(transaction: Transaction, broadcast_id: str, values: Mapping[str, Any]) -> bool:
    """Whether it had not begun, and is moved on."""
    idle = and_(BROADCAST.c.job_id.is_(None), BROADCAST.c.status.in_(("expanding", "scheduled")))
    mine = update(BROADCAST).where(BROADCAST.c.id == broadcast_id, idle, BROADCAST.c.status != values["status"])
    return bool(transaction.run(mine.values(**values).returning(BROADCAST.c.id)))


def standing_of(connection: Connection, row: Any) -> Hosted | None:
    """How its job stands; None if that has been forgotten."""
    try:
        job = jobs.job(connection, row.job_id)
    except JobNotFound:
        return None
    return _standing(job)


def ended(connection: Connection, job_id: str) -> bool:
    """Whether nothing more is asked for its job."""
    try:
        return jobs.job(connection, job_id).status.final
    except JobNotFound:
        return True


def steer(
    look: Callable[[], JobView], step: str, timezone: str, start: Start, cancel_job: Callable[[str], bool]
) -> None:
    """Ask the provider to pause, resume or cancel it; `look` says how its job stands. Raises `PacelineError` where that
    cannot be."""
    job = look()
    if step == "cancelled" and not job.status.final and not cancel_job(job.id):
        job = look()
        if not job.status.final:
            raise PacelineError("One of its requests is on its way to the provider: cancel it again in a moment.")
    progress = job.progress if isinstance(job.progress, Mapping) else {}
    project, at = progress.get("project_id"), progress.get("status")
    if at is None and progress.get("phase") == "scheduled":
        at = "scheduled"  # just now, or for a time that is far off: it was not asked about yet
    if at is None and progress.get("phase") == "scheduling" and job.status is JobStatus.UNKNOWN:
        at = "scheduled"  # perhaps: no answer came, and what nobody takes back would be sent
    if step == "cancelled":
        if project and at is not None and at not in ("completed", "paused", "draft"):
            start(job.account, "unschedule_project" if at == "scheduled" else "pause_project", project_id=project)
    elif project is None or at is None:
        raise PacelineError(f"The broadcast is not scheduled with its provider yet, so it cannot be {step}.")
    elif step == "paused":
        start(job.account, "pause_project", project_id=project)
    else:
        again = {"scheduled_at": iso(job.updated_at), "scheduled_timezone": timezone}
        start(job.account, "resume_project", project_id=project, **again)


def _standing(job: JobView) -> Hosted:
    said = job.result if isinstance(job.result, Mapping) else job.progress
    progress: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    contacts = progress.get("contacts") if isinstance(progress.get("contacts"), Mapping) else {}
    counts = dict.fromkeys(map(str, Status), 0)
    delivered, failed = _number(progress, "delivered"), _number(progress, "failed")
    total = _number(progress, "total_recipients")
    sent = max(0, _number(progress, "sent") - delivered - failed)
    counts |= {"sent": sent, "delivered": delivered, "failed": failed}
    counts |= {"queued": max(0, total - sent - delivered - failed)}
    counts |= {
        "recipients": _number(contacts, "total_rows") or total,
        "duplicates": _number(contacts, "duplicate_count"),
        "suppressed": _number(contacts, "opted_out_count"),
        "invalid": _number(contacts, "bad_number_count"),
        "messages": total,
        "parts": total,
    }
    if job.status.final:
        reason = None if job.status is JobStatus.DONE else f"{job.status}: {job.reason or 'no reason was given'}"
        return Hosted("finished", counts, reason)
    if (pause := paused_by(progress)) is not None:
        return Hosted("paused", counts, pause)
    return Hosted("scheduled" if progress.get("phase") == "scheduled" else "running", counts, job.waiting_for)


def paused_by(progress: Mapping[str, Any]) -> str | None:
    """Why its provider has paused it, if it has."""
    if progress.get("status") != "paused":
        return None
    return f"paused by the provider: {progress.get('pause_reason') or 'no reason given'}"


def _number(said: Any, name: str) -> int:
    value = said.get(name) if isinstance(said, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _address(message: Text | Media) -> dict[str, Any]:
    """Its address alone: the rest is the provider's to fill in."""
    return {"to": message.to, **({"text": ""} if isinstance(message, Text) else {"url": "", "media_type": ""})}


def _picture(message: Media) -> dict[str, Any]:
    return {"message_text": message.caption, "media_url": message.url, "media_name": message.filename}
