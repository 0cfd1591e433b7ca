"""Political Comms, each question and change as the documented request, and what is refused before it is made."""

from datetime import date, timedelta
from typing import Any

import pytest

from paceline.errors import InvalidMessage
from providers.base import Account, Job
from providers.politicalcomms import PROVIDER
from tests.contract.politicalcomms_support import (
    CSV_URL,
    SCHEDULE,
)

TEST = [{"phone": "+15555550100"}]
LIST: dict[str, Any] = {"source_url": CSV_URL, "list_name": "D5", "phone_column": "cell"}


# Requests

SCHEDULED = (
    b'{"scheduled_at":"2026-03-21T09:00:00-04:00","scheduled_timezone":"America/New_York","daily_cap_bypass":false}'
)


@pytest.mark.parametrize(
    ("name", "arguments", "url"),
    [
        ("organizations", {}, "/organizations"),
        ("hierarchy", {"organization_id": "o"}, "/hierarchy?organizationId=o"),
        ("brands", {"organization_id": "o"}, "/brands?organization_id=o"),
        ("campaigns", {"organization_id": "o", "brand_id": "b"}, "/campaigns?organization_id=o&brand_id=b"),
        ("campaign_throughput", {"campaign_id": "c"}, "/campaigns/c/throughput"),
        ("tracking_domains", {"organization_id": "o"}, "/tracking-domains?organization_id=o"),
        (
            "phone_numbers",
            {"organization_id": "o", "brand_id": "b", "campaign_id": "c", "channel": "10dlc", "owner_type": "campaign"},
            "/phone-numbers?organization_id=o&brand_id=b&campaign_id=c&channel=10dlc&owner_type=campaign",
        ),
        (
            "toll_free_verifications",
            {"organization_id": "o", "status": "In Progress"},
            "/toll-free-verifications?organization_id=o&status=In+Progress",
        ),
        ("toll_free_verification", {"toll_free_verification_id": "t"}, "/toll-free-verifications/t"),
        ("contact_lists", {"organization_id": "o", "brand_id": "b"}, "/contact-lists?organization_id=o&brand_id=b"),
        ("contact_list", {"list_id": "l"}, "/contact-lists/l"),
        ("media", {"brand_id": "b"}, "/media?brand_id=b"),
        ("media_file", {"media_id": "m"}, "/media/m"),
        ("projects", {"campaign_id": "c", "type": "broadcast"}, "/projects?campaign_id=c&type=broadcast"),
        ("project", {"project_id": "p"}, "/projects/p"),
        ("project_stats", {"project_id": "p"}, "/projects/p/stats"),
        ("project_throughput", {"project_id": "p"}, "/projects/p/throughput"),
        (
            "projects_stats",
            {"start_date": "2026-01-01", "end_date": "2026-01-31", "campaign_id": "c", "status": "all", "limit": 5,
             "offset": 0, "today": "2026-02-01"},
            "/projects/stats?startDate=2026-01-01&endDate=2026-01-31&campaignId=c&status=all&limit=5&offset=0",
        ),
        (
            "conversations",
            {"project_id": "p", "updated_since": "2026-01-01T00:00:00+00:00", "include_test": False, "cursor": "x="},
            "/conversations?project_id=p&updated_since=2026-01-01T00%3A00%3A00%2B00%3A00&include_test=false&cursor=x%3D",
        ),
        ("conversation", {"conversation_id": "c"}, "/conversations/c"),
        ("conversation_messages", {"conversation_id": "c", "limit": 200}, "/conversations/c/messages?limit=200"),
        (
            "message_stats",
            {"start_date": "2026-01-01", "end_date": "2026-01-31", "organization_id": "o", "brand_id": "b"},
            "/messages/stats?startDate=2026-01-01&endDate=2026-01-31&organizationId=o&brandId=b",
        ),
        ("usage", {"start_date": "2026-01-01", "end_date": "2026-01-01"},
         "/ledger/usage?startDate=2026-01-01&endDate=2026-01-01"),
        ("usage_by_initiator", {"start_date": "2026-01-01", "end_date": "2026-01-01", "organization_id": "o"},
         "/ledger/usage/by-initiator?startDate=2026-01-01&endDate=2026-01-01&organizationId=o"),
    ],
)  # fmt: skip
def test_a_question_is_the_documented_request(name: str, arguments: dict[str, Any], url: str) -> None:
    account = Account("pc-main", PROVIDER.base_url, {"api_key": "pc_live_0123456789abcdef"})
    operation = PROVIDER.operations[name]

    operation.check(account, arguments)
    request = operation.build(account, Job("j", arguments))

    assert (request.method, request.url, request.body) == ("GET", PROVIDER.base_url + url, b"")
    assert set(request.headers) == {"X-API-Key", "Accept"}
    assert set(arguments) <= set(operation.arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "method", "path", "body"),
    [
        ("delete_contact_list", {"list_id": "l"}, "DELETE", "/contact-lists/l", b""),
        ("delete_media", {"media_id": "m"}, "DELETE", "/media/m", b""),
        ("edit_project", {"project_id": "p", "name": "New"}, "PATCH", "/projects/p", b'{"name":"New"}'),
        ("pause_project", {"project_id": "p"}, "POST", "/projects/p/pause", b"{}"),
        ("pause_project", {"project_id": "p", "reason": "late"}, "POST", "/projects/p/pause", b'{"reason":"late"}'),
        ("unschedule_project", {"project_id": "p"}, "POST", "/projects/p/unschedule", b""),
        ("copy_project", {"project_id": "p"}, "POST", "/projects/p/copy", b""),
        ("test_project", {"project_id": "p", "test_contacts": TEST}, "POST", "/projects/p/test",
         b'{"test_contacts":[{"phone":"+15555550100"}]}'),
        *(
            (name, {"project_id": "p", **SCHEDULE}, "POST", "/projects/p/schedule",
             SCHEDULED)
            for name in ("schedule_project", "resume_project")
        ),
    ],
)  # fmt: skip
def test_a_change_is_the_documented_request(
    name: str, arguments: dict[str, Any], method: str, path: str, body: bytes
) -> None:
    account = Account("pc-main", PROVIDER.base_url, {"api_key": "pc_live_0123456789abcdef"})
    operation = PROVIDER.operations[name]

    operation.check(account, arguments)
    request = operation.build(account, Job("j", arguments))

    assert (request.method, request.url, request.body) == (method, PROVIDER.base_url + path, body)
    assert request.headers["Idempotency-Key"]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"start_date": "01.01.2026", "end_date": "2026-01-31"}, "start_date"),
        ({"start_date": "2026-02-30", "end_date": "2026-03-01"}, "start_date"),
        ({"start_date": "2026-01-02", "end_date": "2026-01-01"}, "end_date"),
        ({"start_date": "2026-01-01", "end_date": "2026-02-01"}, "end_date"),
        ({"start_date": "2026-01-01", "end_date": "2026-01-31", "today": "2026-04-02"}, "start_date"),
    ],
)
@pytest.mark.parametrize("name", ["message_stats", "usage", "usage_by_initiator", "projects_stats"])
def test_a_period_that_would_be_refused_is_not_asked_for(name: str, arguments: dict[str, Any], field: str) -> None:
    account = Account("pc-main", PROVIDER.base_url, {"api_key": "pc_live_0123456789abcdef"})
    with pytest.raises(InvalidMessage) as refused:
        PROVIDER.operations[name].check(account, arguments)

    assert refused.value.field == field


@pytest.mark.parametrize(("name", "most"), [("usage", 180), ("message_stats", 180), ("projects_stats", 90)])
def test_generation_2_allows_more_where_the_options_say_so(name: str, most: int) -> None:
    options = {"dates.max_range_days": 180, "dates.max_age_days": 180}
    account = Account("pc-main", PROVIDER.base_url, {"api_key": "pc_live_0123456789abcdef"}, options)
    today = date(2026, 11, 1)

    def ask(days: int) -> None:
        start = (today - timedelta(days=most)).isoformat()
        end = (today - timedelta(days=most - days + 1)).isoformat()
        PROVIDER.operations[name].check(account, {"start_date": start, "end_date": end, "today": today.isoformat()})

    ask(most)
    with pytest.raises(InvalidMessage):
        ask(most + 1)


def test_the_longest_and_oldest_period_is_taken() -> None:
    account = Account("pc-main", PROVIDER.base_url, {"api_key": "pc_live_0123456789abcdef"})
    arguments = {"start_date": "2026-01-01", "end_date": "2026-01-31", "today": "2026-04-01"}

    PROVIDER.operations["usage"].check(account, arguments)
