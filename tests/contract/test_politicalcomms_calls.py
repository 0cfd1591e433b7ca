"""Political Comms, each question and change over real HTTP: both generations of shapes are read alike."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paceline.errors import InvalidMessage
from providers.base import Account, Misconfigured, Next, Refused
from providers.politicalcomms import PROVIDER
from sandbox import SandboxServer
from tests.contract.politicalcomms_support import (
    BRAND,
    CAMPAIGN,
    CHILD,
    CSV_URL,
    FOREIGN,
    PICTURE,
    PROJECT,
    ROOT,
    SCHEDULE,
    Driver,
    settings,
    succeed,
)

TEST = [{"phone": "+15555550100"}]
LIST: dict[str, Any] = {"source_url": CSV_URL, "list_name": "D5", "phone_column": "cell"}


@pytest.fixture(scope="module", params=[1, 2], ids=["generation 1", "generation 2"])
def server(request: pytest.FixtureRequest) -> Iterator[SandboxServer]:
    with SandboxServer(settings(generation=request.param, prices={"lookup": 0.5})) as sandbox:
        yield sandbox


@pytest.fixture
def driver(server: SandboxServer) -> Driver:
    server.clear("politicalcomms")
    return Driver(server)


def listed(driver: Driver) -> str:
    return str(driver.ask("import_contacts", **LIST)["list_id"])


def draft(driver: Driver, **more: Any) -> str:
    return str(driver.ask("create_project", **{**PROJECT, "contact_list_ids": [listed(driver)], **more})["project_id"])


def day(driver: Driver, back: int = 0) -> str:
    now = datetime.fromtimestamp(driver.sandbox._running.clock.now(), UTC)
    return (now - timedelta(days=back)).date().isoformat()


# The hierarchy


def test_the_hierarchy_is_filtered_at_every_level(driver: Driver) -> None:
    names = [one["display_name"] for one in driver.ask("organizations")]
    assert names == ["Northside Committee", "District 5", "Ward 12"]
    tree = driver.ask("hierarchy", organization_id=CHILD)
    assert (tree["name"], tree["childOrganizations"][0]["name"]) == ("District 5", "Ward 12")
    assert tree["brands"][0]["campaigns"]
    assert [one["organization_id"] for one in driver.ask("brands", organization_id=CHILD)] == [CHILD]
    assert [one["id"] for one in driver.ask("campaigns", brand_id=BRAND)] == [CAMPAIGN]
    numbers = driver.ask("phone_numbers", campaign_id=CAMPAIGN)
    assert [one["number"] for one in numbers] == ["+15555550111", "+15555550112"]
    assert len(driver.ask("phone_numbers", channel="toll-free")) == 1
    assert driver.ask("phone_numbers", brand_id=BRAND, channel="toll-free") == []
    [domain] = driver.ask("tracking_domains", organization_id=ROOT)
    assert domain["source"] == "own"
    [verification] = driver.ask("toll_free_verifications", status="Verified")
    assert driver.ask("toll_free_verification", toll_free_verification_id=verification["id"])["phone_number_ids"]
    assert driver.ask("campaign_throughput", campaign_id=CAMPAIGN)["t_mobile"]["used_today"] is None


def test_another_tree_fails_the_one_call(driver: Driver) -> None:
    found = driver.run("brands", organization_id=FOREIGN)

    assert isinstance(found, Misconfigured)
    assert (found.code, found.scope) == ("ORG_ACCESS_DENIED", "message")


# Contact lists and media


def test_a_list_is_imported_and_polled_with_growing_pauses(driver: Driver) -> None:
    found = driver.step("import_contacts", "j", '{"step": "", "memory": {}}', LIST)
    assert isinstance(found, Next)
    assert (found.step, found.wait) == ("list", 5.0)
    waits = []
    memory = dict(found.memory)
    driver.sandbox.settings("politicalcomms", {"imports": {"seconds": 1e6}})
    try:
        held = driver.step("import_contacts", "k", '{"step": "", "memory": {}}', LIST)
        assert isinstance(held, Next)
        for _ in range(8):
            held = driver.step("import_contacts", "k", json.dumps({"step": held.step, "memory": held.memory}), LIST)
            assert isinstance(held, Next)
            waits.append(held.wait)
    finally:
        driver.sandbox.settings("politicalcomms", {"imports": {"seconds": 1}})
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]
    assert memory["polls"] == 0


def test_a_list_is_counted_analysed_and_deleted(driver: Driver) -> None:
    priced = Driver(driver.sandbox, options={"analysis.cents_per_number": 0.5})
    list_id = listed(driver)

    # The cost is known before anything is spent.
    assert driver.ask("analysis_cost", list_id=list_id) == {
        "list_id": list_id, "numbers": 20, "estimated_cents": None}  # fmt: skip
    assert priced.ask("analysis_cost", list_id=list_id)["estimated_cents"] == 10
    with pytest.raises(InvalidMessage, match=r"^confirm: must be true, since this costs money"):
        driver.run("analyze", list_id=list_id)
    assert isinstance(priced.run("analyze", list_id=list_id, max_cost_cents=9.99), Refused)
    assert driver.ask("contact_list", list_id=list_id)["analysis"]["status"] == "not_started"

    result = succeed(priced.run("analyze", list_id=list_id, max_cost_cents=10))
    assert result == {"list_id": list_id, "cost_cents": 10, "analyzed_numbers": 20,
                      "breakdown": {"mobile": 20, "landline": 0, "voip": 0, "invalid": 0}}  # fmt: skip

    # What is analysed costs nothing.
    assert priced.ask("analysis_cost", list_id=list_id)["numbers"] == 0
    assert driver.ask("analyze", list_id=list_id, confirm=True)["cost_cents"] == 0
    assert [one["id"] for one in driver.ask("contact_lists")] == [list_id]
    driver.ask("delete_contact_list", list_id=list_id)
    assert driver.ask("contact_lists") == []


def test_an_analysis_whose_answer_was_lost_is_not_paid_twice(driver: Driver) -> None:
    list_id = listed(driver)
    twice = Driver(driver.sandbox, twice=True)

    succeed(twice.run("analyze", list_id=list_id, confirm=True))

    charged = driver.ask("usage", start_date=day(driver), end_date=day(driver))["charges"]
    assert float(charged) == pytest.approx(0.1)  # dollars: 20 lookups at half a cent


def test_a_list_in_use_is_kept(driver: Driver) -> None:
    project = driver.ask("project", project_id=draft(driver))

    found = driver.run("delete_contact_list", list_id=project["contact_list_ids"][0])

    assert found == Refused(f"CONTACT_LIST_IN_USE ({project['id']}): a project uses it", "CONTACT_LIST_IN_USE")


def test_media_are_used_again_by_name_or_by_url(driver: Driver) -> None:
    first = driver.ask("import_media", source_url=PICTURE, name="hero")
    assert (first["status"], first["reused"]) == ("ready", False)

    assert driver.ask("import_media", source_url=PICTURE, name="hero")["id"] == first["id"]
    by_url = driver.ask("import_media", source_url=PICTURE)
    assert by_url["id"] != first["id"]
    again = driver.ask("import_media", source_url=PICTURE)
    assert (again["id"], again["status"], again["reused"]) == (by_url["id"], "ready", True)
    assert driver.ask("import_media", source_url=PICTURE, name="hero", reuse=False)["id"] != first["id"]
    assert driver.ask("import_media", source_url=PICTURE + "?v=2")["id"] != by_url["id"]
    assert len(driver.ask("media")) == 4


def test_media_under_way_are_waited_for(driver: Driver) -> None:
    other = Driver(driver.sandbox)
    other.step("import_media", "other", '{"step": "import", "memory": {}}', {"source_url": PICTURE, "name": "hero"})

    found = succeed(driver.run("import_media", source_url=PICTURE, name="hero"))

    assert found["reused"] is True
    assert len(driver.ask("media")) == 1


def test_media_that_fail_end_the_job(driver: Driver) -> None:
    driver.sandbox.settings("politicalcomms", {"media": {"sizes": {"huge.jpg": 5_000_001}}})

    found = driver.run("import_media", source_url="https://files.example.com/huge.jpg")

    assert found == Refused("the media import failed: check source_url", "MEDIA_FAILED")


# Projects


def test_a_project_from_draft_to_completion(driver: Driver) -> None:
    project_id = draft(driver)
    assert driver.ask("edit_project", project_id=project_id, name="Renamed")["name"] == "Renamed"
    assert len(driver.ask("test_project", project_id=project_id, test_contacts=TEST)["test_messages"]) == 1
    later = {**SCHEDULE, "scheduled_at": "2126-01-01T09:00:00-05:00"}
    assert driver.ask("schedule_project", project_id=project_id, **later)["status"] == "scheduled"
    assert driver.ask("unschedule_project", project_id=project_id)["status"] == "draft"
    driver.ask("schedule_project", project_id=project_id, **later)
    assert driver.ask("pause_project", project_id=project_id, reason="not yet")["status"] == "paused"
    assert driver.ask("project", project_id=project_id)["pause_reason"] == "not yet"
    assert driver.ask("resume_project", project_id=project_id, **SCHEDULE)["status"] == "scheduled"

    result = driver.ask("watch", project_id=project_id)

    assert (result["completed"], result["sent"], result["delivered"], result["failed"]) == (True, 20, 20, 0)
    assert driver.ask("project_stats", project_id=project_id)["metrics"]["delivered"] == 20
    assert driver.ask("project_throughput", project_id=project_id)["recipients"] == 20
    copied = driver.ask("copy_project", project_id=project_id)
    assert (copied["name"], copied["contact_list_ids"]) == ("Renamed_v2", [])
    assert {one["id"] for one in driver.ask("projects", campaign_id=CAMPAIGN)} == {project_id, copied["project_id"]}
    page = driver.ask("projects_stats", start_date=day(driver, 80), end_date=day(driver, 60), limit=1)
    assert page == {"items": [], "pagination": {"limit": 1, "offset": 0, "totalCount": 0, "hasMore": False}}
    page = driver.ask("projects_stats", start_date=day(driver, 30), end_date=day(driver), status="all", limit=1)
    assert (len(page["items"]), page["pagination"]["hasMore"]) == (1, True)


def test_a_completed_project_cannot_be_changed(driver: Driver) -> None:
    project_id = draft(driver)
    driver.ask("schedule_project", project_id=project_id, **SCHEDULE)
    driver.ask("watch", project_id=project_id)

    late = driver.run("edit_project", project_id=project_id, name="Late")
    assert late == Refused("CONFLICT: not as it stands now: see its status", "CONFLICT")
    missing = driver.run("watch", project_id="proj_unknown")
    assert missing == Refused("NOT_FOUND: there is nothing of this id that api_key reaches", "NOT_FOUND")


def test_links_are_judged_with_what_the_project_holds(driver: Driver) -> None:
    project_id = draft(driver)
    own = Driver(driver.sandbox)

    found = own.run("edit_project", project_id=project_id, link_tracking_destination_url="https://a.org/{ward}")
    needs = "link_tracking_destination_url: needs link_tracking_enabled = true"
    assert found == Refused(needs, "INVALID_EDIT")
    tracked: dict[str, Any] = {"link_tracking_enabled": True, "link_tracking_domain_id": "01JV0DOM0000000000000000G1"}
    succeed(own.run("edit_project", project_id=project_id, link_tracking_destination_url="https://a.org/1", **tracked))
    found = own.run("edit_project", project_id=project_id, link_tracking_destination_url="https://a.org/{ward}")
    assert isinstance(found, Refused)
    assert found.reason.startswith("link_tracking_destination_url: may hold one placeholder")
    changes: dict[str, Any] = {
        "link_tracking_destination_url": "https://a.org/{ward}",
        "link_tracking_param_field": "ward",
    }
    assert (
        succeed(own.run("edit_project", "j2", project_id=project_id, **changes))["link_tracking_param_field"] == "ward"
    )

    # What would be refused is looked at, and not asked for.
    assert [request.method for request in own.made] == ["GET", "GET", "PATCH", "GET", "GET", "PATCH"]


def test_a_name_is_changed_by_one_request(driver: Driver) -> None:
    own = Driver(driver.sandbox)

    succeed(own.run("edit_project", project_id=draft(driver), name="Renamed"))

    assert [request.method for request in own.made] == ["PATCH"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"protocol": "rcs"}, "protocol"),
        ({"message_text": "x" * 1592}, "message_text"),  # with STOP=END, one too many
        ({"phone_number_ids": []}, "phone_number_ids"),
        ({"contact_list_ids": []}, "contact_list_ids"),
        ({"brand_id": None}, "brand_id"),
        ({"toll_free_verification_id": "t"}, "toll_free_verification_id"),
        ({"channel": "toll-free"}, "brand_id"),
        ({"channel": "short-code"}, "channel"),
        ({"opt_out_footer_enabled": "no"}, "opt_out_footer_enabled"),
        ({"send_at": "now"}, "send_at"),
        ({"link_tracking_domain_id": "d"}, "link_tracking_domain_id"),
        ({"link_tracking_enabled": True, "link_tracking_domain_id": "d"}, "link_tracking_destination_url"),
        (
            {"link_tracking_enabled": True, "link_tracking_domain_id": "d",
             "link_tracking_destination_url": "https://a.org/{zip}", "link_tracking_param_field": "ward"},
            "link_tracking_destination_url",
        ),
        (
            {"link_tracking_enabled": True, "link_tracking_domain_id": "d",
             "link_tracking_destination_url": "example.org/vote"},
            "link_tracking_destination_url",
        ),
        (
            {"link_tracking_enabled": True, "link_tracking_domain_id": "d",
             "link_tracking_destination_url": "https://{page}"},
            "link_tracking_fallback_url",
        ),
        (
            {"link_tracking_enabled": True, "link_tracking_domain_id": "d",
             "link_tracking_destination_url": "https://{phone}", "link_tracking_fallback_url": "https://a.org"},
            "link_tracking_destination_url",
        ),
        (
            {"link_tracking_enabled": True, "link_tracking_domain_id": "d",
             "link_tracking_destination_url": "https://{page}", "link_tracking_fallback_url": "a.org"},
            "link_tracking_fallback_url",
        ),
        *(
            ({"link_tracking_enabled": True, "link_tracking_domain_id": "d", "link_tracking_destination_url": url,
              "link_tracking_fallback_url": "https://a.org" if url == "https://{}" else None},
             "link_tracking_destination_url")
            for url in ("https://{}", "https://a.org/{phone", "https://a.org/phone}")
        ),
    ],
)  # fmt: skip
def test_a_project_that_would_be_refused_is_not_created(driver: Driver, wrong: dict[str, Any], field: str) -> None:
    fields = {name: value for name, value in {**PROJECT, **wrong}.items() if value is not None}
    with pytest.raises(InvalidMessage) as refused:
        driver.run("create_project", **fields)

    assert refused.value.field == field


def test_a_project_with_everything_is_taken(driver: Driver) -> None:
    media = driver.ask("import_media", source_url=PICTURE)
    project_id = draft(
        driver,
        protocol="mms",
        message_text="x" * 1600,
        opt_out_footer_enabled=False,
        media_ids=[media["id"]],
        suppression_list_ids=["sup_1"],
        link_tracking_enabled=True,
        link_tracking_domain_id="01JV0DOM0000000000000000G1",
        link_tracking_destination_url="https://example.org/{ward}",
        link_tracking_param_field="ward",
    )

    project = driver.ask("project", project_id=project_id)

    assert (project["protocol"], project["link_tracking_param_field"], project["total_recipients"]) == (
        "mms",
        "ward",
        20,
    )
    assert project["organization_id"] == ROOT


@pytest.mark.parametrize(
    ("changes", "field"),
    [({}, "changes"), ({"brand_id": "b"}, "brand_id"), ({"organization_id": "o"}, "organization_id"),
     ({"message_text": ""}, "message_text"), ({"status": "paused"}, "status")],
)  # fmt: skip
def test_an_edit_that_would_be_refused_is_not_asked_for(driver: Driver, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        driver.run("edit_project", project_id="p", **changes)

    assert refused.value.field == field


def test_without_an_organization_a_project_needs_one() -> None:
    account = Account("pc-main", PROVIDER.base_url, {"api_key": "pc_live_0123456789abcdef"})

    with pytest.raises(InvalidMessage, match=r"^organization_id: is required: give it, or set organization_id"):
        PROVIDER.operations["create_project"].check(account, PROJECT)
