"""Which paths there are, what each takes in its query, and who answers it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from sandbox.call import Answer, Call
from sandbox.politicalcomms.refused import invalid
from sandbox.politicalcomms.settings import KeyRule

ORGANIZATION, BRAND, CAMPAIGN = "organization_id", "brand_id", "campaign_id"
PERIOD = ("startDate", "endDate", "organizationId", "brandId", "campaignId")
# (method, path below /v1, name of its endpoint, query)
TABLE: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("GET", "/organizations", "organizations", ()),
    ("GET", "/hierarchy", "hierarchy", ("organizationId",)),
    ("GET", "/brands", "brands", (ORGANIZATION,)),
    ("GET", "/campaigns", "campaigns", (ORGANIZATION, BRAND)),
    ("GET", "/campaigns/{id}/throughput", "campaign_throughput", ()),
    ("GET", "/tracking-domains", "tracking_domains", (ORGANIZATION,)),
    ("GET", "/phone-numbers", "phone_numbers", (ORGANIZATION, BRAND, CAMPAIGN, "channel", "owner_type")),
    ("GET", "/toll-free-verifications", "verifications", (ORGANIZATION, "status")),
    ("GET", "/toll-free-verifications/{id}", "verification", ()),
    ("GET", "/contact-lists", "contact_lists", (ORGANIZATION, BRAND)),
    ("POST", "/contact-lists/import", "import_list", ()),
    ("GET", "/contact-lists/{id}", "contact_list", ()),
    ("DELETE", "/contact-lists/{id}", "delete_list", ()),
    ("POST", "/contact-lists/{id}/analyze", "analyze", ()),
    ("GET", "/contact-lists/{id}/download", "download", ("type",)),
    ("GET", "/media", "media", (ORGANIZATION, BRAND)),
    ("POST", "/media", "import_media", ()),
    ("GET", "/media/{id}", "media_file", ()),
    ("DELETE", "/media/{id}", "delete_media", ()),
    ("GET", "/projects", "projects", (ORGANIZATION, BRAND, CAMPAIGN, "type")),
    ("POST", "/projects", "create", ()),
    ("GET", "/projects/stats", "projects_stats", (*PERIOD, "status", "limit", "offset")),
    ("GET", "/projects/{id}", "project", ()),
    ("PATCH", "/projects/{id}", "edit", ()),
    ("GET", "/projects/{id}/stats", "stats", ()),
    ("GET", "/projects/{id}/throughput", "throughput", ()),
    ("POST", "/projects/{id}/test", "test", ()),
    ("POST", "/projects/{id}/schedule", "schedule", ()),
    ("POST", "/projects/{id}/unschedule", "unschedule", ()),
    ("POST", "/projects/{id}/pause", "pause", ()),
    ("POST", "/projects/{id}/copy", "copy", ()),
    ("GET", "/conversations", "conversations", ("project_id", "updated_since", "include_test", "limit", "cursor")),
    ("GET", "/conversations/{id}", "conversation", ()),
    ("GET", "/conversations/{id}/messages", "conversation_messages", ("limit", "cursor")),
    ("POST", "/conversations/{id}/messages", "reply", ()),
    ("GET", "/messages/stats", "message_stats", PERIOD),
    ("GET", "/ledger/usage", "usage", PERIOD),
    ("GET", "/ledger/usage/by-initiator", "by_initiator", ("startDate", "endDate", "organizationId")),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that may be answered: who asks, what for, and about which id."""

    call: Call
    rule: KeyRule
    reach: list[str]
    query: dict[str, str]
    id: str = ""

    @property
    def key(self) -> str:
        """The key that it was asked with."""
        return self.call.headers["X-API-Key"]


Endpoint = Callable[[Asked], Answer]


class Route(NamedTuple):
    """One line of the table, ready to be matched."""

    method: str
    pattern: re.Pattern[str]
    endpoint: str
    query: tuple[str, ...]


ROUTES = tuple(
    Route(method, re.compile(re.escape(path).replace(r"\{id\}", r"(?P<id>[^/]+)")), endpoint, query)
    for method, path, endpoint, query in TABLE
)


def find(method: str, path: str) -> tuple[Route, str] | None:
    """The route of a request, and the id in its path."""
    for route in ROUTES:
        match = route.pattern.fullmatch(path) if route.method == method else None
        if match is not None:
            return route, match.groupdict().get("id", "")
    return None


def query_of(route: Route, call: Call) -> dict[str, str]:
    """The query; raises `Refused` for a name that this endpoint does not have: some are snake_case, some camelCase."""
    for name in call.query:
        if name not in route.query:
            raise invalid(name, "is not a parameter of this endpoint.")
    return dict(call.query)
