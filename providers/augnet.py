"""Augnet: SMS by one REST call, and callbacks, signed where the project has a signing key, that say what became of it.

Facts come from Augnet's API documentation; the section is named beside each. What it leaves open is marked "our
choice". Augnet recognises no repeated request and answers no question about a message, so a send whose answer was lost
stays unknown until its callback comes: to a URL of its own, and so it is known whose it is.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from paceline.capabilities import Capabilities, Rule
from paceline.messages import Text
from paceline.status import Status
from providers import http_signatures
from providers.answers import digest, json_object, retry_after, text
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
    Request,
    Response,
    Scope,
    Submission,
    Throttled,
    Unavailable,
    Unknown,
)
from providers.http_signatures import TARGET, Signed

# "Message", `from`: a phone number, a short code, or a name. That names have at most 11 characters is GSM 03.40's rule
# for every network, which Augnet does not repeat.
_SENDER = r"\+?[0-9]{3,15}|(?=[^A-Za-z]*[A-Za-z])[!-~]([ -~]{0,9}[!-~])?"
_SENDER_HINT = "a phone number, a short code, or a name of at most 11 characters such as ABCTAXI"

CREDENTIALS = (
    Credential(
        "project_id",
        secret=False,
        pattern=r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
        hint="the project's UUID, such as 5f0c2d7e-9a41-4b1f-8f57-2c1b7e0a9d33",
        sandbox="00000000-0000-4000-8000-000000000000",
    ),
    Credential("api_key", sandbox="sandbox_api_key"),
    # Whom messages come from that name no sender themselves; one that is not whitelisted is replaced without a word.
    Credential(
        "sender",
        required=False,
        secret=False,
        identifies_key=False,
        pattern=_SENDER,
        hint=_SENDER_HINT,
    ),
    # Of the project's settings: signs what Augnet posts to us.
    Credential("signing_key", required=False, identifies_key=False, sandbox="sandbox_webhook_secret"),
)

LIMITS = {"send": ("10/second",)}  # none is documented (our choice)

# What means "not delivered": documented as prose, and its literal is not (our choice).
FAILED_WORDS = "undelivered, not delivered, notdelivered, failed"

OPTIONS = {
    "segmentation": Option(
        "documented",
        "how a text is cut into parts: 160 characters each, as documented, or as handsets count them",
        one_of=("documented", "gsm0338"),
    ),
    "max_parts": Option(10, "most parts of a text; each is billed", least=1),
    "statuses.failed": Option(
        FAILED_WORDS,
        "words of a callback that mean not delivered, separated by commas",
        pattern=r"[A-Za-z][A-Za-z _-]*(, *[A-Za-z][A-Za-z _-]*)*",
        hint="words separated by commas",
    ),
    "require_signature": Option(
        False, "whether unsigned callbacks are refused without a signing_key too; with one they always are"
    ),
    "signing_key_encoding": Option(
        "utf8", "what the signing key's text stands for", one_of=tuple(http_signatures.ENCODINGS)
    ),
    "signature.max_skew": Option(0.0, "seconds that a callback's Date may be from now; 0: any", least=0),
    "public_host": Option(
        "",
        "the host that Augnet signs, where a proxy passes on another; empty: the one that arrives",
        pattern=r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])?(:[0-9]{1,5})?",
        hint="a host such as hooks.example.com, with its port where that is not 443",
    ),
    "public_path_prefix": Option(
        "",
        "what Augnet signs in front of the path, where a proxy takes it away",
        pattern=r"(/[!-~]*[!-.0-~])?",
        hint="a path such as /paceline, without a slash at its end",
    ),
}

# "Rate limits and idempotency": before an unknown send is repeated, because the account says so, its callback may come.
UNKNOWN_GRACE = 120.0  # seconds

REPLACEMENT = "infomessage"  # the sender that a sender gives way to which is not whitelisted

# "Status callbacks", MessageStatus. `queued` alone is printed, the others are named in prose.
STATUSES = {"queued": Status.ACCEPTED, "sent": Status.SENT, "delivered": Status.DELIVERED}

# What a callback's signature must cover: what the documentation's sample covers, and no less (our choice).
COVERED = (TARGET, "date", "digest", "host")


def capabilities(account: Account) -> Capabilities:
    """What Augnet carries: texts from a sender, which the message must name where the account has none."""
    kinds = {
        "text": {
            "to": Rule(
                required=True, pattern=r"\+[1-9][0-9]{6,14}", hint="a phone number such as +447700900123 (E.164)"
            ),
            "text": Rule(required=True, min_length=1),
            "sender": Rule(
                required=not account.credentials.get("sender"), min_length=1, pattern=_SENDER, hint=_SENDER_HINT
            ),
        }
    }
    return Capabilities(
        kinds=kinds,
        channel="sms",
        segmentation=str(_option(account, "segmentation")),
        max_parts=int(_option(account, "max_parts")),
    )


def build_request(account: Account, submission: Submission) -> Request:
    """The POST that sends one text, with the message's own callback URL where there is one."""
    message = submission.message
    if not isinstance(message, Text):
        raise TypeError(f"Augnet carries no {message.kind} message; check it against the account's capabilities first")
    fields = {
        "body": message.text,
        "from": message.sender or account.credentials.get("sender"),
        "statusCallback": submission.callback,
        "to": message.to,
    }
    body = json.dumps({name: value for name, value in fields.items() if value}, ensure_ascii=False, separators=_SHORT)
    user = f"{account.credentials['project_id']}:{account.credentials['api_key']}"
    headers = {
        "Authorization": f"Basic {base64.b64encode(user.encode()).decode()}",
        "Accept": "application/json",
        "Content-Type": "application/json",
    }
    return Request("POST", f"{account.base_url.rstrip('/')}/message", headers, body.encode())


# No error is documented, so the status alone decides (our choice), and nothing of a body is kept: it may be anything,
# and a sentence in it may quote the recipient. 404 and 415 say nothing of one message, but of where all of them go.
ERRORS: Mapping[int, Callable[[Response], Outcome]] = {
    400: lambda _: Refused("bad_request", "bad_request"),
    401: lambda _: Misconfigured("unauthorized: check project_id and api_key", "unauthorized", Scope.KEY),
    402: lambda _: Misconfigured("payment_required: check the balance at Augnet", "payment_required", Scope.KEY),
    403: lambda _: Misconfigured("forbidden: check what the project may do at Augnet", "forbidden", Scope.LANE),
    404: lambda _: Misconfigured("not_found: check base_url", "not_found", Scope.LANE),
    415: lambda _: Misconfigured("unsupported_media_type: check base_url", "unsupported_media_type", Scope.LANE),
    422: lambda _: Refused("unprocessable", "unprocessable"),
    429: lambda answer: Throttled(retry_after(answer), "too_many_requests"),
    500: lambda _: Unknown("server_error", "server_error"),
    502: lambda _: Unknown("bad_gateway", "bad_gateway"),
    503: lambda answer: Unavailable(retry_after(answer), "service_unavailable"),
    504: lambda _: Unknown("gateway_timeout", "gateway_timeout"),
}


def parse_response(_account: Account, response: Response) -> Outcome:
    """What the answer to a send means. An answer without `sid` is an acceptance all the same ("Message", answer)."""
    status = response.status
    if status in ERRORS:
        return ERRORS[status](response)
    if 200 <= status < 300:
        answer = json_object(response.body)
        if not answer and not _NOTHING.fullmatch(response.body):
            # A portal or proxy on the way may say 200 to anything: what is no JSON object is no word of Augnet's.
            return Unknown("unreadable_answer")
        return Accepted(text(answer.get("sid"), _ID) or None)
    if 300 <= status < 400:
        return Misconfigured(f"http_{status}: a redirect, so check base_url", scope=Scope.LANE)
    return Refused(f"http_{status}") if 400 <= status < 500 else Unknown(f"http_{status}")


def verify(account: Account, inbound: Inbound) -> bool:
    """Whether Augnet sent this: signed, where the account has a signing key; else to a message's own address.

    Anybody can forge an unsigned callback, but only who knows of a message can address it ("Status callbacks").
    """
    secret = account.credentials.get("signing_key", "")
    if not secret and not _option(account, "require_signature"):
        return bool(inbound.message_id)
    request = _as_signed(account, inbound)
    key = http_signatures.key_bytes(secret, str(_option(account, "signing_key_encoding")))
    if not http_signatures.verify(request, key, account.credentials["project_id"], COVERED):
        return False
    skew = float(_option(account, "signature.max_skew"))
    age = http_signatures.age(request, inbound.received_at) if skew else None
    return not skew or (age is not None and abs(age) <= skew)


def parse_event(account: Account, inbound: Inbound) -> Sequence[Event]:
    """What a callback says: where a message stands; nothing if it cannot be read.

    A word that we do not know is handed on as `unknown_status` and moves nothing. There is no event id and no time: the
    same word about the same message is the same. A reason beside a status says what else is known: that the text was
    sent from `infomessage`, or that SmsStatus said something else.
    """
    said = json_object(inbound.body)
    sid = text(said.get("MessageSid"), _ID) or text(said.get("SmsSid"), _ID)
    sms_word = _word(said.get("SmsStatus"))
    word = _word(said.get("MessageStatus")) or sms_word
    if not word or not (sid or inbound.message_id):
        return []
    key = digest(sid or inbound.message_id, word)
    status = _status(account, word)
    if status is None:
        return [Event(key, "unknown_status", None, sid, data=said, message_id=inbound.message_id)]
    notes = {
        "not_delivered": status is Status.FAILED,
        f"sender_replaced {REPLACEMENT}": _replaced(account, said.get("From")),
        "sms_status_differs": sms_word not in ("", word),
    }
    reason = ", ".join(note for note, holds in notes.items() if holds)
    to = text(said.get("To"), _ID)
    return [Event(key, STATUS_EVENT, None, sid, status, reason, to, message_id=inbound.message_id)]


def _as_signed(account: Account, inbound: Inbound) -> Signed:
    query = f"?{inbound.query}" if inbound.query else ""
    target = f"{_option(account, 'public_path_prefix')}{inbound.path}{query}"
    host = str(_option(account, "public_host"))
    headers = {**inbound.headers, "host": host} if host else inbound.headers
    return Signed(inbound.method, target, headers, inbound.body)


def _status(account: Account, word: str) -> Status | None:
    failed = {_word(item) for item in str(_option(account, "statuses.failed")).split(",")}
    return STATUSES.get(word) or (Status.FAILED if word in failed else None)


def _replaced(account: Account, sender: object) -> bool:
    return _word(sender) == REPLACEMENT != _word(account.credentials.get("sender", ""))


def _word(value: object) -> str:
    """In lower case, and with one form of spaces, hyphens and underscores; empty if it is no text."""
    return _SEPARATORS.sub("_", value.strip().lower()) if isinstance(value, str) else ""


def _option(account: Account, name: str) -> Any:
    return account.options.get(name, OPTIONS[name].default)


_SHORT = (",", ":")
_ID = re.compile(r"[!-~]{1,255}")
_SEPARATORS = re.compile(r"[\s_-]+")
_NOTHING = re.compile(rb"\s*(\{\s*\}\s*)?")

PROVIDER = Provider(
    name="augnet",
    base_url="https://api.prod.augnetmq.com/api/v2",
    credentials=CREDENTIALS,
    limits=LIMITS,
    channel="sms",
    capabilities=capabilities,
    build_request=build_request,
    parse_response=parse_response,
    webhook_credential="signing_key",
    verify=verify,
    parse_event=parse_event,
    options=OPTIONS,
    connect_timeout=5.0,
    timeout=35.0,
    unknown_grace=UNKNOWN_GRACE,
)
