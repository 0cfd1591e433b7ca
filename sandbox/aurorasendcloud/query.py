"""The delivery status query: which mails it finds, and how it prints them."""

import re
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

from sandbox.aurorasendcloud.answers import Refused
from sandbox.aurorasendcloud.forms import Form
from sandbox.aurorasendcloud.mail import CREDENTIALS
from sandbox.aurorasendcloud.message import Message, bare_date, bare_time
from sandbox.aurorasendcloud.settings import AuroraSendCloudSettings

FIELDS = (
    *CREDENTIALS, "emailIds", "email", "days", "startDate", "endDate", "labelId", "labelName", "apiUserList",
    "start", "limit", "status", "subStatus",
)  # fmt: skip
MOST = 100
DAY = 86_400.0
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
NUMBERS = {"delivered": 1, "invalid": 4, "soft_bounce": 5, "sending": 18}
LOGS = {
    "delivered": "successfully delivered",
    "invalid": "invalid",
    "soft_bounce": "soft bounce",
    "sending": "sending",
}


def find(form: Form, messages: Iterable[Message], settings: AuroraSendCloudSettings, now: float) -> dict[str, Any]:
    """`info` of the answer; raises `Refused`. `total` is text, as the reference prints it."""
    if settings.unknown_fields == "refuse":
        form.check_known(FIELDS)
    first, last = _range(form, settings, now)
    start, limit = _number(form, "start", 0, None, 40002), _number(form, "limit", MOST, MOST, 40004)
    found = [each for each in _matching(form, messages) if first <= bare_date(each.created_at) <= last]
    page = found[start : start + limit]
    return {"total": str(len(found)), "voListSize": len(page), "voList": [_printed(each) for each in page]}


def word_of(message: Message) -> str:
    """The literal of `status`."""
    if message.status == "failed":
        return "soft_bounce" if message.failure >= 500 else "invalid"
    return "delivered" if message.status in ("delivered", "read") else "sending"


def _matching(form: Form, messages: Iterable[Message]) -> Iterator[Message]:
    ids, users = _listed(form, "emailIds"), _listed(form, "apiUserList")
    subs = _listed(form, "subStatus")
    for each in messages:
        if (
            (not ids or each.id in ids)
            and (not users or each.user in users)
            and form.get("email") in ("", each.recipient)
            and (form.get("labelId") in ("", str(each.label_id)))
            and (form.get("labelId") or form.get("labelName") in ("", each.label))
            and form.get("status") in ("", str(NUMBERS[word_of(each)]))
            and (not subs or str(each.failure) in subs)
        ):
            yield each


def _range(form: Form, settings: AuroraSendCloudSettings, now: float) -> tuple[str, str]:
    days, start, end = form.get("days"), form.get("startDate"), form.get("endDate")
    if days:
        if not days.isdecimal() or len(days) > 3 or int(days) < 1:
            raise Refused(40006)
        first, last = bare_date(now - (int(days) - 1) * DAY), bare_date(now)
    else:
        first, last = start, end
        for value, code in ((start, 40007), (end, 40008)):
            if not _is_date(value):
                raise Refused(code)
    length = (date.fromisoformat(last) - date.fromisoformat(first)).days + 1
    if not 1 <= length <= settings.status_days:
        raise Refused(40006 if days else 40007, f"at most {settings.status_days} days")
    return first, last


def _is_date(value: str) -> bool:
    try:
        return _DATE.fullmatch(value) is not None and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _number(form: Form, name: str, default: int, most: int | None, code: int) -> int:
    value = form.get(name)
    if not value:
        return default
    if not value.isdecimal() or len(value) > 9 or (most is not None and int(value) > most):
        raise Refused(code)
    return int(value)


def _listed(form: Form, name: str) -> list[str]:
    return form.get(name).split(";") if form.get(name) else []


def _printed(message: Message) -> dict[str, Any]:
    word = word_of(message)
    return {
        "emailId": message.id,
        "status": word,
        "apiUser": message.user,
        "recipients": message.recipient,
        "requestTime": bare_time(message.created_at),
        "modifiedTime": bare_time(message.modified_at),
        "sendLog": LOGS[word],
        "subStatus": message.failure,
        "subStatusDesc": LOGS[word] if message.failure else "",
    }
