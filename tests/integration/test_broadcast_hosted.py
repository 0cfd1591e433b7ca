"""A broadcast that the provider sends itself, by the same call: one job, the same view, the same controls."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from paceline import IdempotencyConflict, InvalidMessage, Text
from providers.politicalcomms import PROVIDER
from sandbox.background import SandboxServer
from tests.support.installation import Installation, until
from worker.service import Service

PC = "pc-main"
URL = "https://files.example.com/people.csv"
CSV = "phone,first_name\n+15555560001,Ana\n+15555560002,Bob\n"
OPTIONS = {
    "phone_number_ids": ["01JV0NUM0000000000000000D1"],
    "brand_id": "01JV0BRD0000000000000000A1",
    "campaign_id": "01JV0CMP0000000000000000A1",
}
SPRING: dict[str, Any] = {
    "name": "Spring", "message": Text(to="{phone}", text="Hi {first_name}"), "recipients": URL, "via": PC,
    "timezone": "America/New_York", "options": OPTIONS,
}  # fmt: skip


@pytest.fixture
def built(build: Callable[..., Installation], sandbox: SandboxServer) -> Installation:
    """An installation with a Political Comms account."""
    sandbox.settings("politicalcomms", {"imports": {"files": {URL: CSV}}})
    fields = {each.name: each.sandbox for each in PROVIDER.credentials} | {"provider": "politicalcomms"}
    fields["base_url"] = sandbox.base_url("politicalcomms")
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
    return build(accounts="\n".join([f"[accounts.{PC}]", *lines, ""]))


def test_the_same_call_has_the_provider_send_it(
    built: Installation, sandbox: SandboxServer, working: Callable[[Service], None]
) -> None:
    working(built.service())
    view = built.client.broadcast(**SPRING)
    assert (view.job_id is not None, view.status) == (True, "running")
    assert built.client.broadcast(**SPRING).id == view.id

    until(lambda: view.refresh().finished_at, 60)
    view = view.refresh()
    assert (view.status, view.reason) == ("finished", None)
    asked = {name: view.counts[name] for name in ("recipients", "messages", "delivered", "queued", "failed")}
    assert asked == {"recipients": 2, "messages": 2, "delivered": 2, "queued": 0, "failed": 0}
    changes = [entry.path for entry in sandbox.ledger("politicalcomms") if entry.method == "POST"]
    assert [path.rpartition("/")[2] for path in changes] == ["import", "projects", "schedule"]
    assert [each.operation for each in built.client.jobs()] == ["broadcast"]


def test_an_automatic_pause_is_reported_and_it_goes_on_when_resumed(
    built: Installation, sandbox: SandboxServer, working: Callable[[Service], None]
) -> None:
    # given a provider that pauses by itself after the first message
    sandbox.settings("politicalcomms", {"sending": {"auto_pause": {"after": 1, "reason": "brand_daily_cap"}}})
    working(built.service())
    view = built.client.broadcast(**SPRING)
    until(lambda: view.refresh().status == "paused", 60)
    assert view.refresh().reason == "paused by the provider: brand_daily_cap"

    # when it is resumed by its view alone
    view.resume()

    # then the rest goes, and nobody is written to twice
    until(lambda: view.refresh().finished_at, 60)
    view = view.refresh()
    assert (view.status, view.reason, view.counts["delivered"]) == ("finished", None, 2)
    assert [each.operation for each in reversed(built.client.jobs())] == ["broadcast", "resume_project"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"recipients": [{"phone": "+15555560001"}]}, "recipients: must be the https URL of a CSV file"),
        ({"ramp_up": {"first": 5}}, "ramp_up: is not for this account"),
        ({"message": Text(to="+1{phone}", text="Hi")}, "to: must name the column of the numbers"),
        ({"timezone": None}, "timezone: is required for this account"),
        ({"timezone": "Europe/London"}, "scheduled_timezone: must be one of America/New_York"),
        ({"options": {"nope": 1}}, "nope: is not an argument of broadcast"),
    ],
)
def test_what_the_provider_cannot_keep_to_is_refused(built: Installation, change: Any, sentence: str) -> None:
    with pytest.raises(InvalidMessage, match=sentence):
        built.client.broadcast(**{**SPRING, **change})
    assert built.client.broadcasts() == []
    assert built.client.jobs() == []


def test_another_definition_under_the_name_is_a_conflict(built: Installation) -> None:
    built.client.broadcast(**SPRING)
    for change in ({"recipients": URL + "?2"}, {"message": Text(to="{phone}", text="Bye")}):
        with pytest.raises(IdempotencyConflict):
            built.client.broadcast(**{**SPRING, **change})


def progress(built: Installation, **said: Any) -> None:
    memory = {"progress": {"project_id": "01JV0PRJ0000000000000000A1", "total_recipients": 10, **said}}
    built.run("UPDATE paceline_job SET memory = :memory WHERE operation = 'broadcast'", memory=json.dumps(memory))


def test_it_is_paused_resumed_and_cancelled_by_the_providers_operations(built: Installation) -> None:
    view = built.client.broadcast(**SPRING)
    progress(built, status="sending", phase="sending", sent=4, delivered=3)
    view = view.refresh()
    assert (view.status, view.counts["sent"], view.counts["delivered"], view.counts["queued"]) == ("running", 1, 3, 6)
    view.pause()
    progress(built, status="paused", phase="paused", pause_reason="High opt-out rate", auto_paused=True)
    assert (view.refresh().status, view.refresh().reason) == ("paused", "paused by the provider: High opt-out rate")
    view.resume()
    progress(built, status="scheduled", phase="scheduled")
    assert view.refresh().status == "scheduled"
    assert view.cancel().status == "cancelled"
    asked = [each.operation for each in reversed(built.client.jobs())]
    assert asked == ["broadcast", "pause_project", "resume_project", "unschedule_project"]
    assert str(built.client.job(str(view.job_id)).status) == "cancelled"
