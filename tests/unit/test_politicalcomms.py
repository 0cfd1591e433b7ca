"""`PoliticalComms`: each method names its operation and its arguments, and refuses at once what the API would."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from paceline.errors import InvalidMessage
from paceline.politicalcomms import PoliticalComms
from paceline.politicalcomms import rules as rules
from paceline.politicalcomms.operations import today
from providers.politicalcomms import OPERATIONS

TODAY = today()
WEEK = TODAY - timedelta(days=7)
AT = datetime(2026, 3, 21, 9, tzinfo=timezone(timedelta(hours=-4)))
ZONE = "America/New_York"
PROJECT: dict[str, Any] = {
    "name": "Spring",
    "protocol": "sms",
    "message_text": "Hi",
    "phone_number_ids": ["n"],
    "brand_id": "b",
    "campaign_id": "c",
}
BROADCAST: dict[str, Any] = {
    **{name: value for name, value in PROJECT.items() if name != "protocol"},
    "source_url": "https://x.org/a.csv",
    "phone_column": "p",
}
SCHEDULED = {
    "scheduled_at": "2026-03-21T09:00:00-04:00",
    "scheduled_timezone": ZONE,
    "daily_cap_bypass": False,
}
PERIOD = {"start_date": WEEK.isoformat(), "end_date": TODAY.isoformat(), "today": TODAY.isoformat()}


class Asked:
    """Notes what was asked for, and answers as the operation would."""

    def __init__(self) -> None:
        self.called: list[tuple[str, str, dict[str, Any]]] = []
        self.client = PoliticalComms(self._call, self._start)

    def _call(self, operation: str, /, **arguments: Any) -> Any:
        self.called.append(("call", operation, arguments))
        lists = ("organizations", "brands", "campaigns", "phone_numbers", "tracking_domains", "toll_free_verifications",
                 "contact_lists", "media", "projects")  # fmt: skip
        return [{"id": "1"}] if operation in lists else {"id": "1"}

    def _start(self, operation: str, /, **arguments: Any) -> str:
        self.called.append(("start", operation, arguments))
        return "job-1"


Method = Callable[[PoliticalComms], Any]
METHODS: list[tuple[Method, str, dict[str, Any]]] = [
    (lambda pc: pc.organizations(), "organizations", {}),
    (lambda pc: pc.hierarchy(organization_id="o"), "hierarchy", {"organization_id": "o"}),
    (lambda pc: pc.brands(organization_id="o"), "brands", {"organization_id": "o"}),
    (lambda pc: pc.campaigns(brand_id="b"), "campaigns", {"brand_id": "b"}),
    (
        lambda pc: pc.phone_numbers(brand_id="b", campaign_id="c", channel="10dlc", owner_type="campaign"),
        "phone_numbers",
        {"brand_id": "b", "campaign_id": "c", "channel": "10dlc", "owner_type": "campaign"},
    ),
    (lambda pc: pc.tracking_domains(), "tracking_domains", {}),
    (lambda pc: pc.toll_free_verifications(status="draft"), "toll_free_verifications", {"status": "draft"}),
    (lambda pc: pc.toll_free_verification("t"), "toll_free_verification", {"toll_free_verification_id": "t"}),
    (lambda pc: pc.campaign_throughput("c"), "campaign_throughput", {"campaign_id": "c"}),
    (lambda pc: pc.contact_lists(brand_id="b"), "contact_lists", {"brand_id": "b"}),
    (lambda pc: pc.contact_list("l"), "contact_list", {"list_id": "l"}),
    (
        lambda pc: pc.start_import_contacts(
            "https://x.org/a.csv", list_name="A", phone_column="p", merge_tags={"zip": "ZIP"}
        ),
        "import_contacts",
        {"source_url": "https://x.org/a.csv", "list_name": "A", "phone_column": "p", "merge_tags": {"zip": "ZIP"}},
    ),
    (lambda pc: pc.analysis_cost("l"), "analysis_cost", {"list_id": "l"}),
    (lambda pc: pc.start_analyze("l", confirm=True), "analyze", {"list_id": "l", "confirm": True}),
    (
        lambda pc: pc.start_analyze("l", max_cost_cents=5),
        "analyze",
        {"list_id": "l", "confirm": False, "max_cost_cents": 5},
    ),
    (lambda pc: pc.delete_contact_list("l"), "delete_contact_list", {"list_id": "l"}),
    (lambda pc: pc.media(), "media", {}),
    (lambda pc: pc.media_file("m"), "media_file", {"media_id": "m"}),
    (
        lambda pc: pc.start_import_media("https://x.org/a.jpg", name="hero"),
        "import_media",
        {"source_url": "https://x.org/a.jpg", "name": "hero", "reuse": True},
    ),
    (lambda pc: pc.delete_media("m"), "delete_media", {"media_id": "m"}),
    (lambda pc: pc.projects(type="broadcast"), "projects", {"type": "broadcast"}),
    (lambda pc: pc.project("p"), "project", {"project_id": "p"}),
    (lambda pc: pc.create_project(**PROJECT), "create_project", PROJECT),
    (lambda pc: pc.edit_project("p", name="N"), "edit_project", {"project_id": "p", "name": "N"}),
    (
        lambda pc: pc.test_project("p", [{"phone": "+15555550100"}]),
        "test_project",
        {"project_id": "p", "test_contacts": [{"phone": "+15555550100"}]},
    ),
    (
        lambda pc: pc.schedule_project("p", scheduled_at=AT, timezone=ZONE),
        "schedule_project",
        {"project_id": "p", **SCHEDULED},
    ),
    (
        lambda pc: pc.resume_project("p", scheduled_at=AT, timezone=ZONE, daily_cap_bypass=True),
        "resume_project",
        {"project_id": "p", **SCHEDULED, "daily_cap_bypass": True},
    ),
    (lambda pc: pc.unschedule_project("p"), "unschedule_project", {"project_id": "p"}),
    (lambda pc: pc.pause_project("p", reason="rain"), "pause_project", {"project_id": "p", "reason": "rain"}),
    (lambda pc: pc.copy_project("p"), "copy_project", {"project_id": "p"}),
    (lambda pc: pc.project_stats("p"), "project_stats", {"project_id": "p"}),
    (lambda pc: pc.project_throughput("p"), "project_throughput", {"project_id": "p"}),
    (lambda pc: pc.projects_stats(WEEK, TODAY), "projects_stats", {**PERIOD, "limit": 100, "offset": 0}),
    (lambda pc: pc.start_watch("p"), "watch", {"project_id": "p"}),
    (
        lambda pc: pc.start_broadcast(scheduled_at=AT, timezone=ZONE, idempotency_key="k", **BROADCAST),
        "broadcast",
        {**BROADCAST, **SCHEDULED},
    ),
    (lambda pc: pc.conversations(), "conversations", {"include_test": False, "limit": 50}),
    (lambda pc: pc.conversation("c"), "conversation", {"conversation_id": "c"}),
    (
        lambda pc: pc.conversation_messages("c", cursor="x"),
        "conversation_messages",
        {"conversation_id": "c", "limit": 50, "cursor": "x"},
    ),
    (lambda pc: pc.message_stats(WEEK, TODAY, campaign_id="c"), "message_stats", {**PERIOD, "campaign_id": "c"}),
    (lambda pc: pc.usage(WEEK, TODAY), "usage", PERIOD),
    (lambda pc: pc.usage_by_initiator(WEEK, TODAY), "usage_by_initiator", PERIOD),
]


@pytest.mark.parametrize(("method", "operation", "arguments"), METHODS, ids=[name for _, name, _ in METHODS])
def test_a_method_is_an_operation(method: Method, operation: str, arguments: dict[str, Any]) -> None:
    asked = Asked()

    answer = method(asked.client)

    [(way, name, given)] = asked.called
    assert given.pop("idempotency_key", "k") == "k"
    assert (name, given) == (operation, arguments)
    assert answer == ("job-1" if way == "start" else [{"id": "1"}] if isinstance(answer, list) else {"id": "1"})
    assert set(given) <= set(OPERATIONS[operation].arguments)


def test_every_operation_has_its_method() -> None:
    assert {name for _, name, _ in METHODS} | {"download_contact_list"} == set(OPERATIONS)


@pytest.mark.parametrize(
    "method",
    [
        lambda pc: pc.start_import_contacts("https://x.org/u", list_name="A", phone_column="p", idempotency_key="k"),
        lambda pc: pc.start_analyze("l", confirm=True, idempotency_key="k"),
        lambda pc: pc.start_import_media("https://x.org/u", idempotency_key="k"),
        lambda pc: pc.start_watch("p", idempotency_key="k"),
        lambda pc: pc.start_broadcast(scheduled_at=AT, timezone=ZONE, idempotency_key="k", **BROADCAST),
        lambda pc: pc.create_project(idempotency_key="k", **PROJECT),
        lambda pc: pc.copy_project("p", idempotency_key="k"),
        lambda pc: pc.test_project("p", [{"phone": "+15555550100"}], idempotency_key="k"),
    ],
)
def test_what_makes_something_takes_an_idempotency_key(method: Method) -> None:
    asked = Asked()

    method(asked.client)

    assert asked.called[0][2]["idempotency_key"] == "k"


def test_resuming_is_now_unless_a_time_is_given() -> None:
    asked = Asked()

    asked.client.resume_project("p", timezone=ZONE)

    at = datetime.fromisoformat(asked.called[0][2]["scheduled_at"])
    assert abs((at - datetime.now(UTC)).total_seconds()) < 60


NAIVE = datetime(2026, 3, 21, 9)  # noqa: DTZ001  # the mistake
REFUSED: list[tuple[Method, str]] = [
    (
        lambda pc: pc.start_import_contacts("https://x.org/u", list_name="A", phone_column="p", merge_tags={"x": "y"}),
        "merge_tags.x",
    ),
    (lambda pc: pc.start_analyze("l"), "confirm"),
    (lambda pc: pc.create_project(**{**PROJECT, "protocol": "rcs"}), "protocol"),
    (lambda pc: pc.create_project(**{**PROJECT, "body": "Hi"}), "body"),
    (lambda pc: pc.edit_project("p", channel="10dlc"), "channel"),
    (lambda pc: pc.edit_project("p"), "changes"),
    (lambda pc: pc.test_project("p", []), "test_contacts"),
    (lambda pc: pc.test_project("p", [{"phone": "+15555550100"}] * 51), "test_contacts"),
    (lambda pc: pc.test_project("p", [{"phone": "+495555550100"}]), "test_contacts[0].phone"),
    (lambda pc: pc.schedule_project("p", scheduled_at=NAIVE, timezone=ZONE), "scheduled_at"),
    (lambda pc: pc.schedule_project("p", scheduled_at=AT, timezone="Europe/Rome"), "scheduled_timezone"),
    (lambda pc: pc.pause_project("p", reason=""), "reason"),
    (lambda pc: pc.pause_project("p", reason="x" * 101), "reason"),
    (lambda pc: pc.projects_stats(WEEK, TODAY, limit=1001), "limit"),
    (lambda pc: pc.projects_stats(WEEK, TODAY, offset=-1), "offset"),
    (lambda pc: pc.conversations(limit=0), "limit"),
    (lambda pc: pc.conversations(updated_since=NAIVE), "updated_since"),
    (lambda pc: pc.conversations(updated_since=datetime.now(UTC) - timedelta(days=92)), "updated_since"),
    (lambda pc: pc.conversation_messages("c", limit=201), "limit"),
    (lambda pc: pc.usage(TODAY, WEEK), "end_date"),
    (lambda pc: pc.usage(WEEK.isoformat(), TODAY), "start_date"),  # type: ignore[arg-type]  # the mistake
    (lambda pc: pc.message_stats(WEEK, None), "end_date"),  # type: ignore[arg-type]  # the mistake
    (lambda pc: pc.schedule_project("p", scheduled_at="2026-03-21T09:00:00-04:00", timezone=ZONE), "scheduled_at"),  # type: ignore[arg-type]  # the mistake
    (lambda pc: pc.conversations(limit="50"), "limit"),  # type: ignore[arg-type]  # the mistake
    (lambda pc: pc.usage(TODAY - timedelta(days=31), TODAY), "end_date"),
    (lambda pc: pc.message_stats(TODAY - timedelta(days=91), TODAY - timedelta(days=80)), "start_date"),
    (lambda pc: pc.start_broadcast(scheduled_at=NAIVE, timezone=ZONE, **BROADCAST), "scheduled_at"),
    (lambda pc: pc.start_broadcast(scheduled_at=AT, timezone=ZONE, **BROADCAST, test_contacts=[]), "test_contacts"),
    (lambda pc: pc.start_broadcast(scheduled_at=AT, timezone=ZONE, **PROJECT), "source_url"),
    (lambda pc: pc.start_broadcast(scheduled_at=AT, timezone=ZONE, **{**BROADCAST, "brand_id": None}), "brand_id"),
]


@pytest.mark.parametrize(("method", "field"), REFUSED)
def test_a_mistake_is_refused_before_anything_is_asked(method: Method, field: str) -> None:
    asked = Asked()

    with pytest.raises(InvalidMessage) as refused:
        method(asked.client)

    assert refused.value.field == field
    assert asked.called == []


BREACHES: list[Method] = [
    lambda pc: pc.start_import_contacts("http://x.org/a.csv", list_name="A", phone_column="p"),
    lambda pc: pc.start_import_media("http://x.org/a.jpg"),
    lambda pc: pc.start_broadcast(scheduled_at=AT, timezone=ZONE, **{**BROADCAST, "source_url": "http://x.org/a.csv"}),
    lambda pc: pc.start_broadcast(scheduled_at=AT, timezone=ZONE, media_url="http://x.org/a.jpg", **BROADCAST),
]


@pytest.mark.parametrize("method", BREACHES)
def test_a_file_that_cannot_be_fetched_is_refused_at_once(method: Method) -> None:
    asked = Asked()

    with pytest.raises(InvalidMessage, match="_url: must be an https:// URL"):
        method(asked.client)

    assert asked.called == []


LIMITED: list[Method] = [
    lambda pc: pc.start_analyze("l", max_cost_cents=10),
    lambda pc: pc.start_broadcast(scheduled_at=AT, timezone=ZONE, analyze=True, max_cost_cents=10, **BROADCAST),
]


@pytest.mark.parametrize("method", LIMITED)
def test_a_cost_is_limited_only_where_the_price_is_known(method: Method) -> None:
    asked = Asked()

    with pytest.raises(InvalidMessage, match=r"max_cost_cents: needs the account's option analysis\.cents_per_number"):
        method(PoliticalComms(asked._call, asked._start, cents_per_number=0.0))
    assert asked.called == []

    method(PoliticalComms(asked._call, asked._start, cents_per_number=0.5))
    method(asked.client)  # nobody said what it costs: a worker does
    assert len(asked.called) == 2


@pytest.mark.parametrize("most", [-1, float("nan"), float("inf"), True, "10"])
def test_a_cost_is_a_number_of_cents(most: Any) -> None:
    with pytest.raises(InvalidMessage, match="max_cost_cents: must be a number of cents, 0 or more"):
        Asked().client.start_analyze("l", max_cost_cents=most)


def test_a_cost_without_an_analysis_limits_nothing() -> None:
    with pytest.raises(InvalidMessage, match="max_cost_cents: needs analyze = true"):
        Asked().client.start_broadcast(scheduled_at=AT, timezone=ZONE, max_cost_cents=10, **BROADCAST)


def test_a_longer_text_is_taken_where_the_account_says_so() -> None:
    asked = Asked()
    client = PoliticalComms(asked._call, asked._start, longest_text=2000)

    client.create_project(**{**PROJECT, "message_text": "x" * 1991})
    with pytest.raises(InvalidMessage, match="message_text: must have at most 2000 characters, this one has 2001"):
        client.create_project(**{**PROJECT, "message_text": "x" * 1992})

    assert len(asked.called) == 1


def test_generation_2_takes_longer_and_older_reports() -> None:
    asked = Asked()
    client = PoliticalComms(asked._call, asked._start, max_range_days=180, max_age_days=180)

    client.usage(TODAY - timedelta(days=179), TODAY)

    assert asked.called[0][2]["start_date"] == (TODAY - timedelta(days=179)).isoformat()
    with pytest.raises(InvalidMessage, match="end_date: must be within 90 days"):
        client.projects_stats(TODAY - timedelta(days=90), TODAY)
    client.projects_stats(TODAY - timedelta(days=89), TODAY)
    assert isinstance(TODAY, date)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/a.csv", "http://files:8000/a.csv", "https://10.0.0.1/a.csv"])
def test_a_private_file_is_taken_only_where_the_sandbox_fetches_it(url: str) -> None:
    rules.check_source("source_url", url, loopback=True)

    with pytest.raises(InvalidMessage):
        rules.check_source("source_url", url)


@pytest.mark.parametrize("loopback", [False, True])
@pytest.mark.parametrize("url", ["http://files.example.com/a.csv", "ftp://files.example.com/a.csv"])
def test_a_public_file_is_https_even_in_the_sandbox(url: str, loopback: bool) -> None:
    with pytest.raises(InvalidMessage, match="source_url: must be an https:// URL"):
        rules.check_source("source_url", url, loopback=loopback)
