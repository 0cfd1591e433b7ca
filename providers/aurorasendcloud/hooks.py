"""AuroraSendCloud's webhooks, of e-mail and of SMS: whether one is genuine, and what it says.

Facts come from AuroraSendCloud's API reference, "Webhooks". Two generations of it differ in encoding and spelling, so
both forms and JSON are read, by content type, and fields by their names in lower case without underscores. The
signature covers the timestamp and the token alone, not the body: see `nonce`.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from paceline.status import Status
from providers.answers import digest, sha256, signed, text
from providers.base import STATUS_EVENT, Account, Event, Inbound

WINDOW = "webhook.replay_window"  # the option: seconds between a webhook's timestamp and its arrival
# "Signature" (our choice): both cover the retries, whose timestamps may be the first attempt's.
EMAIL_WINDOW, SMS_WINDOW = 2 * 3600.0, 26 * 3600.0  # seconds

MESSAGE_ID = re.compile(r"[!-~\u00a1-\uffff]{1,900}")
RECIPIENT = re.compile(r"[!-~\u00a1-\uffff]{1,320}")
DISPATCH_ID = "sc-custom-dispatch-id"  # the header, and in `customArgs` the member, in which our own id comes back
_OWN_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_NAME = re.compile(r"[a-z][a-z_]{0,63}")


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a mail or SMS failed. `suppressed`: its recipient is, or is to be, written to no more."""

    reason: str
    suppressed: bool = False


# "Sub-status" of e-mails. 406 is a hard bounce: writing there again only harms the sender's name.
SUB_STATUSES: Mapping[str, Cause] = {
    "401": Cause("401 suppressed: on the platform's block list", suppressed=True),
    "402": Cause("402 suppressed: unsubscribed", suppressed=True),
    "403": Cause("403 server unreachable"),
    "404": Cause("404 address malformed"),
    "405": Cause("405 IP or domain rejected"),
    "406": Cause("406 address does not exist", suppressed=True),
    "407": Cause("407 judged spam"),
    "408": Cause("408 sender or recipient rejected"),
    "409": Cause("409 other"),
    "503": Cause("503 soft bounce: service not available"),
    "505": Cause("505 soft bounce: IP or domain rejected"),
    "506": Cause("506 soft bounce: address does not exist"),
    "507": Cause("507 soft bounce: spam"),
    "508": Cause("508 soft bounce: rejected"),
    "509": Cause("509 soft bounce: other"),
}

# "SMS failure codes in hooks": 4xx were stopped by the platform, 5xx failed at the carrier.
SMS_FAILURES: Mapping[str, Cause] = {
    "410": Cause("410 suppressed: on the global block list", suppressed=True),
    "420": Cause("420 suppressed: on the account's block list", suppressed=True),
    "430": Cause("430 suppressed: unsubscribed", suppressed=True),
    "440": Cause("440 invalid number"),
    "450": Cause("450 carrier rejection"),
    "460": Cause("460 text over 500 characters"),
    "490": Cause("490 suppressed, other"),
    "500": Cause("500 number does not exist"),
    "510": Cause("510 number suspended"),
    "520": Cause("520 on a blacklist"),
    "530": Cause("530 busy"),
    "540": Cause("540 no answer"),
    "550": Cause("550 template content blocked"),
    "560": Cause("560 handset fault"),
    "570": Cause("570 out of coverage"),
    "580": Cause("580 switched off"),
    "590": Cause("590 other failure"),
}

# E-mail events, the newer guide's names too; a name is compared in lower case, with underscores.
EMAIL_REPORTS = {
    "request": Status.ACCEPTED,
    "deliver": Status.DELIVERED,
    "delivered": Status.DELIVERED,
    "open": Status.READ,
    "click": Status.READ,
    "invalid": Status.FAILED,
    "invalid_email": Status.FAILED,
    "soft_bounce": Status.FAILED,
}
OPT_OUTS = {"unsubscribe": "unsubscribe", "report_spam": "report_spam", "spam_report": "report_spam"}

# SMS events: by `eventType` first, then by name in lower case without spaces and underscores.
ACCEPTED, DELIVERED, FAILED, REVIEW = "accepted", "delivered", "failed", "template_reviewed"
SMS_TYPES = {"1": ACCEPTED, "2": DELIVERED, "20": DELIVERED, "4": FAILED, "5": FAILED, "8": REVIEW}
SMS_NAMES = {
    "request": ACCEPTED,
    "requested": ACCEPTED,
    "deliver": DELIVERED,
    "delivered": DELIVERED,
    "workererror": FAILED,
    "suppressed": FAILED,
    "delivererror": FAILED,
    "failed": FAILED,
    "templateverify": REVIEW,
}
SMS_REPORTS = {ACCEPTED: Status.ACCEPTED, DELIVERED: Status.DELIVERED, FAILED: Status.FAILED}

Fields = Mapping[str, Any]


def verify_email(account: Account, inbound: Inbound) -> bool:
    """Whether the e-mail hook's APP KEY signed this timestamp and token, not longer ago than two hours."""
    return _genuine(account, inbound, EMAIL_WINDOW)


def verify_sms(account: Account, inbound: Inbound) -> bool:
    """Whether the SMSHook's APP KEY signed this timestamp and token, not longer ago than 26 hours."""
    return _genuine(account, inbound, SMS_WINDOW)


def nonce(_account: Account, inbound: Inbound) -> str:
    """The token, random for each event: a second body under the same one is forged, the same body is a retry."""
    return _string(read(inbound).get("token"))


def parse_email(_account: Account, inbound: Inbound) -> Sequence[Event]:
    """What an e-mail webhook says: where mails stand, who wants no more, what was clicked or written back.

    A click also says that the mail was read. An `unsubscribe` with a sub-status is an `invalid` that one page of the
    reference misprints.
    """
    fields = read(inbound)
    name = _string(fields.get("event")).lower().replace("-", "_")
    sub = _string(fields.get("substat"))
    sub = "" if sub == "0" else sub  # as in the status query, of what has none
    if name == "unsubscribe" and sub:
        name = "invalid"
    if name in EMAIL_REPORTS:
        events = _email_reports(inbound, fields, name, sub)
        return [*events, _happened(inbound, fields, "link_clicked")] if name == "click" else events
    if name in OPT_OUTS:
        return [_happened(inbound, fields, OPT_OUTS[name], opted_out=_recipient(fields, _id(fields)))]
    kind = "message_received" if name == "route" else text(name, _NAME)
    return [] if kind in ("", STATUS_EVENT) else [_happened(inbound, fields, kind)]


def parse_sms(_account: Account, inbound: Inbound) -> Sequence[Event]:
    """What an SMSHook says: where messages stand, or how a template's review ended."""
    fields = read(inbound)
    name = _string(fields.get("event")).lower()
    meaning = SMS_TYPES.get(_string(fields.get("eventtype"))) or SMS_NAMES.get(re.sub(r"[\s_]", "", name))
    if meaning == REVIEW:
        return [_happened(inbound, fields, REVIEW)]
    if meaning is None:
        kind = text(re.sub(r"[\s-]+", "_", name), _NAME)
        return [] if kind in ("", STATUS_EVENT) else [_happened(inbound, fields, kind)]
    status = SMS_REPORTS[meaning]
    cause = _cause(SMS_FAILURES, _string(fields.get("statuscode"))) if status is Status.FAILED else Cause("")
    ids = [found] if (found := _id(fields)) else _list(fields.get("smsids"))
    phones = _list(fields.get("phones"))
    return [
        _report(inbound, fields, meaning, status, cause, id_, phones[number] if number < len(phones) else "")
        for number, id_ in enumerate(ids)
        if MESSAGE_ID.fullmatch(id_)
    ]


def read(inbound: Inbound) -> dict[str, Any]:
    """The fields, by their names in lower case without underscores; empty if they cannot be read.

    Numbers stay text, digit by digit as they came, because signatures are over the timestamp's digits.
    """
    return {_plain(name): value for name, value in _written(inbound, str).items()}


def _written(inbound: Inbound, whole_number: Callable[[str], Any]) -> dict[str, Any]:
    """What came, by the names it came under."""
    content_type = inbound.headers.get("content-type", "").partition(";")[0].strip().lower()
    form = content_type == "application/x-www-form-urlencoded"
    if not form and (content_type.endswith("json") or inbound.body.lstrip()[:1] == b"{"):
        found = _json(inbound.body, whole_number)
        return found if isinstance(found, dict) else {}
    return _form(inbound.body)


def _genuine(account: Account, inbound: Inbound, window: float) -> bool:
    fields = read(inbound)
    timestamp, token = _string(fields.get("timestamp")), _string(fields.get("token"))
    if not (_TIMESTAMP.fullmatch(timestamp) and token):
        return False
    said = (timestamp + token).encode("utf-8", "replace")
    if not signed(account.credentials.get("webhook_secret", ""), said, _string(fields.get("signature"))):
        return False
    return abs(inbound.received_at - _instant(timestamp)) <= float(account.options.get(WINDOW, window))


def _email_reports(inbound: Inbound, fields: Fields, name: str, sub: str) -> list[Event]:
    status = EMAIL_REPORTS[name]
    cause = _cause(SUB_STATUSES, sub) if status is Status.FAILED else Cause("")
    ids = [found] if (found := _id(fields)) else _list(fields.get("emailids"))
    return [_report(inbound, fields, name, status, cause, id_, "") for id_ in ids if MESSAGE_ID.fullmatch(id_)]


def _report(
    inbound: Inbound, fields: Fields, name: str, status: Status, cause: Cause, id_: str, recipient: str
) -> Event:
    to = text(recipient, RECIPIENT) or _recipient(fields, id_)
    return Event(
        _key(inbound, fields, name, id_),
        STATUS_EVENT,
        _at(fields),
        id_,
        status,
        cause.reason,
        to,
        message_id=_own_id(fields),
        opted_out=to if cause.suppressed else "",
    )


def _happened(inbound: Inbound, fields: Fields, kind: str, opted_out: str = "") -> Event:
    """Something that is no status; `data` is what came, without its token and signature."""
    id_ = text(_id(fields), MESSAGE_ID)
    data = {name: value for name, value in _written(inbound, int).items() if _plain(name) not in _PROOF}
    return Event(
        _key(inbound, fields, kind, id_),
        kind,
        _at(fields),
        id_,
        recipient=_recipient(fields, id_),
        data=data,
        opted_out=opted_out,
    )


def _key(inbound: Inbound, fields: Fields, name: str, id_: str) -> str:
    # There is no id of the event's own: the reference names these three, and without an id the bytes tell.
    return digest(name, id_, _string(fields.get("timestamp"))) if id_ else digest(name, sha256(inbound.body))


def _cause(known: Mapping[str, Cause], code: str) -> Cause:
    found = known.get(code)
    return found or Cause(f"unknown_code_{code}" if _CODE.fullmatch(code) else "not_delivered")


def _id(fields: Fields) -> str:
    message, mark, recipient = (_string(fields.get("emailid")) or _string(fields.get("smsid"))).partition("$")
    # A plus that was not encoded arrives in a form as a space, and no recipient has one.
    return message + mark + recipient.replace(" ", "+")


def _recipient(fields: Fields, id_: str) -> str:
    """Whom it was for: as named, else what follows the first `$` of the id."""
    named = _string(fields.get("recipient")) or _string(fields.get("phone"))
    # The same plus: a number's first, an address's anywhere.
    named = named.strip().replace(" ", "+") if "@" in named else re.sub("^ ", "+", named)
    return text(named or id_.partition("$")[2], RECIPIENT)


def _own_id(fields: Fields) -> str:
    """Our own id, where it comes back: in `userHeaders` or in `customArgs`."""
    for name, member in (("userheaders", DISPATCH_ID), ("customargs", "dispatch_id")):
        held = fields.get(name)
        held = _json(held.encode("utf-8", "replace")) if isinstance(held, str) else held
        if isinstance(held, dict):
            return next((text(value, _OWN_ID) for key, value in held.items() if key.lower() == member), "")
    return ""


def _at(fields: Fields) -> float | None:
    timestamp = _string(fields.get("timestamp"))
    return _instant(timestamp) if _TIMESTAMP.fullmatch(timestamp) else None


def _instant(timestamp: str) -> float:
    # Milliseconds by the samples of SMS; nothing is said of e-mail, whose seconds would have ten digits.
    return int(timestamp) / 1000 if len(timestamp) > 11 else float(timestamp)


def _form(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=1000))
    except ValueError:
        return {}


def _json(body: bytes, whole_number: Callable[[str], Any] = str) -> object:
    try:
        # A fraction is no timestamp, and what JSON calls no number (NaN) can be stored nowhere: both stay text.
        return json.loads(body, parse_int=whole_number, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return {}


def _list(value: object) -> list[str]:
    """A list, or the JSON text of one."""
    held = _json(value.encode("utf-8", "replace")) if isinstance(value, str) else value
    return [_string(item) for item in held] if isinstance(held, list) else []


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


_PROOF = ("token", "signature")  # of no use to anybody else
_TIMESTAMP = re.compile(r"[0-9]{10,16}")
_CODE = re.compile(r"[0-9]{1,4}")
