"""Projects: what one is made of, and which changes each of its states allows."""

import re
from collections import Counter
from typing import Any

from sandbox.ids import token
from sandbox.politicalcomms.bodies import ProjectBody, ProjectPatch, given
from sandbox.politicalcomms.lists import ContactList
from sandbox.politicalcomms.refused import Refused, invalid
from sandbox.politicalcomms.settings import PoliticalCommsSettings
from sandbox.politicalcomms.world import BRANDS, CAMPAIGNS, NUMBERS, VERIFICATION, instant

FOOTER = " STOP=END"
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
IMMUTABLE = ("organization_id", "brand_id", "campaign_id", "channel", "toll_free_verification_id")
LINKS = ("destination_url", "domain_id", "param_field", "fallback_url")


class Project:
    """One project. Times are Unix seconds."""

    def __init__(self, fields: dict[str, Any], at: float, key: str) -> None:
        self.id = "proj_" + token(12)
        self.fields = fields
        self.key = key  # who made it
        self.created_at = self.updated_at = at
        self.status = "draft"
        self.scheduled_at: str | None = None
        self.timezone: str | None = None
        self.bypass = False
        self.pause_reason: str | None = None
        self.auto_paused = False
        self.was_auto_paused = False
        self.tested = False
        self.counts: Counter[str] = Counter()  # of the audience
        self.tests: Counter[str] = Counter()  # of test messages
        self.audience: list[tuple[str, dict[str, str]]] = []
        self.next = 0  # of the audience
        self.run = 0  # how often it was started or stopped: what was planned for an earlier run does not happen

    @property
    def organization(self) -> str:
        """Whose it is."""
        return str(self.fields["organization_id"])

    @property
    def lists(self) -> list[str]:
        """Its contact lists."""
        return list(self.fields.get("contact_list_ids") or ())

    def move(self, status: str, at: float) -> None:
        """Takes on a status."""
        self.status, self.updated_at = status, at
        self.run += 1

    def as_json(self, generation: int, recipients: int, cost: float, *, listed: bool = False) -> dict[str, Any]:
        """GET /projects/{id}, or an item of GET /projects."""
        fields = self.fields
        gen2 = generation == 2 and not listed
        return {
            "project_id" if gen2 else "id": self.id,
            "organization_id" if gen2 else "org_id": self.organization,
            "channel": fields["channel"],
            "brand_id": fields.get("brand_id"),
            "campaign_id": fields.get("campaign_id"),
            "toll_free_verification_id": fields.get("toll_free_verification_id"),
            "phone_number_ids": fields["phone_number_ids"],
            "name": fields["name"],
            "status": self.status,
            "type": "broadcast",
            "protocol": fields["protocol"],
            "message_text": fields["message_text"],
            "contact_list_ids": self.lists,
            "suppression_list_ids": fields.get("suppression_list_ids") or [],
            "media_ids": [],  # always: the reference says to read media_urls
            "media_urls": [f"https://media.politicalcomms.example/{id_}.jpg" for id_ in fields.get("media_ids") or ()],
            "link_tracking_enabled": bool(fields.get("link_tracking_enabled")),
            **{f"link_tracking_{name}": fields.get(f"link_tracking_{name}") for name in LINKS},
            "opt_out_footer_enabled": fields.get("opt_out_footer_enabled") is not False,
            "total_recipients": recipients,
            "estimated_cost_cents": cost,
            "scheduled_at": self.scheduled_at,
            "scheduled_timezone": self.timezone,
            "pause_reason": self.pause_reason,
            "auto_paused": self.auto_paused,
            "daily_cap_bypass": self.bypass,
            "created_via_api": True,
            "created_at": instant(self.created_at),
            "updated_at": instant(self.updated_at),
        }

    def stats(self, at: float) -> dict[str, Any]:
        """GET /projects/{id}/stats."""
        words = ("sent", "delivered", "undeliverable", "clicks_total", "clicks_unique", "replies", "opt_outs")
        tests = ("sent", "delivered", "failed", "replies", "clicks_total", "clicks_unique")
        return {
            "project_id": self.id,
            "status": self.status,
            "as_of": instant(at),
            "metrics": {word: self.counts[word] for word in words},
            "test": {word: self.tests[word] for word in tests},
        }


def fields_of(body: ProjectBody, settings: PoliticalCommsSettings) -> dict[str, Any]:
    """A new project's fields; raises `Refused`."""
    fields = body.model_dump(exclude={"phone_number_id"})
    if body.phone_number_ids is None:
        if body.phone_number_id is None:
            raise invalid("phone_number_ids", "is required.")
        fields["phone_number_ids"] = [body.phone_number_id]
    if settings.generation == 1 and not fields["contact_list_ids"]:
        raise invalid("contact_list_ids", "is required.")
    _check_channel(fields)
    _check(fields, settings)
    return fields


def patched(project: Project, body: ProjectPatch, settings: PoliticalCommsSettings) -> dict[str, Any]:
    """A project's fields after a change; raises `Refused`."""
    if project.status not in ("draft", "awaiting_test"):
        raise Refused(409, "CONFLICT", f"A project that is {project.status} cannot be changed.")
    changes = given(body)
    if not changes:
        raise invalid("body", "names no change.")
    for name in ("name", "protocol", "message_text", "phone_number_ids", "contact_list_ids"):
        if name in changes and changes[name] is None:
            raise invalid(name, "must not be null.")
    fields = {**project.fields, **changes}
    _check(fields, settings)
    return fields


def _check_channel(fields: dict[str, Any]) -> None:
    organization = fields["organization_id"]
    free = fields["channel"] == "toll-free"
    for name in ("brand_id", "campaign_id", "toll_free_verification_id"):
        belongs = (name == "toll_free_verification_id") == free
        if belongs != (fields[name] is not None):
            raise invalid(name, "is required." if belongs else f"must be absent with channel {fields['channel']}.")
    if free and fields["toll_free_verification_id"] != VERIFICATION:
        raise invalid("toll_free_verification_id", "is unknown.")
    if not free and BRANDS.get(fields["brand_id"]) != organization:
        raise Refused(400, "BRAND_ORG_MISMATCH")
    if not free and CAMPAIGNS.get(fields["campaign_id"]) != organization:
        raise invalid("campaign_id", "is not one of the brand's.")


def _check(fields: dict[str, Any], settings: PoliticalCommsSettings) -> None:
    footer = FOOTER if fields.get("opt_out_footer_enabled") is not False else ""
    if len(fields["message_text"]) + len(footer) > settings.limits.text:
        raise invalid("message_text", f"must have at most {settings.limits.text} characters.")
    if len(fields["name"]) > settings.limits.name:
        raise invalid("name", f"must have at most {settings.limits.name} characters.")
    for id_ in fields["phone_number_ids"]:
        known = NUMBERS.get(id_)
        if known is None or known[1] != fields["channel"] or known[2] != fields["organization_id"]:
            raise invalid("phone_number_ids", "must be numbers of this organization and channel.")
    if fields.get("link_tracking_enabled"):
        _check_links(fields)


def _check_links(fields: dict[str, Any]) -> None:
    url, param = fields.get("link_tracking_destination_url"), fields.get("link_tracking_param_field")
    fallback = fields.get("link_tracking_fallback_url")
    for name in ("link_tracking_destination_url", "link_tracking_domain_id"):
        if not fields.get(name):
            raise invalid(name, "is required with link_tracking_enabled.")
    names = PLACEHOLDER.findall(str(url))
    whole = re.fullmatch(r"https://\{[^{}]*\}", str(url)) is not None
    wrong = len(names) > 1 or (whole and names[0] == "phone") or (bool(names) and not whole and names[0] != param)
    if wrong:
        raise Refused(400, "INVALID_LINK_PLACEHOLDER")
    if whole != bool(fallback):
        raise invalid("link_tracking_fallback_url", "is for a whole-URL placeholder, and only for that.")


def audience_of(lists: list[ContactList], suppressed: set[str]) -> list[tuple[str, dict[str, str]]]:
    """Everybody on these lists, once, but for the suppressed."""
    found: dict[str, dict[str, str]] = {}
    for one in lists:
        for phone, tags in one.contacts.rows:
            if phone not in suppressed:
                found.setdefault(phone, tags)
    return list(found.items())
