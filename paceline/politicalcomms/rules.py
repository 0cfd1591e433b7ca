"""What Political Comms allows, as far as it can be judged without asking it.

Used twice: by `paceline.politicalcomms`, so that a mistake is refused at once, and by the worker before a request.
Every function raises `InvalidMessage`, which names the field and the rule. Facts come from the API reference of
Political Comms; lengths that it leaves open are our choice and settings of the account.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from paceline.errors import InvalidMessage
from paceline.forms import public_url

CHANNELS = ("10dlc", "toll-free")
PROTOCOLS = ("sms", "mms")
ZONES = (
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/Anchorage",
    "Pacific/Honolulu",
)
FILES = ("original", "analyzed")  # a contact list may be downloaded as
LONGEST_FILE = 50_000_000  # bytes of it, unless more are asked for: as large a list as can be imported (our choice)
OLDEST_PROJECT_STATS = 90  # days, in both generations, whatever other reports allow
STANDARD_TAGS = ("first_name", "last_name", "address", "address_line_2", "city", "state", "zip")
LONGEST_TEXT = 1600
LONGEST_NAME = 255
# Generation 2 appends "STOP=END" unless told not to; whether it counts is not documented. Our choice: it does.
FOOTER = " STOP=END"

IMMUTABLE = ("organization_id", "brand_id", "campaign_id", "channel", "toll_free_verification_id")
EDITABLE = (
    "name",
    "protocol",
    "message_text",
    "phone_number_ids",
    "contact_list_ids",
    "suppression_list_ids",
    "media_ids",
    "link_tracking_enabled",
    "link_tracking_destination_url",
    "link_tracking_domain_id",
    "link_tracking_param_field",
    "link_tracking_fallback_url",
    "opt_out_footer_enabled",
)
PROJECT_FIELDS = (*IMMUTABLE, *EDITABLE)
IMPORT_FIELDS = ("source_url", "list_name", "phone_column", "organization_id", "brand_id", "merge_tags")
LINK_FIELDS = tuple(name for name in EDITABLE if name.startswith("link_tracking_") and name != "link_tracking_enabled")

ONE_PLACEHOLDER = "may hold one placeholder, that of link_tracking_param_field"
_LINKS = {"link_tracking_enabled", *LINK_FIELDS}
_TEXT = ("message_text", "opt_out_footer_enabled")

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_OFFSET = re.compile(r".+T.+(Z|[+-][0-9]{2}:?[0-9]{2})")
_PHONE = re.compile(r"\+1[2-9][0-9]{9}")
_URL = re.compile(r"https?://[^\s/]")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def check_period(
    start: str, end: str, *, max_days: float, max_age: float | None = None, today: str | None = None
) -> None:
    """Dates as YYYY-MM-DD, in order, `max_days` at most, and the first not older than `max_age` days before `today`."""
    first, last = _date("start_date", start), _date("end_date", end)
    if last < first:
        raise InvalidMessage("end_date", "must not be before start_date")
    if (days := (last - first).days + 1) > max_days:
        raise InvalidMessage("end_date", f"must be within {max_days} days, start_date included; this range has {days}")
    if today is not None and max_age is not None and (_date("today", today) - first).days > max_age:
        raise InvalidMessage("start_date", f"must not be more than {max_age} days ago")


def check_since(value: str, today: str | None = None) -> None:
    """An instant in ISO 8601 with its offset, at most 90 days ago."""
    at = _instant("updated_since", value)
    if today is not None and at.date() < _date("today", today) - timedelta(days=90):
        raise InvalidMessage("updated_since", "must not be more than 90 days ago")


def check_schedule(scheduled_at: str, scheduled_timezone: str) -> None:
    """An instant with an explicit offset (in the past: at once), and one of the six time zones."""
    _instant("scheduled_at", scheduled_at)
    _one_of("scheduled_timezone", scheduled_timezone, ZONES)


def check_source(name: str, url: str, *, loopback: bool = False) -> None:
    """An https URL of a public host, since Political Comms fetches it; of a private one too where the sandbox does."""
    if loopback and re.fullmatch(r"https?://\S+", url) and public_url(re.sub("^http:", "https:", url)) is not None:
        return
    broken = public_url(url)
    if broken is not None:
        raise InvalidMessage(name, broken)


def check_cost(most: object, *, priced: bool) -> None:
    """A number of cents; `priced`: the account says what an analysis costs for each number, or it cannot be judged."""
    if isinstance(most, bool) or not isinstance(most, int | float) or not 0 <= most < math.inf:
        raise InvalidMessage("max_cost_cents", "must be a number of cents, 0 or more")
    if not priced:
        raise InvalidMessage(
            "max_cost_cents",
            "needs the account's option analysis.cents_per_number, your price: set it there, or leave this out",
        )


def check_merge_tags(tags: object) -> None:
    """Standard tags → CSV columns, and `custom_fields`: a list of `{"csv_column": …, "merge_tag": …}`."""
    if not isinstance(tags, Mapping):
        raise InvalidMessage("merge_tags", "must map standard tags to CSV columns")
    for tag, column in tags.items():
        if tag == "custom_fields":
            _check_custom(column)
        elif tag not in STANDARD_TAGS:
            raise InvalidMessage(f"merge_tags.{tag}", f"must be one of {', '.join(STANDARD_TAGS)} or custom_fields")
        elif not isinstance(column, str) or not column:
            raise InvalidMessage(f"merge_tags.{tag}", "must name a CSV column")


def check_test_contacts(contacts: object) -> None:
    """1 to 50 of `{"phone": "+1…", "merge_values": {…}}`; without merge values a contact of the lists is sampled."""
    if not isinstance(contacts, list | tuple) or not 1 <= len(contacts) <= 50:
        raise InvalidMessage("test_contacts", "must hold 1 to 50 contacts")
    for number, contact in enumerate(contacts):
        where = f"test_contacts[{number}]"
        if not isinstance(contact, Mapping) or not set(contact) <= {"phone", "merge_values"}:
            raise InvalidMessage(where, "must be a mapping with phone and, perhaps, merge_values")
        phone, values = contact.get("phone"), contact.get("merge_values", {})
        if not isinstance(phone, str) or not _PHONE.fullmatch(phone):
            raise InvalidMessage(f"{where}.phone", "must be a number of the US or Canada such as +15555550100")
        if not isinstance(values, Mapping) or not all(isinstance(value, str) for value in values.values()):
            raise InvalidMessage(f"{where}.merge_values", "must map merge fields to strings")


def check_project(
    given: Mapping[str, Any], *, longest_text: int = LONGEST_TEXT, longest_name: int = LONGEST_NAME
) -> None:
    """All fields of a new project, and how they depend on each other."""
    for name in ("name", "protocol", "message_text", "phone_number_ids"):
        if given.get(name) in (None, "", [], ()):
            raise InvalidMessage(name, "is required")
    _check_fields(given, PROJECT_FIELDS, longest_text, longest_name)
    channel = given.get("channel") or "10dlc"
    for name in ("brand_id", "campaign_id", "toll_free_verification_id"):
        belongs = (name == "toll_free_verification_id") == (channel == "toll-free")
        if belongs and not given.get(name):
            raise InvalidMessage(name, f"is required with channel {channel}")
        if not belongs and given.get(name) is not None:
            raise InvalidMessage(name, f"must be left out with channel {channel}")
    _check_links(given)


def check_edit(
    changes: Mapping[str, Any], *, longest_text: int = LONGEST_TEXT, longest_name: int = LONGEST_NAME
) -> None:
    """At least one change, of fields that may change, none of them to nothing."""
    if not changes:
        raise InvalidMessage("changes", f"must name at least one of {', '.join(EDITABLE)}")
    for name in IMMUTABLE:
        if name in changes:
            raise InvalidMessage(name, "cannot be changed; copy the project or create another")
    # Whether a footer follows the text, the project says where the change does not: see `needs_project`.
    _check_fields({"opt_out_footer_enabled": False} | dict(changes), EDITABLE, longest_text, longest_name)
    if changes.get("link_tracking_enabled") is False or changes.keys() >= _LINKS:
        _check_links(changes)
    elif changes.get("link_tracking_destination_url") is not None:
        _check_url(changes["link_tracking_destination_url"])


def needs_project(changes: Mapping[str, Any], *, longest_text: int = LONGEST_TEXT) -> bool:
    """Whether a change can be judged only together with what the project holds already.

    Links are judged by all their fields, and a text by its footer, so that one may break a rule because of another.
    """
    links, text, footer = changes.keys() & _LINKS, changes.get("message_text"), changes.get("opt_out_footer_enabled")
    if links and links != _LINKS and changes.get("link_tracking_enabled") is not False:
        return True
    if text is None:
        return footer is True
    return footer is None and len(text) + len(FOOTER) > longest_text


def check_edited(
    project: Mapping[str, Any],
    changes: Mapping[str, Any],
    *,
    longest_text: int = LONGEST_TEXT,
    longest_name: int = LONGEST_NAME,
) -> None:
    """The project as it would be: what it holds, and what is changed of that."""
    whole = {name: project[name] for name in EDITABLE if project.get(name) is not None} | dict(changes)
    _check_fields({name: whole[name] for name in _TEXT if name in whole}, EDITABLE, longest_text, longest_name)
    if changes.keys() & _LINKS and (whole.get("link_tracking_enabled") or changes.keys() & set(LINK_FIELDS)):
        _check_links(whole)


def check_broadcast(
    given: Mapping[str, Any], *, longest_text: int = LONGEST_TEXT, longest_name: int = LONGEST_NAME
) -> None:
    """A whole broadcast: either a CSV file or lists, media, analysis, test contacts, and the project they are for."""
    if bool(given.get("source_url")) == bool(given.get("contact_list_ids")):
        raise InvalidMessage("source_url", "give either the URL of a CSV file, or contact_list_ids")
    if given.get("source_url") and not given.get("phone_column"):
        raise InvalidMessage("phone_column", "is required with source_url")
    if given.get("media_url") and given.get("media_ids"):
        raise InvalidMessage("media_ids", "must be left out with media_url")
    if not isinstance(given.get("analyze"), bool | None):
        raise InvalidMessage("analyze", "must be true or false")
    if given.get("max_cost_cents") is not None and not given.get("analyze"):
        raise InvalidMessage("max_cost_cents", "needs analyze = true: nothing else is limited by it")
    if given.get("analyze") and not given.get("source_url"):
        raise InvalidMessage("analyze", "needs source_url; analyse lists that are there already with analyze")
    if given.get("merge_tags") is not None:
        check_merge_tags(given["merge_tags"])
    if given.get("test_contacts") is not None:
        check_test_contacts(given["test_contacts"])
    fields = {name: given[name] for name in PROJECT_FIELDS if given.get(name) is not None}
    fields.setdefault("protocol", "mms" if given.get("media_url") else "sms")
    check_project(fields, longest_text=longest_text, longest_name=longest_name)


def _check_fields(given: Mapping[str, Any], allowed: Sequence[str], longest_text: int, longest_name: int) -> None:
    for name in given:
        if name not in allowed:
            raise InvalidMessage(name, f"is not a field of a project; it has {', '.join(allowed)}")
    _check_length(given, "name", longest_name)
    footer = "" if given.get("opt_out_footer_enabled", True) is False else FOOTER
    _check_length(given, "message_text", longest_text, footer)
    _check_length(given, "link_tracking_param_field", 64)
    if given.get("protocol") is not None:
        _one_of("protocol", given["protocol"], PROTOCOLS)
    if given.get("channel") is not None:
        _one_of("channel", given["channel"], CHANNELS)
    _check_ids(given, "phone_number_ids", 49)
    for name in ("contact_list_ids", "suppression_list_ids", "media_ids"):
        # An empty array of contact lists is refused; of the others it takes away what was there.
        _check_ids(given, name, None, empty=name != "contact_list_ids")
    for name in ("link_tracking_enabled", "opt_out_footer_enabled"):
        if not isinstance(given.get(name), bool | None):
            raise InvalidMessage(name, "must be true or false")


def _check_links(given: Mapping[str, Any]) -> None:
    if not given.get("link_tracking_enabled"):
        for name in LINK_FIELDS:
            if given.get(name) is not None:
                raise InvalidMessage(name, "needs link_tracking_enabled = true")
        return
    for name in ("link_tracking_destination_url", "link_tracking_domain_id"):
        if not given.get(name):
            raise InvalidMessage(name, "is required with link_tracking_enabled")
    _check_destination(given, given["link_tracking_destination_url"])


def _check_destination(given: Mapping[str, Any], url: object) -> None:
    fields, whole = _check_url(url)
    fallback = given.get("link_tracking_fallback_url")
    if whole and not fallback:
        raise InvalidMessage("link_tracking_fallback_url", "is required where the whole URL is a placeholder")
    if fallback is not None and (not isinstance(fallback, str) or _URL.match(fallback) is None):
        raise InvalidMessage("link_tracking_fallback_url", "must be a URL such as https://example.org/vote")
    if not whole and fallback is not None:
        raise InvalidMessage("link_tracking_fallback_url", "must be left out unless the whole URL is a placeholder")
    if fields and not whole and fields[0] != given.get("link_tracking_param_field"):
        raise InvalidMessage("link_tracking_destination_url", ONE_PLACEHOLDER)


def _check_url(url: object) -> tuple[list[str], bool]:
    """What a link's URL must be, whatever the other fields are: its placeholders, and whether it is nothing else."""
    if not isinstance(url, str):
        raise InvalidMessage("link_tracking_destination_url", "must be a string")
    if _URL.match(url) is None:
        raise InvalidMessage("link_tracking_destination_url", "must be a URL such as https://example.org/vote")
    fields, whole = _PLACEHOLDER.findall(url), re.fullmatch(r"https://\{([^{}]*)\}", url)
    if whole and whole[1] == "phone":
        raise InvalidMessage("link_tracking_destination_url", "must not be {phone} as a whole")
    if len(fields) > 1 or "" in fields or {"{", "}"} & set(_PLACEHOLDER.sub("", url)):
        raise InvalidMessage("link_tracking_destination_url", ONE_PLACEHOLDER)
    return fields, bool(whole)


def _check_custom(fields: object) -> None:
    if not isinstance(fields, list | tuple):
        raise InvalidMessage("merge_tags.custom_fields", "must be a list of mappings with csv_column and merge_tag")
    for number, field in enumerate(fields):
        if not isinstance(field, Mapping) or set(field) != {"csv_column", "merge_tag"} or not _texts(field.values()):
            raise InvalidMessage(
                f"merge_tags.custom_fields[{number}]", "must have csv_column and merge_tag, as strings"
            )


def _check_length(given: Mapping[str, Any], name: str, most: int, footer: str = "") -> None:
    value = given.get(name)
    if value is None:
        return
    if not isinstance(value, str) or not value:
        raise InvalidMessage(name, "must be a string of at least 1 character")
    if (length := len(value) + len(footer)) > most:
        counted = f', "{footer.strip()}" included' if footer else ""
        raise InvalidMessage(name, f"must have at most {most} characters, this one has {length}{counted}")


def _check_ids(given: Mapping[str, Any], name: str, most: int | None, *, empty: bool = False) -> None:
    value = given.get(name)
    if value is None:
        return
    if not isinstance(value, list | tuple) or not _texts(value):
        raise InvalidMessage(name, "must be a list of ids")
    if not value and not empty:
        raise InvalidMessage(name, "must hold at least 1 id")
    if most is not None and len(value) > most:
        raise InvalidMessage(name, f"may hold at most {most} ids, this one holds {len(value)}")


def _texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) and value for value in values)


def _one_of(name: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise InvalidMessage(name, f"must be one of {', '.join(allowed)}")


def _date(name: str, value: object) -> date:
    try:
        if isinstance(value, str) and _DATE.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise InvalidMessage(name, "must be a date as YYYY-MM-DD")


def _instant(name: str, value: object) -> datetime:
    try:
        if isinstance(value, str) and _OFFSET.fullmatch(value):
            return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidMessage(name, "must be a time in ISO 8601 with its offset, such as 2026-03-21T09:00:00-04:00")
