"""A broadcast that Political Comms sends itself, as one job: from a CSV file to a project that is completed.

import → list, until ready → (analyze → analysis) → (find → media_import → media) → create → (test) → schedule →
project and stats, until completed. Every arrow is a stored step, and what the steps made is in the job's memory.
"""

from collections.abc import Mapping
from typing import Any

from paceline.capabilities import Rule
from paceline.politicalcomms import rules as rules
from providers.base import Account, Job, Next, Operation, Refused, Request, Response
from providers.politicalcomms.calls import LATER, again_later, picked
from providers.politicalcomms.changes import (
    PROJECT,
    SCHEDULE,
    check_organization,
    check_schedule,
    lengths,
    project_fields,
    schedule_fields,
)
from providers.politicalcomms.lists import (
    analysis_begun,
    analysis_result,
    analysis_status,
    analyze_request,
    check_price,
    count_of,
    import_request,
    import_status,
    list_request,
    read_list,
    to_analyse,
    too_dear,
)
from providers.politicalcomms.media import media_file, media_found, media_listed, media_request, media_status
from providers.politicalcomms.steps import Answer, Machine, Step, begun, check_source, operation, poll, poll_again
from providers.politicalcomms.watch import WATCH_STEPS, progress_of, until, watching
from providers.politicalcomms.wire import (
    code_of,
    fields_of,
    poll_wait,
    segment,
    step_key,
    succeeded,
    troubled,
    write,
)

# The stages in their order: the step that each begins with, and the argument without which it is left out.
STAGES = (
    ("import", "importing", "source_url"),
    ("analyze", "analyzing", "analyze"),
    ("find", "media", "media_url"),
    ("create", "creating", ""),
    ("test", "testing", "test_contacts"),
    ("schedule", "scheduling", ""),
)


def _first(_account: Account, job: Job) -> str:
    return _stage(job.arguments, 0)[0]


def _stage(arguments: Mapping[str, Any], start: int) -> tuple[str, str]:
    return next((step, phase) for step, phase, needs in STAGES[start:] if not needs or arguments.get(needs))


def _after(job: Job, stage: str, memory: Mapping[str, Any]) -> Next:
    """The next stage that this broadcast has."""
    number = [step for step, _, _ in STAGES].index(stage)
    step, phase = _stage(job.arguments, number + 1)
    return Next(step, progress_of({**memory, "polls": 0}, phase=phase))


# Contacts


def _import(account: Account, job: Job) -> Request:
    given = dict(job.arguments)
    given["list_name"] = given.get("list_name") or given["name"]
    return import_request(account, Job(job.id, given, job.step, job.memory))


def _imported(_account: Account, job: Job, response: Response) -> Answer:
    list_id = begun(response, "list_id")
    if not list_id:
        return troubled(response, question=False)
    return poll("list", progress_of({**job.memory, "list_id": list_id}, phase="importing"))


def _ask_list(account: Account, job: Job) -> Request:
    return list_request(account, job.memory["list_id"])


def _list_polled(account: Account, job: Job, response: Response) -> Answer:
    found = read_list(response)
    if found is None:
        return troubled(response, question=True)
    status = import_status(found)
    if status == "failed":
        return Refused("the import failed: check source_url and phone_column", "IMPORT_FAILED")
    if status != "ready":
        return poll_again(job, "the contact list")
    contacts = {name: count_of(found, "import", name) for name in _CONTACTS}
    if not contacts["clean_contacts"]:
        return Refused("the list holds no contact that can be written to", "NO_CONTACTS")
    memory = progress_of(job.memory, total_recipients=contacts["clean_contacts"], contacts=contacts)
    if job.arguments.get("analyze") and job.arguments.get("max_cost_cents") is not None:
        dear = too_dear(account, float(job.arguments["max_cost_cents"]), to_analyse(found))
        if dear is not None:
            return dear
    return _after(job, "import", memory)


_CONTACTS = ("total_rows", "total_contacts", "clean_contacts", "duplicate_count", "bad_number_count", "opted_out_count")


def _analyze(account: Account, job: Job) -> Request:
    return analyze_request(account, job, job.memory["list_id"])


def _analyzed(_account: Account, job: Job, response: Response) -> Answer:
    found = analysis_begun(response)
    if found is None:
        return troubled(response, question=False)
    memory = {**job.memory, "cost_cents": found["cost_cents"], "polls": 0}
    return Next("analysis", memory, 0.0 if found["complete"] else poll_wait(0))


def _analysis_polled(_account: Account, job: Job, response: Response) -> Answer:
    found = read_list(response)
    if found is None:
        return troubled(response, question=True)
    status = analysis_status(found)
    if status == "failed":
        return Refused("the analysis failed", "ANALYSIS_FAILED")
    if status != "complete":
        return poll_again(job, "the analysis")
    result = analysis_result(found, job.memory)
    lines = {"lines": result["breakdown"], "analysis_cost_cents": result["cost_cents"]}
    return _after(job, "analyze", progress_of(job.memory, **lines))


# Media


def _file(job: Job) -> dict[str, Any]:
    named = {"source_url": job.arguments["media_url"], "name": job.arguments.get("media_name")}
    return named | picked(job.arguments, "organization_id", "brand_id")


def _ask_media(account: Account, job: Job) -> Request:
    return media_listed(account, picked(job.arguments, "organization_id"))


def _media_looked_up(_account: Account, job: Job, response: Response) -> Answer:
    found = media_found(_file(job), response, unscoped=True)  # a project may use its organization's
    if found is None:
        return troubled(response, question=True)
    if not found:
        return Next("media_import", job.memory)
    memory = {**job.memory, "media_id": found["media_id"]}
    return _after(job, "find", memory) if found["status"] == "ready" else poll("media", memory)


def _media_begun(_account: Account, job: Job, response: Response) -> Answer:
    media_id = begun(response, "media_id")
    return poll("media", {**job.memory, "media_id": media_id}) if media_id else troubled(response, question=False)


def _media_polled(_account: Account, job: Job, response: Response) -> Answer:
    found = media_status(response)
    if found is None:
        return troubled(response, question=True)
    if found[1] == "failed":
        return Refused("the media import failed: check media_url", "MEDIA_FAILED")
    return _after(job, "find", job.memory) if found[1] == "ready" else poll_again(job, "the media file")


# The project


def _create(account: Account, job: Job) -> Request:
    return write(account, "POST", "/projects", step_key(job), _project(account, job.arguments, job.memory))


def _project(account: Account, arguments: Mapping[str, Any], memory: Mapping[str, Any]) -> dict[str, Any]:
    fields = project_fields(account, arguments)
    fields.setdefault("protocol", "mms" if arguments.get("media_url") else "sms")
    if memory.get("list_id"):
        fields["contact_list_ids"] = [memory["list_id"]]
    if memory.get("media_id"):
        fields["media_ids"] = [memory["media_id"]]
    return fields


def _created(_account: Account, job: Job, response: Response) -> Answer:
    if code_of(response) in LATER:
        return again_later(job)
    project_id = begun(response, "project_id")
    if not project_id:
        return troubled(response, question=False)
    said = picked(fields_of(response), "total_recipients", "estimated_cost_cents")
    # Also in its progress: who wants to pause or resume the project must know which one it is.
    memory = progress_of({**job.memory, "project_id": project_id}, project_id=project_id, **said)
    return _after(job, "create", memory)


def _test(account: Account, job: Job) -> Request:
    path = f"/projects/{segment(job.memory['project_id'])}/test"
    return write(account, "POST", path, step_key(job), picked(job.arguments, "test_contacts"))


def _tested(_account: Account, job: Job, response: Response) -> Answer:
    if code_of(response) in LATER:
        return again_later(job)
    if not succeeded(response):
        return troubled(response, question=False)
    return _after(job, "test", progress_of(job.memory, test_messages=len(job.arguments["test_contacts"])))


def _schedule(account: Account, job: Job) -> Request:
    path = f"/projects/{segment(job.memory['project_id'])}/schedule"
    return write(account, "POST", path, step_key(job), schedule_fields(account, job.arguments))


def _scheduled(_account: Account, job: Job, response: Response) -> Answer:
    if code_of(response) in LATER:
        return again_later(job)
    if not succeeded(response):
        return troubled(response, question=False)
    scheduled_at = job.arguments["scheduled_at"]
    memory = progress_of(job.memory, phase="scheduled", scheduled_at=scheduled_at)
    return watching(job.memory["project_id"], memory, until(scheduled_at, response) + poll_wait(0))


def _check(account: Account, arguments: Mapping[str, Any]) -> None:
    rules.check_broadcast(arguments, **lengths(account))
    check_organization(account, arguments)
    check_schedule(account, arguments)
    for name in ("source_url", "media_url"):
        if arguments.get(name):
            check_source(account, name, arguments[name])
    if arguments.get("max_cost_cents") is not None:
        check_price(account, arguments["max_cost_cents"])


_STEPS = {
    "import": Step(_import, _imported),
    "list": Step(_ask_list, _list_polled),
    "analyze": Step(_analyze, _analyzed),
    "analysis": Step(_ask_list, _analysis_polled),
    "find": Step(_ask_media, _media_looked_up),
    "media_import": Step(lambda account, job: media_request(account, job, _file(job)), _media_begun),
    "media": Step(lambda account, job: media_file(account, job.memory["media_id"]), _media_polled),
    "create": Step(_create, _created),
    "test": Step(_test, _tested),
    "schedule": Step(_schedule, _scheduled),
} | WATCH_STEPS

_ARGUMENTS = {
    "source_url": Rule(pattern=r"https?://\S+", hint="an https:// URL"),
    "list_name": Rule(min_length=1),
    "phone_column": Rule(min_length=1),
    "merge_tags": Rule(),
    "media_url": Rule(pattern=r"https?://\S+", hint="an https:// URL"),
    "media_name": Rule(min_length=1),
    "analyze": Rule(),
    "max_cost_cents": Rule(max_number=10**9),
    "test_contacts": Rule(max_items=50),
} | SCHEDULE

BROADCAST: Mapping[str, Operation] = {
    "broadcast": operation(
        "import, create, schedule and watch: one message to all contacts of a list",
        Machine(_first, _STEPS),
        PROJECT | {name: Rule(required=True) for name in ("name", "message_text")} | _ARGUMENTS,
        _check,
    ),
}
