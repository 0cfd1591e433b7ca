"""What Political Comms answers in one request: the hierarchy, lists, projects, conversations, reports."""

from collections.abc import Mapping
from typing import Any

from paceline.capabilities import Rule
from paceline.politicalcomms import rules as rules
from providers.base import Account, Operation, Option
from providers.politicalcomms.calls import check_flag, each, one, question, whole
from providers.politicalcomms.reports import daily, initiators, page, project_stats, stats_page, usage

# "Rate limits" and "Best practices" ask that hierarchy data be cached for 5 to 10 minutes.
HIERARCHY_FRESH_FOR = 300.0

OPTIONS = {
    "dates.max_range_days": Option(31, "most days of one report; generation 2 allows 180", least=1),
    "dates.max_age_days": Option(90, "how many days ago a report may begin; generation 2 allows 180", least=1),
}

SNAKE = {name: name for name in ("organization_id", "brand_id", "campaign_id")}
CAMEL = {"organization_id": "organizationId", "brand_id": "brandId", "campaign_id": "campaignId"}
PERIOD = {"start_date": "startDate", "end_date": "endDate"}
_LIMIT = Rule(min_number=1, max_number=200, whole=True)
_DAY = Rule(required=True, pattern=r"[0-9]{4}-[0-9]{2}-[0-9]{2}", hint="a date as YYYY-MM-DD")
# `today` is the caller's date, by which the age of a report is judged: a provider reads no clock.
_DAYS = {"start_date": _DAY, "end_date": _DAY, "today": Rule(pattern=_DAY.pattern, hint=_DAY.hint)}


def _range(account: Account, arguments: Mapping[str, Any], most: int | None = None) -> None:
    longest, oldest = _option(account, "dates.max_range_days"), _option(account, "dates.max_age_days")
    rules.check_period(
        arguments["start_date"],
        arguments["end_date"],
        max_days=longest if most is None else min(longest, most),
        max_age=oldest if most is None else min(oldest, most),
        today=arguments.get("today"),
    )


def _since(_account: Account, arguments: Mapping[str, Any]) -> None:
    if arguments.get("updated_since") is not None:
        rules.check_since(arguments["updated_since"], arguments.get("today"))
    check_flag(arguments, "include_test")


def _stats(account: Account, arguments: Mapping[str, Any]) -> None:
    _range(account, arguments, most=rules.OLDEST_PROJECT_STATS)


def _option(account: Account, name: str) -> Any:
    return account.options.get(name, OPTIONS[name].default)


def _list(
    meaning: str, path: str, name: str, query: Mapping[str, str], fresh_for: float = 0.0, **more: Rule
) -> Operation:
    return question(meaning, path, each(name), query, more, fresh_for=fresh_for)


QUESTIONS: Mapping[str, Operation] = {
    "organizations": _list("the organizations that the key reaches", "/organizations", "organization_id", {},
                           HIERARCHY_FRESH_FOR),
    "hierarchy": question("organizations, brands and campaigns as a tree", "/hierarchy", whole,
                           {"organization_id": "organizationId"}, fresh_for=HIERARCHY_FRESH_FOR),
    "brands": _list("brands", "/brands", "brand_id", {"organization_id": "organization_id"}, HIERARCHY_FRESH_FOR),
    "campaigns": _list("campaigns", "/campaigns", "campaign_id",
                       {name: name for name in ("organization_id", "brand_id")}, HIERARCHY_FRESH_FOR),
    "phone_numbers": _list(
        "phone numbers", "/phone-numbers", "phone_number_id",
        SNAKE | {"channel": "channel", "owner_type": "owner_type"}, HIERARCHY_FRESH_FOR,
        channel=Rule(one_of=("10dlc", "toll-free", "short-code", "rcs")),
        owner_type=Rule(one_of=("campaign", "toll_free_registration", "short_code", "unassigned")),
    ),
    "tracking_domains": _list("domains for tracked links", "/tracking-domains", "tracking_domain_id",
                              {"organization_id": "organization_id"}, HIERARCHY_FRESH_FOR),
    "toll_free_verifications": _list(
        "toll-free verifications", "/toll-free-verifications", "toll_free_verification_id",
        {"organization_id": "organization_id", "status": "status"}, HIERARCHY_FRESH_FOR,
        status=Rule(min_length=1),  # the carrier's own words and casing
    ),
    "toll_free_verification": question(
        "one toll-free verification, with its numbers", "/toll-free-verifications/{toll_free_verification_id}",
        one("toll_free_verification_id"), fresh_for=HIERARCHY_FRESH_FOR,
    ),
    "campaign_throughput": question("what the carriers still take of a campaign today; null is unknown, not zero",
                                     "/campaigns/{campaign_id}/throughput", whole),
    "contact_lists": _list("contact lists", "/contact-lists", "list_id",
                           {name: name for name in ("organization_id", "brand_id")}),
    "contact_list": question("one contact list: import, analysis, merge tags", "/contact-lists/{list_id}",
                              one("list_id")),
    "media": _list("media files", "/media", "media_id", {name: name for name in ("organization_id", "brand_id")}),
    "media_file": question("one media file", "/media/{media_id}", one("media_id")),
    "projects": _list("projects", "/projects", "project_id", SNAKE | {"type": "type"}, type=Rule(min_length=1)),
    "project": question("one project", "/projects/{project_id}", one("project_id")),
    "project_stats": question("what became of a project's messages", "/projects/{project_id}/stats", project_stats),
    "project_throughput": question("how fast the carriers will take a project",
                                    "/projects/{project_id}/throughput", whole),
    "projects_stats": question(
        "statistics of projects, in pages", "/projects/stats", stats_page,
        PERIOD | CAMEL | {"status": "status", "limit": "limit", "offset": "offset"},
        _DAYS | {"status": Rule(one_of=("draft", "active", "completed", "paused", "all")),
                 "limit": Rule(min_number=1, max_number=1000, whole=True),
                 "offset": Rule(min_number=0, max_number=10**9, whole=True)}, _stats,
    ),
    "conversations": question(
        "conversations with an answer in them, newest first, in pages", "/conversations", page("conversation_id"),
        {name: name for name in ("project_id", "updated_since", "include_test", "limit", "cursor")},
        {"updated_since": Rule(min_length=1), "include_test": Rule(), "limit": _LIMIT,
         "cursor": Rule(min_length=1), "today": _DAYS["today"]}, _since,
    ),
    "conversation": question("one conversation", "/conversations/{conversation_id}", one("conversation_id")),
    "conversation_messages": question(
        "a conversation's messages, newest first, in pages", "/conversations/{conversation_id}/messages",
        page("message_id"), {"limit": "limit", "cursor": "cursor"},
        {"limit": _LIMIT, "cursor": Rule(min_length=1)},
    ),
    "message_stats": question("messages by status and day", "/messages/stats", daily, PERIOD | CAMEL, _DAYS, _range),
    "usage": question("what was charged", "/ledger/usage", usage, PERIOD | CAMEL, _DAYS, _range),
    "usage_by_initiator": question(
        "what was charged, by the organization that sent", "/ledger/usage/by-initiator", initiators,
        PERIOD | {"organization_id": "organizationId"}, _DAYS, _range,
    ),
}  # fmt: skip
