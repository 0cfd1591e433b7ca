"""Political Comms' request bodies: exactly the documented properties, judged as strictly as the reference allows."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.call import UNREADABLE, Call
from sandbox.politicalcomms.refused import Refused, invalid, issues

STANDARD = ("first_name", "last_name", "address", "address_line_2", "city", "state", "zip")
OFFSET = re.compile(r"\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:?\d\d)")
PHONE = re.compile(r"\+1[2-9]\d{9}")

Words = Annotated[str, Field(min_length=1)]


class Body(BaseModel):
    """A JSON object without properties that nobody documented."""

    model_config = ConfigDict(extra="forbid", strict=True)


class CustomField(Body):
    """A column with a tag of its own."""

    csv_column: Words
    merge_tag: Words


class MergeTags(Body):
    """Standard tag → CSV column."""

    first_name: Words | None = None
    last_name: Words | None = None
    address: Words | None = None
    address_line_2: Words | None = None
    city: Words | None = None
    state: Words | None = None
    zip: Words | None = None
    custom_fields: list[CustomField] = []


class ImportBody(Body):
    """POST /contact-lists/import."""

    source_url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    list_name: Words
    phone_column: Words
    organization_id: Words | None = None
    brand_id: Words | None = None
    merge_tags: MergeTags | None = None


class MediaBody(Body):
    """POST /media."""

    source_url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    organization_id: Words | None = None
    brand_id: Words | None = None
    name: Words | None = None
    usage: Literal["mms", "email_asset"] = "mms"


class ProjectPatch(Body):
    """PATCH /projects/{id}: what may change."""

    name: Words | None = None
    protocol: Literal["sms", "mms"] | None = None
    message_text: Words | None = None
    phone_number_ids: Annotated[list[Words], Field(min_length=1, max_length=49)] | None = None
    contact_list_ids: Annotated[list[Words], Field(min_length=1)] | None = None
    suppression_list_ids: list[Words] | None = None
    media_ids: list[Words] | None = None
    link_tracking_enabled: bool | None = None
    link_tracking_destination_url: Words | None = None
    link_tracking_domain_id: Words | None = None
    link_tracking_param_field: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    link_tracking_fallback_url: Words | None = None
    opt_out_footer_enabled: bool | None = None


class ProjectBody(ProjectPatch):
    """POST /projects."""

    organization_id: Words
    name: Words
    protocol: Literal["sms", "mms"]
    message_text: Words
    phone_number_id: Words | None = None  # the old form of phone_number_ids
    channel: Literal["10dlc", "toll-free"] = "10dlc"
    brand_id: Words | None = None
    campaign_id: Words | None = None
    toll_free_verification_id: Words | None = None


class TestContact(Body):
    """One recipient of a test."""

    __test__ = False  # for pytest, which would take it for a test

    phone: Annotated[str, Field(pattern=PHONE.pattern + "$")]
    merge_values: dict[str, str] | None = None


class TestBody(Body):
    """POST /projects/{id}/test."""

    __test__ = False

    test_contacts: Annotated[list[TestContact], Field(min_length=1, max_length=50)]


class ScheduleBody(Body):
    """POST /projects/{id}/schedule."""

    scheduled_at: str
    scheduled_timezone: Literal[
        "America/New_York",
        "America/Chicago",
        "America/Denver",
        "America/Los_Angeles",
        "America/Anchorage",
        "Pacific/Honolulu",
    ]
    daily_cap_bypass: bool = False


class PauseBody(Body):
    """POST /projects/{id}/pause."""

    reason: Annotated[str, Field(min_length=1, max_length=100)] | None = None


class ReplyBody(Body):
    """POST /conversations/{id}/messages."""

    text: Annotated[str, Field(min_length=1, max_length=1600)]


class NoBody(Body):
    """Nothing."""


B = TypeVar("B", bound=Body)


def read(model: type[B], call: Call, *, optional: bool = False) -> B:
    """Judges a request's body; raises `Refused`."""
    if not call.body and optional:
        return model()
    content_type = call.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type != "application/json" or call.data is UNREADABLE:
        raise Refused(400, "VALIDATION_ERROR", "The body must be JSON.")
    try:
        return model.model_validate(call.data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise issues(
            [{"field": ".".join(str(part) for part in one["loc"]) or "body", "message": one["msg"]} for one in found]
        ) from None


def given(body: BaseModel) -> dict[str, Any]:
    """The properties that the request named."""
    return body.model_dump(exclude_unset=True)


def instant_of(value: str, field: str) -> float:
    """ISO 8601 with an explicit offset as Unix seconds; raises `Refused`."""
    try:
        if OFFSET.fullmatch(value):
            return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError):
        pass
    raise invalid(field, "must be ISO 8601 with an explicit offset.")
