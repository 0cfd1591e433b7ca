"""Political Comms on the wire: how every request is made, and how every answer is read.

Facts come from the API reference of Political Comms and from its published clients. Two generations of the API are in
use; every answer is read in the shapes of both, so that nobody need say which one a key belongs to.
"""

import json
import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from tenacity import RetryCallState, Retrying, wait_exponential

from paceline.capabilities import Rule
from providers.answers import http_date, json_object, retry_after, text
from providers.base import (
    Account,
    Job,
    Misconfigured,
    Outcome,
    Refused,
    Remaining,
    ReportedLimit,
    Request,
    Response,
    Scope,
    Throttled,
    Unavailable,
    Unknown,
)
from providers.politicalcomms.words import names, remedy

# Ids are opaque; the alphabet and the length are our choice. They begin with a letter or digit, so that none of them
# climbs out of a path.
ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}"
ID = Rule(required=True, pattern=ID_PATTERN, hint="an id of Political Comms: letters, digits, _ . : or -")
OPTIONAL_ID = Rule(pattern=ID_PATTERN, hint=ID.hint)
_ID = re.compile(ID_PATTERN)
MESSAGE_ID = re.compile(r"[A-Za-z0-9][!-~]{0,254}")
_CODE = re.compile(r"[A-Z][A-Z_]{0,63}")

# "Rate limits": an hour per key. Generation 2 counts by the minute, in a bucket that is full again within one.
HOUR = 3600.0
HOURLY = 100
MINUTE = 60.0

# Polling of imports, analyses and media (our choice): every poll is one of a hundred requests an hour.
FIRST_POLL = 5.0
LONGEST_POLL = 300.0
MOST_POLLS = 40
_POLLS = wait_exponential(multiplier=FIRST_POLL, exp_base=2, max=LONGEST_POLL)

# The name space of the keys that job steps bear: a random UUID, fixed for ever.
_STEPS = uuid.UUID("5c1f3a52-9d0b-4f0e-9a55-6b1f7a6f2c11")


def ask(account: Account, path: str, query: Mapping[str, Any] | None = None) -> Request:
    """A GET; arguments that are None are left out."""
    given = {name: _word(value) for name, value in (query or {}).items() if value is not None}
    return Request("GET", _url(account, path) + (f"?{urlencode(given)}" if given else ""), _headers(account))


def write(account: Account, method: str, path: str, key: str, fields: Mapping[str, Any] | None = None) -> Request:
    """A POST, PATCH or DELETE that bears an `Idempotency-Key`: the same key replays the original answer."""
    headers = _headers(account) | {"Idempotency-Key": key}
    if fields is None:
        return Request(method, _url(account, path), headers, keyed=True)
    body = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    return Request(method, _url(account, path), headers | {"Content-Type": "application/json"}, body, keyed=True)


def step_key(job: Job) -> str:
    """The idempotency key of a job's step: a UUID, the same at every repetition."""
    return str(uuid.uuid5(_STEPS, f"{job.id}/{job.step}"))


def segment(value: object) -> str:
    """An id as one segment of a path."""
    return quote(str(value), safe="")


def poll_wait(polls: int) -> float:
    """Seconds until the next poll, after `polls` of them: 5, 10, 20 … at most 300."""
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = min(polls, 50) + 1
    return float(_POLLS(state))


def succeeded(response: Response) -> bool:
    """Whether the answer is the API's own and says that it did what was asked.

    A portal or proxy on the way may say 200 to anything.
    """
    return 200 <= response.status < 300 and json_object(response.body).get("success") is not False


def payload(response: Response) -> Any:
    """What the envelope holds: `data`; the whole object where there is none; None if it cannot be read.

    Pages of statistics are told beside their data: they come as one object.
    """
    answer = json_object(response.body)
    if "pagination" in answer:
        return answer
    return answer.get("data", answer) if answer else None


def fields_of(response: Response) -> dict[str, Any]:
    """The object that the answer holds; an empty one if it holds none."""
    found = payload(response)
    return found if isinstance(found, dict) else {}


def identity(found: Mapping[str, Any], name: str) -> str:
    """The id of a resource: `project_id` in generation 2, `id` in generation 1 and in lists."""
    return text(found.get(name), _ID) or text(found.get("id"), _ID)


def uniform(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The resource with its id under both its names, and its organization's under `organization_id`."""
    known = dict(found)
    id_, organization = identity(found, name), found.get("organization_id") or found.get("org_id")
    if id_:
        known |= {"id": id_, name: id_}
    if organization:
        known["organization_id"] = organization
    return known


def code_of(response: Response) -> str:
    """The error's code: beside `error` in both generations; the key check and 429 of generation 2 have none."""
    return text(json_object(response.body).get("code"), _CODE)


def request_id(response: Response) -> str:
    """What the provider calls the request: the header's name for it, else the `correlationId` of an error's body."""
    named = response.headers.get("x-request-id", "")
    return named or text(json_object(response.body).get("correlationId"), MESSAGE_ID)


def declined(response: Response, *, operation: bool = False) -> Outcome | None:
    """What an error means, by the reference's error table; None for the 5xx that leave it open.

    A send that is forbidden waits for the operator. An operation that is forbidden fails alone: it may only have named
    somebody else's organization, and all operations share one lane. `SENDING_PAUSED` is the operator's too.
    """
    code = code_of(response)
    reason = (code or f"http_{response.status}") + names(response)
    match response.status:
        case 401:
            return Misconfigured(f"{reason}: check api_key", code, Scope.KEY)
        case 402:
            return Misconfigured(f"{reason}: add money at Political Comms, then open the account", code, Scope.KEY)
        case 403:
            scope = Scope.MESSAGE if operation and code else Scope.LANE
            return Misconfigured(f"{reason}: check what api_key may do at Political Comms", code, scope)
        case 409:
            return _conflict(code, reason)
        case 429:
            return Throttled(wait_of(response), code)
        case 503:
            return Unavailable(retry_after(response), code)
        case status if 300 <= status < 400:
            return Misconfigured(f"{reason}: a redirect, so check base_url", code, Scope.LANE)
        case status if 400 <= status < 500:
            return Refused(reason, code)
    return None


def advised(outcome: Outcome | None, status: int) -> Outcome | None:
    """The outcome of an operation, with what to do about it beside its code."""
    words = remedy(outcome.code, status) if isinstance(outcome, Refused) else ""
    return Refused(f"{outcome.reason}: {words}", outcome.code) if isinstance(outcome, Refused) and words else outcome


def troubled(response: Response, *, question: bool) -> Outcome:
    """What an operation's answer means that is not what was asked for.

    A question that was not answered is asked again. A change that was not answered is unknown.
    """
    code = code_of(response)
    outcome = None if 200 <= response.status < 300 else advised(declined(response, operation=True), response.status)
    if outcome is not None:
        return outcome
    reason = "unreadable_answer" if 200 <= response.status < 300 else code or f"http_{response.status}"
    return Unavailable(retry_after(response), code or reason) if question else Unknown(reason, code)


def wait_of(response: Response) -> float | None:
    """Seconds to wait after 429: by Retry-After, else until `X-RateLimit-Reset` (at least one), else as generation 2's
    body says; None where nothing does."""
    named = retry_after(response)
    if named is not None:
        return named
    reset = _reset_in(response)
    # More than a day is no hour's limit, and no Unix seconds: some other unit.
    if reset is not None and reset <= 24 * HOUR:
        return max(1.0, reset)
    said = json_object(response.body).get("retryAfter")
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 <= said <= 24 * HOUR:
        return None
    return max(1.0, float(said))


def remaining(_account: Account, response: Response) -> Remaining | None:
    """What the rate headers say of the hour; None where they can only be of something else.

    A reset beyond the hour is none of ours. More than a hundred with a reset within a minute is generation 2's bucket,
    which says nothing about an hour.
    """
    left, limit = _count(response, "x-ratelimit-remaining"), _count(response, "x-ratelimit-limit") or 0
    reset = _reset_in(response)
    if left is None or reset is None or not 0 < reset <= HOUR + MINUTE:
        return None
    if limit > HOURLY and reset <= MINUTE:
        return None
    return Remaining(HOUR, left, min(reset, HOUR))


def reported_limit(_account: Account, response: Response) -> ReportedLimit | None:
    """The limit that the headers name; of an hour where the reset is further off than a minute, else not known."""
    limit, reset = _count(response, "x-ratelimit-limit"), _reset_in(response)
    if not limit:
        return None
    if reset is not None and MINUTE < reset <= HOUR + MINUTE:
        return ReportedLimit(limit, HOUR)
    return ReportedLimit(limit, MINUTE if limit > HOURLY else None)


def _reset_in(response: Response) -> float | None:
    reset = _count(response, "x-ratelimit-reset")
    if reset is None:
        return None
    now = http_date(response.headers.get("date", ""))
    return reset - (response.received_at if now is None else now)


def _count(response: Response, name: str) -> int | None:
    value = response.headers.get(name, "").strip()
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 15 else None


# Each says that nothing was done. The others of 409 are final; one whose first call is still under way is unknown.
_UNSETTLED = ("IDEMPOTENCY_IN_PROGRESS",)


def _conflict(code: str, reason: str) -> Outcome:
    if code == "SENDING_PAUSED":
        return Misconfigured(f"{reason}: sending is paused at Political Comms", code, Scope.LANE)
    if code in _UNSETTLED:
        return Unknown(reason, code)
    return Refused(reason, code, opted_out=code == "CONTACT_OPTED_OUT")


def _url(account: Account, path: str) -> str:
    return f"{account.base_url.rstrip('/')}/{path.lstrip('/')}"


def _headers(account: Account) -> dict[str, str]:
    return {"X-API-Key": account.credentials["api_key"], "Accept": "application/json"}


def _word(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
