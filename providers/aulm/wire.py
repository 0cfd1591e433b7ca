"""What every call of aulm bears, and what its answers mean."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace

from paceline.status import Status
from providers.answers import answered_at, instant, json_object, member, retry_after, text
from providers.base import (
    Account,
    Misconfigured,
    Outcome,
    Refused,
    Request,
    Response,
    Scope,
    Throttled,
    Unavailable,
    Unknown,
)

# "Send text": E.164 with its +, in at most 20 characters.
NUMBER = r"\+[1-9][0-9]{6,14}"

# "Status vocabulary". There is no `queued`: what was taken is sent, in aulm's word. `played` belongs to voice messages,
# which cannot be sent, and is a way of having read.
STATUSES = {
    "sent": Status.SENT,
    "delivered": Status.DELIVERED,
    "read": Status.READ,
    "played": Status.READ,
    "failed": Status.FAILED,
}

# Of a test key's messages, whose ids begin with `sim_` ("Authentication"): nothing of them reaches WhatsApp.
SIMULATED = "simulated"

# Words hold no digits, so that none of them can be a recipient: they are stored as reasons, and aulm's own sentences
# are not.
ID = re.compile(r"[!-~]{1,255}")
WORD = re.compile(r"[a-z][a-z_]{0,63}")

# For how long an address is locked out that does not hear it by Retry-After (our choice): trying sooner may prolong it.
COOL_DOWN = 60.0  # seconds

_KEY = "check api_key and its standing in aulm's dashboard"
_SESSION = "check the session that session_id names in aulm's dashboard"

# "Errors", by HTTP status and code. The code is put before each reason, and Retry-After is added where it came.
# * A bad key is closed at its first 401: repeating it locks out this host, other keys included. That lock is a 429 of
#   its own, and the only one which no key of this host can escape.
# * session_not_found is permanent: no repetition helps. But it is the account's session that is wrong, and not the
#   message, so the session's lane closes, as for session_disabled. Failing each message would turn a typo in the
#   configuration into the loss of whatever waits.
# * A trial's allowance does not come back before its week ends, if then: an operator must act.
# * 502 came from before WhatsApp's engine, so it is safe to send again (our choice). After 504 the message may have
#   gone out, although its quota slot is given back.
ERRORS: Mapping[tuple[int, str], Outcome] = {
    (400, "invalid_json"): Refused(""),
    (400, "invalid_request"): Refused(""),
    (401, "missing_authorization"): Misconfigured(_KEY),
    (401, "invalid_authorization"): Misconfigured(_KEY),
    (401, "invalid_api_key"): Misconfigured(_KEY),
    (401, "api_key_revoked"): Misconfigured(_KEY),
    (401, "api_key_expired"): Misconfigured(_KEY),
    (401, "account_deactivated"): Misconfigured(_KEY),
    (429, "too_many_auth_failures"): Throttled(COOL_DOWN, scope=Scope.ADDRESS),
    (404, "session_not_found"): Misconfigured(_SESSION, scope=Scope.LANE),
    (403, "session_disabled"): Misconfigured(_SESSION, scope=Scope.LANE),
    (403, "session_not_allowed"): Misconfigured("let api_key use the session", scope=Scope.LANE),
    (409, "session_not_ready"): Unavailable(probe_first=True),
    (429, "daily_quota_exceeded"): Throttled(scope=Scope.KEY),
    (429, "trial_quota_exceeded"): Misconfigured("the trial is over or used up, choose a plan in aulm's dashboard"),
    (504, "messaging_service_timeout"): Unknown(""),
    (502, "messaging_service_unreachable"): Unavailable(),
    (502, "messaging_service_error"): Unavailable(),
    (503, "service_unavailable"): Unavailable(),
}


def post(account: Account, action: str, fields: Mapping[str, str]) -> Request:
    """The POST that sends, from the account's session."""
    body = {"session_id": account.credentials["session_id"], **fields}
    return Request(
        "POST",
        f"{account.base_url.rstrip('/')}/v1/messages/{action}",
        {**headers(account), "Content-Type": "application/json"},
        json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
    )


def headers(account: Account) -> dict[str, str]:
    """What every request of the account bears."""
    return {"Authorization": f"Bearer {account.credentials['api_key']}", "Accept": "application/json"}


def declined(response: Response) -> Outcome:
    """What an answer other than 2xx means."""
    code = code_of(response)
    reason = code or f"http_{response.status}"
    outcome = ERRORS.get((response.status, code)) or _undocumented(response.status)
    match outcome:
        case Refused() | Unknown():
            return replace(outcome, reason=reason, code=code)
        case Misconfigured():
            return replace(outcome, reason=f"{reason}: {outcome.reason}", code=code)
        case Throttled() | Unavailable():
            wait = retry_after(response)
            if wait is None:
                wait = until_reset(response) if code == "daily_quota_exceeded" else outcome.retry_after
            return replace(outcome, retry_after=wait, code=code)
    return outcome


def _undocumented(status: int) -> Outcome:
    # "Anything else": 4xx is permanent, 5xx transient. What may have been accepted is unknown, and not sent again.
    match status:
        case 401 | 402:
            return Misconfigured(_KEY)
        case 403:
            return Misconfigured(_SESSION, scope=Scope.LANE)
        case 429:
            return Throttled()
        case 503:
            return Unavailable()
        case _ if 300 <= status < 400:
            return Misconfigured("a redirect, so check base_url", scope=Scope.LANE)
        case _ if 400 <= status < 500:
            return Refused("")
    return Unknown("")


def code_of(response: Response) -> str:
    """aulm's word for what went wrong; empty where there is none."""
    return text(member(json_object(response.body), "error").get("code"), WORD)


def until_reset(response: Response) -> float | None:
    """Seconds until the quota is whole again, if the answer says so."""
    # The instant is by aulm's clock, and so is the answer's Date: no two clocks are compared where there is one.
    at = instant(response.headers.get("x-ratelimit-reset", "").strip())
    if at is None:
        return None
    now = answered_at(response)
    return max(0.0, at - (response.received_at if now is None else now))
