"""Aurogy: an end-to-end encrypted messenger for text, media and approved templates; JSON over HTTPS.

Facts come from Aurogy's API reference, version 1.0; the section is named beside each. What the reference leaves open is
marked "our choice". Aurogy recognises no repeated request, so a send whose answer is lost stays unknown.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from paceline.capabilities import Capabilities, Rule
from paceline.messages import Media, Template, Text
from paceline.status import Status
from providers.answers import digest, instant, json_object, member, retry_after, sha256, signed, text
from providers.aurogy.calls import OPERATIONS
from providers.aurogy.wire import ID, OPTIONS, WORD, ask_status, code_of, declined, option, request
from providers.base import (
    STATUS_EVENT,
    Accepted,
    Account,
    Credential,
    Event,
    Inbound,
    Outcome,
    Provider,
    Report,
    ReportedLimit,
    Request,
    Response,
    Submission,
    Unavailable,
    Unknown,
)

CREDENTIALS = (
    # The prefixes are the reference's ("Authentication"), the alphabet and the length of the rest are our choice.
    Credential(
        "api_key",
        pattern=r"auro_(live|test)_sk_[A-Za-z0-9_]{8,128}",
        hint="auro_live_sk_ or auro_test_sk_ and 8 to 128 letters, digits or underscores",
        sandbox="auro_test_sk_sandbox0000",
    ),
    # Signs what Aurogy posts to us ("Webhooks"); limits belong to the API key alone.
    Credential("webhook_secret", required=False, identifies_key=False, sandbox="auro_whsec_sandbox0000"),
)

# "Rate limits", per API key: the three sends share one bucket. The reference limits PUT /profile to 10 a minute and
# is silent about GET /profile; both are in one class here, so the known limit holds for both (our choice).
LIMITS = {
    "send": ("100/minute",),
    "status": ("300/minute",),
    "conversations": ("60/minute",),
    "profile": ("10/minute",),
}

MEDIA_TYPES = ("image/jpeg", "image/png", "video/mp4", "audio/ogg", "application/pdf")

# Aurogy knows a phone number only as a hash whose encoding it does not document. Our choice is generous (hex or
# base64url), but asks for a letter: what has none is a phone number, which Aurogy would refuse.
RECIPIENT = Rule(
    required=True,
    pattern=r"auro_usr_[A-Za-z0-9]{1,119}|(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9_-]{16,128}={0,2}",
    hint="an Aurogy id such as auro_usr_8f3k29d1a7, or a phone hash of 16 to 128 letters, digits, - or _, "
    "never the phone number itself",
)

# "Send text", "Send media", "Send template". Lowest lengths, the filename's 255, the language's grammar and the number
# of variables are our choice.
KINDS: Mapping[str, Mapping[str, Rule]] = {
    "text": {
        "to": RECIPIENT,
        "text": Rule(required=True, min_length=1, max_length=4096),
        "reply_to": Rule(min_length=1),
    },
    "media": {
        "to": RECIPIENT,
        "url": Rule(required=True, pattern=r"https://[^\s/?#]\S*", hint="an https:// URL"),
        "media_type": Rule(required=True, one_of=MEDIA_TYPES),
        "caption": Rule(max_length=1024),
        "filename": Rule(max_length=255),
    },
    "template": {
        "to": RECIPIENT,
        "template": Rule(required=True, min_length=1),
        "language": Rule(
            required=True, pattern=r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", hint="a language code such as en or pt-BR"
        ),
        "variables": Rule(max_items=256),
    },
}

# "Message status": a closed set, so any other word says nothing we know.
STATUSES = {
    "queued": Status.ACCEPTED,
    "sent": Status.SENT,
    "delivered": Status.DELIVERED,
    "read": Status.READ,
    "failed": Status.FAILED,
}

# "Webhooks": what is said of our messages. There is no event for `sent`.
REPORTS = {"message.delivered": Status.DELIVERED, "message.read": Status.READ, "message.failed": Status.FAILED}


def capabilities(account: Account) -> Capabilities:
    """What Aurogy carries: text, media and templates, with at most 10 entries of metadata."""
    return Capabilities(
        kinds=KINDS,
        metadata=Rule(max_items=10, max_length=option(account, "metadata.max_len")),
        options={"reply_to": KINDS["text"]["reply_to"]},
    )


def build_request(account: Account, submission: Submission) -> Request:
    """The POST that sends one message. Metadata and `reply_to` are fields of a text alone."""
    path, fields = _send(account, submission)
    return request(account, "POST", path, {name: value for name, value in fields.items() if value})


def parse_response(_account: Account, response: Response) -> Outcome:
    """What the answer to a send means. An answer of 200 says queued, not delivered.

    A 5xx other than 503 leaves the send unknown: the reference does not say that nothing was accepted.
    """
    if not 200 <= response.status < 300:
        code = code_of(response)
        return declined(response, code) or Unknown(code or f"http_{response.status}", code)
    answer = json_object(response.body)
    if not answer:
        # A portal or proxy on the way may say 200 to anything: only the API's own JSON is an acceptance.
        return Unknown("unreadable_answer")
    return Accepted(text(answer.get("id"), ID) or None, STATUSES.get(text(answer.get("status"), WORD), Status.ACCEPTED))


def build_poll(account: Account, provider_message_id: str) -> Request:
    """The GET that asks for one message's status."""
    return ask_status(account, provider_message_id)


def parse_poll(_account: Account, response: Response) -> Report | Outcome:
    """What the answer to a poll means. Aurogy gives no reason for `failed`, so ours is `not_delivered`."""
    if response.status == 404:
        return Report(None, "not_found")
    if not 200 <= response.status < 300:
        code = code_of(response)
        return declined(response, code) or Unavailable(retry_after(response), code)
    word = text(json_object(response.body).get("status"), WORD)
    status = STATUSES.get(word)
    if status is None:
        return Report(None, f"unknown_status {word}".strip())
    return Report(status, "not_delivered" if status is Status.FAILED else "")


def build_probe(account: Account) -> Request:
    """The GET that shows whether the key works and changes nothing: the business profile, on limit class `profile`."""
    return request(account, "GET", str(option(account, "paths.profile")))


def parse_probe(_account: Account, response: Response) -> Outcome:
    """`Accepted` if Aurogy shows the profile. The path is not documented for GET, so 404 and 405 say nothing."""
    if 200 <= response.status < 300:
        return Accepted() if json_object(response.body) else Unknown("unreadable_answer")
    code = code_of(response)
    if response.status in (404, 405):
        return Unknown(f"http_{response.status}: check options.paths.profile", code)
    return declined(response, code) or Unavailable(retry_after(response), code)


def reported_limit(_account: Account, response: Response) -> ReportedLimit | None:
    """What X-RateLimit-Limit says. The reference names the minute as the window of every limit ("Rate limits")."""
    value = response.headers.get("x-ratelimit-limit", "")
    return ReportedLimit(int(value), 60.0) if re.fullmatch("[0-9]{1,9}", value, re.ASCII) else None


def verify(account: Account, inbound: Inbound) -> bool:
    """Whether Aurogy signed these bytes ("Webhooks"): hexadecimal HMAC-SHA256 of the body, keyed with webhook_secret.

    No time is signed but the body's own, so `webhook.freshness` judges that one. It is off by default: the reference
    does not say how late a repetition may come.
    """
    secret = account.credentials.get("webhook_secret", "")
    if not signed(secret, inbound.body, inbound.headers.get("x-aurogy-signature", "")):
        return False
    freshness = float(option(account, "webhook.freshness"))
    at = instant(json_object(inbound.body).get("timestamp")) if freshness else None
    return not freshness or (at is not None and abs(inbound.received_at - at) <= freshness)


def parse_event(_account: Account, inbound: Inbound) -> Sequence[Event]:
    """What a webhook says: where a message stands, or what happened to the account; nothing if it cannot be read.

    Only `message.received` has documented data. Of a report no more is required than the message's id, and an event
    whose name is new to us is handed on under that name. There is no delivery id: the same event about the same message
    at the same time is the same, and where that is not said, the same bytes are.
    """
    envelope = json_object(inbound.body)
    name, data = text(envelope.get("event"), _EVENT), member(envelope, "data")
    message, when = text(data.get("message_id"), ID), data.get("timestamp")
    at = instant(when) or instant(envelope.get("timestamp"))
    key = digest(name, message, when) if message and isinstance(when, str) else sha256(inbound.body)
    kind, status = name.replace(".", "_"), REPORTS.get(name)
    if status is not None and message:
        reason = text(member(data, "error").get("code"), WORD) or "not_delivered" if status is Status.FAILED else ""
        return [Event(key, STATUS_EVENT, at, message, status, reason, text(data.get("to"), ID))]
    if status is not None or kind in ("", STATUS_EVENT):
        return []
    return [Event(key, kind, at, data=data)]


def _send(account: Account, submission: Submission) -> tuple[str, dict[str, Any]]:
    message = submission.message
    match message:
        case Text():
            return "/messages/text", {
                "to": message.to,
                "text": message.text,
                "reply_to": message.reply_to or submission.options.get("reply_to"),
                "metadata": dict(submission.metadata),
            }
        case Media():
            return "/messages/media", {
                "to": message.to,
                "media_url": message.url,
                "media_type": message.media_type,
                "caption": message.caption,
                "filename": message.filename,
            }
        case Template():
            return str(option(account, "paths.template")), {
                "to": message.to,
                "template": message.template,
                "language": message.language,
                "variables": dict(message.variables),
            }
    raise TypeError(f"Aurogy carries no {message.kind} message; check it against the account's capabilities first")


_EVENT = re.compile(r"[a-z][a-z_.]{0,63}")


PROVIDER = Provider(
    name="aurogy",
    base_url="https://api.aurogy.com/v1",
    credentials=CREDENTIALS,
    limits=LIMITS,
    channel="aurogy",
    capabilities=capabilities,
    build_request=build_request,
    parse_response=parse_response,
    poll_class="status",
    build_poll=build_poll,
    parse_poll=parse_poll,
    probe_class="profile",
    build_probe=build_probe,
    parse_probe=parse_probe,
    reported_limit=reported_limit,
    webhook_credential="webhook_secret",
    verify=verify,
    parse_event=parse_event,
    operations=OPERATIONS,
    options=OPTIONS,
    connect_timeout=5.0,
    timeout=35.0,
)
