"""What an error says to whoever asked: words of ours beside its code, and the names in its details that we know.

Nothing else of an answer is handed on: its sentences may quote whom a message is for, and what it says.
"""

import re
from collections.abc import Mapping
from typing import Any

from paceline.politicalcomms import rules as rules
from providers.answers import json_object
from providers.base import Response

# By code, from the reference's error table; each says what to change.
REMEDIES: Mapping[str, str] = {
    "VALIDATION_ERROR": "correct what was asked for",
    "INVALID_DATE_FORMAT": "dates are YYYY-MM-DD",
    "RANGE_TOO_LARGE": "ask for fewer days, and set the account's option dates.max_range_days to what is allowed",
    "RANGE_TOO_OLD": "ask for later days, and set the account's option dates.max_age_days to what is allowed",
    "BRAND_ORG_MISMATCH": "brand_id must be of organization_id",
    "INVALID_LINK_PLACEHOLDER": f"link_tracking_destination_url {rules.ONE_PLACEHOLDER}",
    "NOT_FOUND": "there is nothing of this id that api_key reaches",
    "CONFLICT": "not as it stands now: see its status",
    "CONTACT_LIST_IN_USE": "a project uses it",
    "MEDIA_IN_USE": "a project uses it",
}
_FIELDS = {*rules.PROJECT_FIELDS, *rules.IMPORT_FIELDS, "test_contacts", "scheduled_at", "scheduled_timezone",
           "daily_cap_bypass", "reason", "text", "usage", "status", "limit", "offset", "cursor", "updated_since",
           "startDate", "endDate", "organizationId", "brandId", "campaignId", "project_id", "type"}  # fmt: skip
_PROJECT = re.compile(r"[a-z]{2,8}_[A-Za-z0-9]{4,40}|[0-9A-HJKMNP-TV-Z]{26}")  # as both generations write their ids
_STEP = re.compile(r"[A-Za-z][A-Za-z_]{0,39}")
SCOPES = ("organization", "platform")  # for which sending is paused


def remedy(code: str, status: int) -> str:
    """What to do about an error, for an operation; empty where nothing is known but its code."""
    return REMEDIES.get(code or ("NOT_FOUND" if status == 404 else ""), "")


def names(response: Response) -> str:
    """What its details name, in brackets: fields that are wrong, steps that are missing, projects, who paused."""
    details = json_object(response.body).get("details")
    found: list[str] = []
    if isinstance(details, list):
        found = [name for name in map(_field, details) if name]
    elif isinstance(details, dict):
        found = _texts(details.get("missingSteps"), _STEP)
        found += [scope for scope in (details.get("scope"),) if scope in SCOPES]
        found += _texts(details.get("projects"), _PROJECT)
    return f" ({', '.join(dict.fromkeys(found[:8]))})" if found else ""


def _texts(found: object, pattern: re.Pattern[str]) -> list[str]:
    items = found if isinstance(found, list) else []
    return [item for item in items if isinstance(item, str) and pattern.fullmatch(item)]


def _field(issue: Any) -> str:
    """The field that an issue is about, if it is one of the API's own."""
    named = issue.get("field", issue.get("path")) if isinstance(issue, dict) else None
    if isinstance(named, list) and named:
        named = named[0]
    name = re.split(r"[.\[]", named, maxsplit=1)[0] if isinstance(named, str) else ""
    return name if name in _FIELDS else ""
