"""aulm: WhatsApp through a paired device, not the official business platform; JSON over HTTPS.

Facts come from aulm's API reference, version 1.0.0; the section is named beside each. What the reference leaves open
is marked "our choice". aulm recognises no repeated request and cannot be asked after a message, so a send whose answer
is lost stays unknown until a webhook speaks of it. A paired number is called a session: each account has one, and is
paced by itself, while the plan's quota belongs to the key.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from paceline.capabilities import Capabilities, Rule
from paceline.errors import InvalidMessage
from paceline.forms import data_uri
from paceline.messages import Media, Text
from paceline.status import Status
from providers.answers import (
    answered_at,
    digest,
    instant,
    json_object,
    member,
    opt_in_word,
    opt_out_word,
    retry_after,
    sha256,
    signed,
    text,
)
from providers.base import (
    STATUS_EVENT,
    Accepted,
    Account,
    Credential,
    Event,
    Inbound,
    Misconfigured,
    Option,
    Outcome,
    Provider,
    Refused,
    Remaining,
    Request,
    Response,
    Scope,
    Submission,
    Throttled,
    Unavailable,
    Unknown,
)

UUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

CREDENTIALS = (
    # "Authentication": the pattern is the reference's own. With a test key nothing reaches WhatsApp.
    Credential(
        "api_key",
        pattern=r"alm_sk_(live|test)_[0-9a-f]{64}",
        hint="alm_sk_live_ or alm_sk_test_ and 64 digits in lower-case hexadecimal",
        sandbox="alm_sk_test_" + "5a" * 32,
    ),
    # The paired number. A key may own several, and all of them share its quota.
    Credential(
        "session_id",
        secret=False,
        identifies_key=False,
        pattern=UUID,
        hint="the session's UUID, such as 9b2f4c1e-6d3a-4e57-a1c8-0f7d5b3e2a94",
        sandbox="5a5a5a5a-0000-4000-8000-000000000001",
    ),
    # Signs what aulm posts to us ("Webhooks"): one endpoint and one secret for all sessions of an aulm account.
    Credential("webhook_secret", required=False, identifies_key=False, sandbox="aulm_whsec_sandbox0000"),
)

# "Quota, rate limits": aulm documents no request rate and leaves the pace to its customers, because bursts get numbers
# banned. All three are our choice. Every session sends a message each three seconds (and up to `PACE_JITTER` of that
# later); the daily ceiling is the one that the section recommends, at the cap that is assumed for a plan. What the plan
# really allows comes with every answer (`remaining`) and tightens it; a larger plan needs a larger limit in the
# settings.
PACE = "1/3s"
PACE_JITTER = 0.4
DAILY = "1000/day"
# Questions about a session's state, which aulm caches: more than one each three seconds would learn nothing.
SESSION_PACE = "20/minute"
LIMITS = {"send": (PACE, DAILY), "session": (SESSION_PACE,)}

# The reference says "about 5 MB", and neither of what nor which types (our choice, settings).
OPTIONS = {
    "image.max_bytes": Option(5 * 1024 * 1024, "most bytes of an image in a data URI", least=1),
    "image.basis": Option(
        "decoded", "what image.max_bytes counts: the decoded image, or the data URI's text", one_of=("decoded", "text")
    ),
    "image.types": Option(
        "image/jpeg image/png image/webp image/gif",
        "media types of the images taken, with a space between them",
        pattern=r"image/[a-z0-9.+-]+( image/[a-z0-9.+-]+)*",
        hint="media types such as image/jpeg image/png, with a space between them",
    ),
}

# "Send text": E.164 with its +, in at most 20 characters; a WhatsApp id such as 966512345678@c.us is refused.
NUMBER = r"\+[1-9][0-9]{6,14}"
RECIPIENT = Rule(required=True, max_length=20, pattern=NUMBER, hint="a number in E.164, such as +966512345678")

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

DAY = 86_400.0  # seconds
LONGEST_DAY = DAY + 60.0  # a quota that resets later than this is a trial's, not the day's


def capabilities(account: Account) -> Capabilities:
    """What aulm carries: text, and images with a caption. There is no field for a file's name, nor for metadata."""
    types = _types(account)
    most, decoded = int(_option(account, "image.max_bytes")), _option(account, "image.basis") == "decoded"
    image = Rule(
        required=True,
        max_length=None if decoded else most,
        max_bytes=most if decoded else None,
        form="public_url_or_data",
        pattern=rf"(?i:https://|data:({'|'.join(map(re.escape, types))});base64,)\S+",
        hint=f"an https:// URL, or a data URI of {', '.join(types)}",
    )
    return Capabilities(
        kinds={
            "text": {"to": RECIPIENT, "text": Rule(required=True, min_length=1, max_length=4096)},
            "media": {
                "to": RECIPIENT,
                "url": image,
                "media_type": Rule(required=True, one_of=types),
                "caption": Rule(max_length=1024),
            },
        }
    )


def build_request(account: Account, submission: Submission) -> Request:
    """The POST that sends one message.

    Raises `InvalidMessage` for a data URI that is not of the `media_type` beside it: aulm reads the URI's own.
    """
    message = submission.message
    match message:
        case Text():
            return _post(account, "send-text", {"to": message.to, "body": message.text})
        case Media():
            held = data_uri(message.url)
            if held is not None and held[0] != message.media_type:
                raise InvalidMessage("media_type", "must be the data URI's own media type")
            fields = {"to": message.to, "image": message.url}
            return _post(account, "send-image", fields | ({"caption": message.caption} if message.caption else {}))
    raise TypeError(f"aulm carries no {message.kind} message; check it against the account's capabilities first")


def parse_response(_account: Account, response: Response) -> Outcome:
    """What the answer to a send means. 201 says that WhatsApp's engine has it, not that it was delivered."""
    if not 200 <= response.status < 300:
        return _declined(response)
    data = member(json_object(response.body), "data")
    if not data:
        # A portal or proxy on the way may say 200 to anything: only the API's own JSON is an acceptance.
        return Unknown("unreadable_answer")
    status = STATUSES.get(text(data.get("status"), _WORD), Status.SENT)
    note = SIMULATED if data.get("simulated") is True else ""
    return Accepted(text(data.get("message_id"), _ID) or None, status, note=note)


def build_probe(account: Account) -> Request:
    """The GET that asks whether the session's number is connected, on limit class `session`."""
    path = f"/v1/sessions/{quote(account.credentials['session_id'], safe='')}/status"
    return Request("GET", account.base_url.rstrip("/") + path, _headers(account))


def parse_probe(_account: Account, response: Response) -> Outcome:
    """`Accepted` if the session is connected ("Session status"): the set of its other states is open.

    A question changes nothing, so an answer that says nothing means no more than: not yet.
    """
    if not 200 <= response.status < 300:
        outcome = _declined(response)
        if isinstance(outcome, Unknown):
            return Unavailable(retry_after(response), outcome.code, probe_first=True)
        return replace(outcome, probe_first=True) if isinstance(outcome, Unavailable) else outcome
    state = text(member(json_object(response.body), "data").get("status"), _WORD)
    return Accepted() if state == "connected" else Unavailable(None, state or "unreadable_answer", probe_first=True)


def remaining(_account: Account, response: Response) -> Remaining | None:
    """What is left of the plan's day ("Quota"): the answer names the instant of its reset in ISO 8601.

    Only a 201 and daily_quota_exceeded say so. A refund may raise the number, so it is read and never computed. A
    trial's week is no day's quota: a count of it that outlived the trial would hold back a plan bought meanwhile.
    """
    if response.status != 201 and (response.status, _code(response)) != (429, "daily_quota_exceeded"):
        return None
    left, reset_in = response.headers.get("x-ratelimit-remaining", "").strip(), _reset_in(response)
    if not _COUNT.fullmatch(left) or reset_in is None or not 0 < reset_in <= LONGEST_DAY:
        return None
    return Remaining(DAY, int(left), reset_in)


def verify(account: Account, inbound: Inbound) -> bool:
    """Whether aulm signed these bytes ("Webhooks"): `sha256=` and the hexadecimal HMAC-SHA256 of the body."""
    secret, signature = account.credentials.get("webhook_secret", ""), inbound.headers.get("x-aulm-signature", "")
    return signed(secret, inbound.body, signature, prefix="sha256=")


def parse_event(_account: Account, inbound: Inbound) -> Sequence[Event]:
    """What a webhook says: where a message stands, or what somebody wrote; nothing if it cannot be read.

    A delivery fired from the dashboard as a test says nothing. Repetitions bear the same delivery id.
    """
    envelope = json_object(inbound.body)
    if envelope.get("test") is True:
        return []
    name = text(envelope.get("event"), _WORD)
    key = _event_key(envelope, inbound)
    if name == "message_status":
        return _report(envelope, key)
    if name in ("", STATUS_EVENT):
        return []
    sender, said = text(envelope.get("from"), _NUMBER), envelope.get("body")
    words = said if name == "inbound_message" and envelope.get("type") == "text" and isinstance(said, str) else ""
    at = instant(envelope.get("received_at")) or instant(envelope.get("occurred_at"))
    return [
        Event(
            key,
            name,
            at,
            data=envelope,
            opted_out=sender if opt_out_word(words) else "",
            opted_in=sender if opt_in_word(words) else "",
        )
    ]


def _report(envelope: Mapping[str, Any], key: str) -> Sequence[Event]:
    # "Webhooks": a failure carries no reason. Of a report no more is required than the message and a status we know.
    message, status = text(envelope.get("message_id"), _ID), STATUSES.get(text(envelope.get("status"), _WORD))
    if not message or status is None:
        return []
    notes = {SIMULATED: message.startswith("sim_"), "not_delivered": status is Status.FAILED}
    reason = ", ".join(note for note, holds in notes.items() if holds)
    to = text(envelope.get("to"), _NUMBER)
    return [Event(key, STATUS_EVENT, instant(envelope.get("occurred_at")), message, status, reason, to)]


def _event_key(envelope: Mapping[str, Any], inbound: Inbound) -> str:
    # The header and the body name the same delivery; should they differ, the header wins (our choice).
    delivery = text(inbound.headers.get("x-aulm-delivery-id"), _ID) or text(envelope.get("delivery_id"), _ID)
    return digest(delivery) if delivery else sha256(inbound.body)


def _post(account: Account, action: str, fields: Mapping[str, str]) -> Request:
    body = {"session_id": account.credentials["session_id"], **fields}
    return Request(
        "POST",
        f"{account.base_url.rstrip('/')}/v1/messages/{action}",
        {**_headers(account), "Content-Type": "application/json"},
        json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
    )


def _headers(account: Account) -> dict[str, str]:
    return {"Authorization": f"Bearer {account.credentials['api_key']}", "Accept": "application/json"}


def _declined(response: Response) -> Outcome:
    code = _code(response)
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
                wait = _reset_in(response) if code == "daily_quota_exceeded" else outcome.retry_after
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


def _reset_in(response: Response) -> float | None:
    # The instant is by aulm's clock, and so is the answer's Date: no two clocks are compared where there is one.
    at = instant(response.headers.get("x-ratelimit-reset", "").strip())
    if at is None:
        return None
    now = answered_at(response)
    return max(0.0, at - (response.received_at if now is None else now))


def _types(account: Account) -> tuple[str, ...]:
    return tuple(str(_option(account, "image.types")).split())


def _option(account: Account, name: str) -> Any:
    return account.options.get(name, OPTIONS[name].default)


# Words hold no digits, so that none of them can be a recipient: they are stored as reasons, and aulm's own sentences
# are not.
_ID = re.compile(r"[!-~]{1,255}")
_WORD = re.compile(r"[a-z][a-z_]{0,63}")
_NUMBER = re.compile(NUMBER)
_COUNT = re.compile(r"[0-9]{1,12}", re.ASCII)


def _code(response: Response) -> str:
    return text(member(json_object(response.body), "error").get("code"), _WORD)


PROVIDER = Provider(
    name="aulm",
    base_url="https://api.aulm.io",
    credentials=CREDENTIALS,
    limits=LIMITS,
    channel="whatsapp",
    capabilities=capabilities,
    build_request=build_request,
    parse_response=parse_response,
    pace_credential="session_id",
    pace_jitter=PACE_JITTER,
    probe_class="session",
    build_probe=build_probe,
    parse_probe=parse_probe,
    remaining=remaining,
    webhook_credential="webhook_secret",
    verify=verify,
    parse_event=parse_event,
    options=OPTIONS,
    connect_timeout=5.0,
    timeout=50.0,  # 45 for the answer, above the time in which aulm itself gives up on WhatsApp with a 504
)
