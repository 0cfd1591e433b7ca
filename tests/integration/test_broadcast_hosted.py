"""A broadcast that the provider sends itself, by the same call: one job, the same view, the same controls."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paceline import IdempotencyConflict, InvalidMessage, PacelineError, Text
from providers.politicalcomms import PROVIDER
from sandbox.background import SandboxServer
from tests.support.installation import Installation, until
from worker.broadcasts.tick import Broadcasts
from worker.service import Service

PC = "pc-main"
URL = "https://files.example.com/people.csv"
CSV = "phone,first_name\n+15555560001,Ana\n+15555560002,Bob\n"
OPTIONS = {
    "phone_number_ids": ["01JV0NUM0000000000000000D1"],
    "brand_id": "01JV0BRD0000000000000000A1",
    "campaign_id": "01JV0CMP0000000000000000A1",
}
TESTED = [{"phone": "+15555560009"}]
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

    until(lambda: view.refresh().finished_at)
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
    until(lambda: view.refresh().status == "paused")
    assert view.refresh().reason == "paused by the provider: brand_daily_cap"

    # when it is resumed by its view alone
    view.resume()

    # then the rest goes, and nobody is written to twice
    until(lambda: view.refresh().finished_at)
    view = view.refresh()
    assert (view.status, view.reason, view.counts["delivered"]) == ("finished", None, 2)
    assert [each.operation for each in reversed(built.client.jobs())] == ["broadcast", "resume_project"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"recipients": [{"phone": "+15555560001"}]}, "recipients: must be the https URL of a CSV file"),
        ({"ramp_up": {"first": 5}}, "ramp_up: is not for this account"),
        ({"priority": "normal"}, "priority: is not for this account"),
        ({"weight": 2}, "weight: is not for this account"),
        ({"message": Text(to="+1{phone}", text="Hi")}, "to: must name the column of the numbers"),
        ({"timezone": None}, "timezone: is required for this account"),
        ({"timezone": "Europe/London"}, "scheduled_timezone: must be one of America/New_York"),
        ({"defaults": {"first_name": "you"}}, "defaults: is not for this account"),
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


def test_a_look_before_says_what_its_requests_take_and_stores_nothing(built: Installation) -> None:
    # given an account of 100 requests an hour, of which 98 were spent just now
    began, (found, before), ended = time.time(), built.client.preview(**SPRING), time.time()
    assert found.warnings[0].startswith("the recipients are counted by the provider, once it has imported them")
    assert (before.finish_at, before.limited_by) == (None, "the provider's own pace")
    advice = "its 4 requests share 100/hour of pc-main/api, so it begins at {} at the earliest; how long the provider"
    assert before.advice is not None
    at = datetime.fromisoformat(before.advice.split(" at ")[1])
    assert before.advice.startswith(advice.format(before.advice.split(" at ")[1]))
    assert at.timestamp() - began > 0
    assert at.timestamp() - ended < 20

    built.run(
        "INSERT INTO paceline_grant (id, key, lane, high, rest, granted_high, granted_rest, granted_at, created_at, "
        "lease_until, closed) SELECT 'g', key, name, 0, 98, 0, 98, :now, :now, :now + 60, 98 FROM paceline_lane "
        "WHERE name = 'pc-main/api'",
        now=ended,
    )  # fmt: skip

    # then its third request has to wait until they come back; and with an analysis and tests there are three more
    later = built.client.preview(**{**SPRING, "options": {**OPTIONS, "analyze": True, "test_contacts": TESTED}})[1]
    assert later.advice is not None
    assert later.advice.startswith("its 7 requests share 100/hour")
    assert 3590 < datetime.fromisoformat(later.advice.split(" at ")[1]).timestamp() - ended < 3700
    assert built.client.broadcasts() == []
    assert built.client.jobs() == []

    # and what the provider would refuse is refused here too
    with pytest.raises(InvalidMessage, match="scheduled_timezone: must be one of"):
        built.client.preview(**{**SPRING, "timezone": "Europe/London"})


def test_a_closed_lane_is_said(built: Installation) -> None:
    built.run("UPDATE paceline_lane SET closed_reason = 'INSUFFICIENT_BALANCE' WHERE name = 'pc-main/api'")
    found = built.client.preview(**SPRING)[1]
    assert (found.limited_by, found.advice) == ("closed: INSUFFICIENT_BALANCE", "open the lane")


def test_its_statistics_tell_when_it_will_be_done(built: Installation) -> None:
    # given one that has sent a quarter in the first 60 seconds
    view = built.client.broadcast(**SPRING)
    assert (view.forecast().advice or "").startswith("its 4 requests share 100/hour of pc-main/api")
    began = time.time() - 60
    at = datetime.fromtimestamp(began, UTC).isoformat()
    built.run("UPDATE paceline_broadcast SET released_at = :at", at=began)
    progress(built, status="sending", phase="sending", sent=100, delivered=80, total_recipients=400, scheduled_at=at)
    built.run("UPDATE paceline_job SET updated_at = :at", at=began + 60)

    # then the others take three times as long
    found = view.forecast()
    assert found.finish_at is not None
    assert found.finish_at.timestamp() == pytest.approx(began + 240, abs=0.5)
    assert (found.messages, found.limited_by, found.advice) == (400, "the provider's own pace", None)

    # and while it is paused, nobody can say
    progress(built, status="paused", phase="paused", sent=100, total_recipients=400, pause_reason="quiet_hours")
    found = view.forecast()
    assert (found.finish_at, found.limited_by) == (None, "paused by the provider: quiet_hours")
    assert found.advice == "resume it"

    # nor before it begins
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    progress(built, status="scheduled", phase="scheduled", total_recipients=400, scheduled_at=tomorrow)
    assert (view.forecast().advice or "").startswith("it begins at ")


def test_it_may_wait_for_resume_and_its_provider_hears_nothing_before(built: Installation) -> None:
    view = built.client.broadcast(**SPRING, paused=True, metadata={"team": "north"})
    assert (view.status, view.job_id, view.metadata) == ("paused", None, {"team": "north"})
    assert built.client.broadcast(**SPRING, metadata={"team": "north"}).status == "paused"
    assert view.forecast().limited_by == "it is paused"
    Broadcasts(built.engine).steer()
    assert view.refresh().status == "paused"
    assert built.client.jobs() == []

    view = view.resume()
    assert (view.status, [each.id for each in built.client.jobs()]) == ("running", [view.job_id])


def test_one_that_is_scheduled_for_tomorrow_is_taken_back_from_its_provider(
    built: Installation, sandbox: SandboxServer, working: Callable[[Service], None]
) -> None:
    # given one whose project is scheduled, and not asked about before its time
    working(built.service())
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    view = built.client.broadcast(**SPRING, send_at=tomorrow)
    until(lambda: view.refresh().status == "scheduled")
    assert (view.forecast().advice or "").startswith(f"it begins at {tomorrow:%Y-%m-%dT%H:%M}")

    # when it is cancelled
    assert view.cancel().status == "cancelled"

    # then its provider does not send it
    until(lambda: any(each.path.endswith("/unschedule") for each in sandbox.ledger("politicalcomms")))


def test_one_whose_schedule_was_never_answered_is_taken_back_all_the_same(built: Installation) -> None:
    # given a request to schedule it that left, and no answer came
    view = built.client.broadcast(**SPRING)
    progress(built, phase="scheduling")
    built.run("UPDATE paceline_job SET step = 'schedule', unresolved = true WHERE operation = 'broadcast'")

    # when it is cancelled, then its provider is asked to take back what it may have scheduled
    assert view.cancel().status == "cancelled"
    assert [each.operation for each in built.client.jobs()] == ["unschedule_project", "broadcast"]


def test_one_that_was_not_scheduled_yet_needs_nobody_to_take_it_back(built: Installation) -> None:
    view = built.client.broadcast(**SPRING)
    progress(built, phase="scheduling")
    assert view.cancel().status == "cancelled"
    assert [each.operation for each in built.client.jobs()] == ["broadcast"]


def test_a_request_that_is_on_its_way_keeps_it_from_being_cancelled(built: Installation) -> None:
    view = built.client.broadcast(**SPRING)
    built.run("UPDATE paceline_job SET status = 'sending', lease_until = :at", at=time.time() + 60)
    with pytest.raises(PacelineError, match="One of its requests is on its way to the provider: cancel it again"):
        view.cancel()
    assert view.refresh().status == "running"


def test_one_that_waits_is_cancelled_without_asking_anybody(built: Installation) -> None:
    assert built.client.broadcast(**SPRING, paused=True).cancel().status == "cancelled"
    assert built.client.jobs() == []


def test_its_tests_are_its_providers(built: Installation) -> None:
    with pytest.raises(InvalidMessage, match=r"test_contacts = \[\{phone"):
        built.client.broadcast_test(**SPRING, to=["+15555560001"])


def test_what_failed_there_is_not_retried_from_here(built: Installation) -> None:
    view = built.client.broadcast(**SPRING)
    with pytest.raises(PacelineError, match="The broadcast 'Spring' is sent by its provider: nothing of it is retried"):
        built.client.retry_broadcast(view.name)


def test_its_counts_outlive_its_job(built: Installation) -> None:
    view = built.client.broadcast(**SPRING)
    contacts = {"total_rows": 12, "duplicate_count": 1, "bad_number_count": 1, "opted_out_count": 0}
    progress(built, status="completed", phase="completed", sent=10, delivered=9, failed=1, contacts=contacts)
    built.run("UPDATE paceline_job SET status = 'done'")
    Broadcasts(built.engine).steer()
    ended = view.refresh().counts
    assert (ended["recipients"], ended["messages"], ended["delivered"], ended["duplicates"]) == (12, 10, 9, 1)
    built.run("DELETE FROM paceline_job")
    assert view.refresh().counts == ended
