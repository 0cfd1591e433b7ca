"""What Political Comms changes in one request: lists and media that go, projects from draft to resumption."""

from collections.abc import Mapping
from typing import Any

from paceline.capabilities import Rule
from paceline.errors import InvalidMessage
from paceline.politicalcomms import rules as rules
from providers.base import Account, Job, Next, Operation, Option, Refused, Response
from providers.politicalcomms.calls import Change, change, check_flag, one, picked
from providers.politicalcomms.steps import Answer, Machine, Step, operation
from providers.politicalcomms.wire import ID, OPTIONAL_ID, ask, fields_of, segment, succeeded, troubled

OPTIONS = {
    "limits.text": Option(rules.LONGEST_TEXT, "most characters of a project's message_text", least=1),
    "limits.name": Option(rules.LONGEST_NAME, "most characters of a project's name", least=1),
}

_AT = Rule(required=True, min_length=1)
SCHEDULE = {
    "scheduled_at": _AT,
    "scheduled_timezone": Rule(required=True, one_of=rules.ZONES),
    "daily_cap_bypass": Rule(),
}
PROJECT = {name: Rule() for name in rules.PROJECT_FIELDS} | {
    "organization_id": OPTIONAL_ID,
    "brand_id": OPTIONAL_ID,
    "campaign_id": OPTIONAL_ID,
    "toll_free_verification_id": OPTIONAL_ID,
    "channel": Rule(one_of=rules.CHANNELS),
    "protocol": Rule(one_of=rules.PROTOCOLS),
    "phone_number_ids": Rule(max_items=49, pattern=OPTIONAL_ID.pattern, hint=OPTIONAL_ID.hint),
    "link_tracking_param_field": Rule(max_length=64),
}
_REQUIRED = ("name", "protocol", "message_text")


def project_fields(account: Account, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a new project: what was given, for the account's own organization unless it names another."""
    given = picked(arguments, *rules.PROJECT_FIELDS)
    return {"organization_id": account.credentials.get("organization_id", "")} | given


def check_project(account: Account, arguments: Mapping[str, Any]) -> None:
    """Raise `InvalidMessage` for what the API would refuse in a new project."""
    check_organization(account, arguments)
    given = {name: value for name, value in arguments.items() if value is not None}
    rules.check_project(given, **lengths(account))


def check_organization(account: Account, arguments: Mapping[str, Any]) -> None:
    """Raise `InvalidMessage` unless somebody said for whom a project is."""
    if not project_fields(account, arguments)["organization_id"]:
        raise InvalidMessage("organization_id", "is required: give it, or set organization_id on the account")


def _changes(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name != "project_id" and value is not None}


def _check_edit(account: Account, arguments: Mapping[str, Any]) -> None:
    rules.check_edit(_changes(arguments), **lengths(account))


def _first_of_edit(account: Account, job: Job) -> str:
    wanting = rules.needs_project(_changes(job.arguments), longest_text=_option(account, "limits.text"))
    return "project" if wanting else "edit"


def _edit_judged(account: Account, job: Job, response: Response) -> Answer:
    """Whether the project, as it would be, keeps the rules: the API would refuse it, and only after a change."""
    found = fields_of(response) if succeeded(response) else {}
    if not found:
        return troubled(response, question=True)
    try:
        rules.check_edited(found, _changes(job.arguments), **lengths(account))
    except InvalidMessage as broken:
        return Refused(f"{broken}", "INVALID_EDIT")
    return Next("edit", job.memory)


def lengths(account: Account) -> dict[str, int]:
    """The account's limits of a project's text and name."""
    return {"longest_text": _option(account, "limits.text"), "longest_name": _option(account, "limits.name")}


def schedule_fields(_account: Account, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a schedule or resume call; the bypass holds for one call only, so each says it."""
    return {
        "scheduled_at": arguments["scheduled_at"],
        "scheduled_timezone": arguments["scheduled_timezone"],
        "daily_cap_bypass": bool(arguments.get("daily_cap_bypass", False)),
    }


def check_schedule(_account: Account, arguments: Mapping[str, Any]) -> None:
    """Raise `InvalidMessage` unless time and zone can be scheduled."""
    rules.check_schedule(arguments["scheduled_at"], arguments["scheduled_timezone"])
    check_flag(arguments, "daily_cap_bypass")


def _test(_account: Account, arguments: Mapping[str, Any]) -> None:
    rules.check_test_contacts(arguments["test_contacts"])


def _option(account: Account, name: str) -> Any:
    return account.options.get(name, OPTIONS[name].default)


def _gone(found: Any) -> Any:
    return found if isinstance(found, dict) else None


_EDIT = Change("PATCH", "/projects/{project_id}", lambda _, given: picked(given, *rules.EDITABLE), one("project_id"))

CHANGES: Mapping[str, Operation] = {
    "delete_contact_list": change("delete a contact list", "DELETE", "/contact-lists/{list_id}", _gone),
    "delete_media": change("delete a media file", "DELETE", "/media/{media_id}", _gone),
    "create_project": change("create a draft", "POST", "/projects", one("project_id"), project_fields,
                              PROJECT | {name: Rule(required=True) for name in _REQUIRED}, check_project),
    "edit_project": operation(
        "change a draft",
        Machine(
            _first_of_edit,
            {
                "project": Step(lambda account, job: ask(account, f"/projects/{segment(job.arguments['project_id'])}"),
                                 _edit_judged),
                "edit": Step(_EDIT.build, _EDIT.read),
            },
        ),
        {"project_id": ID} | {name: PROJECT[name] for name in rules.EDITABLE}, _check_edit,
    ),
    "test_project": change("send a project to test contacts", "POST", "/projects/{project_id}/test",
                            one("project_id"), lambda _, given: picked(given, "test_contacts"),
                            {"test_contacts": Rule(required=True, max_items=50)}, _test),
    "schedule_project": change("schedule a project", "POST", "/projects/{project_id}/schedule", one("project_id"),
                                schedule_fields, SCHEDULE, check_schedule),
    # The same call, says the reference: there is no other way to resume.
    "resume_project": change("resume a paused project", "POST", "/projects/{project_id}/schedule",
                              one("project_id"), schedule_fields, SCHEDULE, check_schedule),
    "unschedule_project": change("take a project off its schedule", "POST", "/projects/{project_id}/unschedule",
                                  one("project_id")),
    "pause_project": change("pause a project", "POST", "/projects/{project_id}/pause", one("project_id"),
                             lambda _, given: picked(given, "reason"),
                             {"reason": Rule(min_length=1, max_length=100)}),
    "copy_project": change("copy a project to a new draft, without lists and schedule", "POST",
                            "/projects/{project_id}/copy", one("project_id")),
}  # fmt: skip
