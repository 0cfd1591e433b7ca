"""Political Comms, a broadcast as one job: killed between any two steps, every answer lost once, nothing made twice."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paceline.errors import InvalidMessage
from providers.base import Misconfigured, Refused
from sandbox import SandboxServer
from tests.contract.politicalcomms_support import CSV_URL, NUMBER, PICTURE, PROJECT, SCHEDULE, Driver, settings, succeed

BROADCAST: dict[str, Any] = {**PROJECT, **SCHEDULE, "source_url": CSV_URL, "phone_column": "cell"}
EVERYTHING: dict[str, Any] = {
    **BROADCAST,
    "protocol": "mms",
    "media_url": PICTURE,
    "analyze": True,
    "max_cost_cents": 100,
    "test_contacts": [{"phone": "+15555550100", "merge_values": {"first_name": "Ana"}}],
    "merge_tags": {"first_name": "First Name", "custom_fields": [{"csv_column": "ward", "merge_tag": "ward"}]},
}
PRICED = {"analysis.cents_per_number": 0.5}


@pytest.fixture(scope="module", params=[1, 2], ids=["generation 1", "generation 2"])
def server(request: pytest.FixtureRequest) -> Iterator[SandboxServer]:
    with SandboxServer(settings(generation=request.param)) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
    server.clear("politicalcomms")
    return server


def made(driver: Driver) -> Counter[str]:
    """What there is at the sandbox, by kind."""
    kinds = ("contact_lists", "media", "projects")
    return Counter({kind: len(driver.ask(kind)) for kind in kinds})


def writes(driver: Driver) -> list[tuple[str, str]]:
    """Path and idempotency key of each change that left."""
    return [
        (request.url.rpartition("/v1")[2], request.headers["Idempotency-Key"])
        for request in driver.made
        if request.method != "GET"
    ]


def test_a_list_becomes_a_project_that_is_sent(sandbox: SandboxServer) -> None:
    driver = Driver(sandbox)

    result = succeed(driver.run("broadcast", **BROADCAST))

    assert result["completed"] is True
    assert (result["phase"], result["status"]) == ("completed", "completed")
    assert (result["total_recipients"], result["sent"], result["delivered"]) == (20, 20, 20)
    assert made(driver) == {"contact_lists": 1, "media": 0, "projects": 1}
    assert driver.steps[:4] == ["list", "create", "schedule", "project"]


def test_every_stage_in_its_order(sandbox: SandboxServer) -> None:
    driver = Driver(sandbox, options=PRICED)

    result = succeed(driver.run("broadcast", **EVERYTHING))

    order = list(dict.fromkeys(driver.steps))
    assert order == ["list", "analyze", "analysis", "find", "media_import", "media", "create", "test", "schedule",
                     "project", "stats"]  # fmt: skip
    assert result["lines"] == {"mobile": 20, "landline": 0, "voip": 0, "invalid": 0}
    assert result["analysis_cost_cents"] == 10
    assert result["contacts"]["clean_contacts"] == 20
    project = driver.ask("project", project_id=result["project_id"])
    assert project["contact_list_ids"] == [result["list_id"]]
    assert project["media_urls"] == [f"https://media.politicalcomms.example/{result['media_id']}.jpg"]
    assert driver.ask("project_stats", project_id=result["project_id"])["test"]["sent"] == 1


def test_with_every_answer_lost_once_nothing_is_made_twice(sandbox: SandboxServer) -> None:
    driver = Driver(sandbox, twice=True, options=PRICED)

    result = succeed(driver.run("broadcast", **EVERYTHING))

    assert made(driver) == {"contact_lists": 1, "media": 1, "projects": 1}
    assert (result["sent"], result["total_recipients"]) == (20, 20)
    assert driver.ask("project_stats", project_id=result["project_id"])["test"]["sent"] == 1
    charged = driver.ask("usage", start_date=today(sandbox), end_date=today(sandbox))
    # 20 lookups at half a cent, 20 MMS and one test at three cents each.
    assert float(charged["charges"]) == pytest.approx((20 * 0.5 + 21 * 3) / 100)
    keys = writes(driver)
    assert len(keys) == 2 * len(set(keys)) == 12  # import, analyze, media, create, test, schedule: each twice
    assert all(keys.count(pair) == 2 for pair in keys)


def test_a_file_of_the_organization_is_used_again(sandbox: SandboxServer) -> None:
    driver = Driver(sandbox)
    hero = driver.ask("import_media", source_url=PICTURE, name="hero")
    driver.ask("import_media", source_url=PICTURE, name="other", brand_id=PROJECT["brand_id"])

    named = {**BROADCAST, "protocol": "mms", "media_url": PICTURE}
    first = succeed(driver.run("broadcast", "job-1", **named, media_name="hero"))
    succeed(driver.run("broadcast", "job-2", **named, media_name="other"))

    assert first["media_id"] == hero["id"]
    assert made(driver)["media"] == 2


def test_two_jobs_bear_different_keys(sandbox: SandboxServer) -> None:
    first, second = Driver(sandbox), Driver(sandbox)

    succeed(first.run("broadcast", "job-1", **BROADCAST))
    succeed(second.run("broadcast", "job-2", **BROADCAST))

    assert not set(writes(first)) & set(writes(second))
    assert made(first) == {"contact_lists": 2, "media": 0, "projects": 2}


def test_existing_lists_need_no_import(sandbox: SandboxServer) -> None:
    driver = Driver(sandbox)
    imported = driver.ask("import_contacts", source_url=CSV_URL, list_name="D5", phone_column="cell")
    fields: dict[str, Any] = {**PROJECT, **SCHEDULE, "contact_list_ids": [imported["list_id"]]}

    result = succeed(driver.run("broadcast", **fields))

    assert result["sent"] == 20
    assert made(driver)["contact_lists"] == 1


def test_an_analysis_that_is_too_dear_is_not_ordered(sandbox: SandboxServer) -> None:
    driver = Driver(sandbox, options=PRICED)

    found = driver.run("broadcast", **{**EVERYTHING, "max_cost_cents": 9})

    assert isinstance(found, Refused)
    assert "20 numbers would cost about 10 cents" in found.reason
    assert not [path for path, _ in writes(driver) if path.endswith("analyze")]


def test_an_analysis_by_somebody_else_holds_the_project_up_until_it_ends(sandbox: SandboxServer) -> None:
    # Given: a list whose analysis takes ten minutes, ordered by somebody else.
    driver = Driver(sandbox)
    imported = driver.ask("import_contacts", source_url=CSV_URL, list_name="D5", phone_column="cell")
    sandbox.settings("politicalcomms", {"analysis": {"seconds": 600}})
    try:
        analyze(driver, imported["list_id"])
        # When: a project is to be made for it.
        fields: dict[str, Any] = {**PROJECT, **SCHEDULE, "contact_list_ids": [imported["list_id"]]}
        result = succeed(driver.run("broadcast", **fields))
    finally:
        sandbox.settings("politicalcomms", {"analysis": None})

    # Then: it was refused for a while, each time under another key, and made once.
    assert [step for step in driver.steps if step.startswith("create#")]
    assert len({key for path, key in writes(driver) if path == "/projects"}) > 1
    assert made(driver)["projects"] == 1
    assert result["completed"]


def analyze(driver: Driver, list_id: str) -> None:
    other = Driver(driver.sandbox)
    other.step("analyze", "other", '{"step": "", "memory": {}}', {"list_id": list_id, "confirm": True})


def test_a_failed_import_ends_the_job_before_anything_is_sent(sandbox: SandboxServer) -> None:
    driver = Driver(sandbox)

    found = driver.run("broadcast", **{**BROADCAST, "phone_column": "mobile"})

    assert found == Refused("the import failed: check source_url and phone_column", "IMPORT_FAILED")
    assert made(driver)["projects"] == 0


def test_a_list_without_a_usable_contact_ends_the_job(sandbox: SandboxServer) -> None:
    driver = Driver(sandbox)
    sandbox.settings("politicalcomms", {"imports": {"files": {"https://files.example.com/no.csv": "cell\nnobody\n"}}})

    found = driver.run("broadcast", **{**BROADCAST, "source_url": "https://files.example.com/no.csv"})

    assert isinstance(found, Refused)
    assert found.code == "NO_CONTACTS"


def test_an_import_that_never_ends_is_polled_forty_times(sandbox: SandboxServer) -> None:
    driver = Driver(sandbox)
    sandbox.settings("politicalcomms", {"imports": {"seconds": 1_000_000}})
    before = sandbox.summary("politicalcomms")["requests"]
    try:
        found = driver.run("broadcast", **BROADCAST)
    finally:
        sandbox.settings("politicalcomms", {"imports": {"seconds": 1}})

    assert isinstance(found, Refused)
    assert "not ready after 40 polls" in found.reason
    assert sandbox.summary("politicalcomms")["requests"] - before == 41


def test_without_money_the_key_waits_and_the_same_step_goes_on(sandbox: SandboxServer) -> None:
    driver = Driver(sandbox)
    sandbox.settings("politicalcomms", {"balance_cents": 5})
    try:
        found = driver.run("broadcast", **BROADCAST)
        assert isinstance(found, Misconfigured)
        assert (found.code, found.scope) == ("INSUFFICIENT_BALANCE", "key")
        # When: there is money, the very same request succeeds.
        sandbox.settings("politicalcomms", {"balance_cents": 500})
        again: Any = driver.step("broadcast", "job-1", stored(driver, "schedule"), BROADCAST)
        assert again.step == "project"
    finally:
        sandbox.settings("politicalcomms", {"balance_cents": None})


def stored(driver: Driver, step: str) -> str:
    return json.dumps({"step": step, "memory": driver.memory})


def test_a_pause_is_reported_with_its_reason_and_does_not_end_the_job(sandbox: SandboxServer) -> None:
    # Given: the carriers' cap pauses the project after five messages.
    sandbox.settings("politicalcomms", {"sending": {"auto_pause": {"after": 5}}})
    driver = Driver(sandbox)
    paused: list[str] = []
    try:
        # When: it is paused for a day before somebody resumes it.
        arguments: dict[str, Any] = dict(BROADCAST)
        state = '{"step": "", "memory": {}}'
        for _ in range(400):
            found: Any = driver.step("broadcast", "job-1", state, arguments)
            if not hasattr(found, "step"):
                break
            driver.memory = dict(found.memory)
            state = stored(driver, found.step)
            sandbox.advance(found.wait)
            progress = found.memory.get("progress", {})
            if progress.get("phase") == "paused":
                paused.append(progress["pause_reason"])
                assert progress["auto_paused"] is True
                if len(paused) == 60:
                    driver.ask("resume_project", project_id=found.memory["project_id"], **SCHEDULE)
    finally:
        sandbox.settings("politicalcomms", {"sending": None})

    # Then: it said so all the time, and went on to its end.
    assert set(paused) == {"brand_daily_cap"}
    assert found.result["completed"] is True
    assert (found.result["sent"], found.result["pause_reason"]) == (20, None)


def test_a_bypass_is_said_in_every_schedule_call(sandbox: SandboxServer) -> None:
    sandbox.settings("politicalcomms", {"sending": {"auto_pause": {"after": 5}}})
    driver = Driver(sandbox)
    try:
        result = succeed(driver.run("broadcast", **BROADCAST, daily_cap_bypass=True))
    finally:
        sandbox.settings("politicalcomms", {"sending": None})

    assert result["completed"] is True
    assert b'"daily_cap_bypass":true' in next(r.body for r in driver.made if r.url.endswith("/schedule"))


def test_what_is_scheduled_for_later_is_not_asked_about_before(sandbox: SandboxServer) -> None:
    at = datetime.fromtimestamp(now(sandbox), UTC) + timedelta(hours=5)
    driver = Driver(sandbox)

    result = succeed(driver.run("broadcast", **{**BROADCAST, "scheduled_at": at.isoformat()}))

    assert result["completed"] is True
    assert sum(request.method == "GET" for request in driver.made) < 15


def now(sandbox: SandboxServer) -> float:
    return sandbox._running.clock.now()


def today(sandbox: SandboxServer) -> str:
    return datetime.fromtimestamp(now(sandbox), UTC).date().isoformat()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"source_url": None}, "source_url"),
        ({"contact_list_ids": ["lst_1"]}, "source_url"),
        ({"phone_column": None}, "phone_column"),
        ({"scheduled_at": "2026-03-21T09:00:00"}, "scheduled_at"),
        ({"scheduled_timezone": "Europe/London"}, "scheduled_timezone"),
        ({"message_text": "x" * 1600}, "message_text"),
        ({"phone_number_ids": [NUMBER] * 50}, "phone_number_ids"),
        ({"campaign_id": None}, "campaign_id"),
        ({"analyze": "yes"}, "analyze"),
        ({"max_cost_cents": 5}, "max_cost_cents"),
        ({"test_contacts": [{"phone": "0171"}]}, "test_contacts[0].phone"),
        ({"merge_tags": {"shoe_size": "Size"}}, "merge_tags.shoe_size"),
        ({"media_url": PICTURE, "media_ids": ["med_1"]}, "media_ids"),
        ({"link_tracking_enabled": True}, "link_tracking_destination_url"),
    ],
)
def test_a_broadcast_that_would_be_refused_is_not_begun(
    sandbox: SandboxServer, wrong: dict[str, Any], field: str
) -> None:
    driver = Driver(sandbox)
    with pytest.raises(InvalidMessage) as refused:
        driver.run("broadcast", **{name: value for name, value in {**BROADCAST, **wrong}.items() if value is not None})

    assert refused.value.field == field
    assert driver.made == []
