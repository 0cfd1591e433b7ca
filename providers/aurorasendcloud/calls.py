"""What AuroraSendCloud's e-mail answers besides sending: where mails stand, and what is left of the account.

Both are questions on the status lane. Facts come from AuroraSendCloud's API reference; its zone-less times are read in
the zone of the option `timezone`.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from paceline.capabilities import Rule
from paceline.errors import InvalidMessage
from providers.answers import text
from providers.aurorasendcloud import declined, judge, undecided
from providers.aurorasendcloud import hooks as hooks
from providers.aurorasendcloud.mail import LONGEST_RANGE, offset, question
from providers.base import Account, Done, Job, Next, Operation, Outcome, Request, Response, Unknown

# "Delivery status query": an answer is cached there for ten minutes, so that asking sooner tells nothing new.
CACHED_FOR = 600.0  # seconds

DAY = Rule(pattern=r"[0-9]{4}-[0-9]{2}-[0-9]{2}", hint="a day such as 2026-04-13")
QUERY = {
    "emailIds": Rule(min_length=1, hint="ids of mails, joined by semicolons"),
    "email": Rule(form="email"),
    "days": Rule(min_number=1, max_number=LONGEST_RANGE, whole=True),
    "startDate": DAY,
    "endDate": DAY,
    "labelId": Rule(pattern=r"[0-9]{1,18}", hint="the number of a label"),  # it goes before labelName
    "labelName": Rule(min_length=1, max_length=255),
    "apiUserList": Rule(min_length=1, hint="API users joined by semicolons"),
    "status": Rule(one_of=("1", "4", "5", "18")),
    "subStatus": Rule(pattern=r"[0-9]{3}(;[0-9]{3})*", hint="sub-statuses joined by semicolons, such as 404;406"),
    "start": Rule(min_number=0, max_number=999_999_999, whole=True),
    "limit": Rule(min_number=0, max_number=100, whole=True),
}

Shape = Callable[[Account, Mapping[str, Any]], Any]  # `info` of an answer → what the caller gets; None: not understood


def check_query(_account: Account, arguments: Mapping[str, Any]) -> None:
    """Raise `InvalidMessage` unless the question names its days: at most three, back from today or in a row."""
    named = [name for name in ("startDate", "endDate") if name in arguments]
    if "days" in arguments:
        if named:
            raise InvalidMessage(named[0], "goes without days: name the days one way or the other")
        return
    if len(named) < 2:
        raise InvalidMessage("days", "or startDate and endDate are required")
    try:
        first, last = (date.fromisoformat(arguments[name]) for name in named)
    except ValueError:
        raise InvalidMessage("startDate", "and endDate must be days that there are, such as 2026-04-13") from None
    if not 0 <= (last - first).days < LONGEST_RANGE:
        raise InvalidMessage("endDate", f"must be startDate or at most {LONGEST_RANGE - 1} days later")


def _ask_status(account: Account, job: Job) -> Request:
    given = [(name, str(job.arguments[name])) for name in QUERY if name in job.arguments]
    return question(account, "paths.emailStatus", given)


def _mails(account: Account, info: Mapping[str, Any]) -> dict[str, Any] | None:
    found = info.get("voList")
    if not isinstance(found, list):
        return None
    mails = [_mail(account, item) for item in found if isinstance(item, dict)]
    return {"total": _whole(info.get("total")), "mails": mails}


def _mail(account: Account, item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": text(item.get("emailId"), hooks.MESSAGE_ID),
        "to": text(item.get("recipients"), hooks.RECIPIENT),
        "status": text(item.get("status"), _WORD),
        "sub_status": _whole(item.get("subStatus")),
        "requested_at": _instant(account, item.get("requestTime")),
        "modified_at": _instant(account, item.get("modifiedTime")),
    }


def _ask_quota(account: Account, _job: Job) -> Request:
    return question(account, "paths.userinfo", [])


def _quota(_account: Account, info: Mapping[str, Any]) -> dict[str, Any] | None:
    data = info.get("data")
    if not isinstance(data, dict):
        return None
    return {"quota": _whole(data.get("quota")), "used_today": _whole(data.get("todayUsedQuota"))}


def _reading(shape: Shape) -> Callable[[Account, Job, Response], Next | Done | Outcome]:
    def read(account: Account, _job: Job, response: Response) -> Next | Done | Outcome:
        verdict = judge(response)
        if verdict is None:
            return undecided(response)
        if not verdict.accepted:
            return declined(account, response, verdict)
        found = shape(account, verdict.info)
        return Unknown("unreadable_answer") if found is None else Done(found)

    return read


def _instant(account: Account, value: object) -> float | None:
    """`2026-04-13 14:30:00` in the account's zone as Unix seconds; None if it is nothing of the kind."""
    try:
        if not isinstance(value, str):
            return None
        return (datetime.strptime(value, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) - offset(account)).timestamp()
    except (ValueError, OverflowError):
        return None


def _whole(value: object) -> int | None:
    written = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(written) if _NUMBER.fullmatch(written) else None


_WORD = re.compile(r"[A-Za-z][A-Za-z _]{0,63}|[0-9]{1,2}")
_NUMBER = re.compile(r"[0-9]{1,15}")

OPERATIONS = {
    "mail_status": Operation(
        "where mails stand: by ids, recipient, label or status, within at most three days",
        "status",
        _ask_status,
        _reading(_mails),
        QUERY,
        check_query,
        fresh_for=CACHED_FOR,
    ),
    "quota": Operation(
        "the day's quota of mails and what of it is used, by a call that the reference's sibling product documents",
        "status",
        _ask_quota,
        _reading(_quota),
    ),
}
