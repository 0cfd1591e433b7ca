"""What is asked of AuroraSendCloud's e-mail, as bytes: mails, template mails and status queries.

Facts come from AuroraSendCloud's API reference; what it leaves open is marked "our choice".
"""

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from paceline.errors import InvalidMessage
from paceline.messages import Email, Message, Template
from providers.aurorasendcloud import QUOTA_RECHECK, option, post, post_files
from providers.aurorasendcloud import hooks as hooks
from providers.base import Account, Option, Request, Submission

OPTIONS = {
    "paths.send": Option("/mail/send", "path of a mail; some pages print /api/mail/send"),
    "paths.sendtemplate": Option("/mail/sendtemplate", "path of a template mail; some pages print it below /api"),
    "paths.emailStatus": Option("/api/data/emailStatus", "path of the delivery status query"),
    "paths.userinfo": Option("/api/userinfo/get", "path of the account's quota, which the reference does not print"),
    "credentials.style": Option(
        "api_user",
        "names of the credentials in a send: api_user and api_key, or apiUser and apiKey",
        one_of=("api_user", "apiUser"),
    ),
    "timezone": Option(
        "GMT+8",
        "zone of the dates in status queries, which name none",
        pattern=r"GMT[+-](1[0-4]|[0-9])(:[0-5][0-9])?",
        hint="an offset such as GMT+8 or GMT-5:30",
    ),
    "quota.recheck": QUOTA_RECHECK,
    "webhook.replay_window": Option(
        7200.0, "seconds between a webhook's timestamp and its arrival above which it is refused", least=1
    ),
}

# "Delivery status query": one page says 30 days, another three.
LONGEST_RANGE = 3  # days

# What comes back in webhooks begins with this ("headers").
CUSTOM = "SC-Custom-"


def build_request(account: Account, submission: Submission) -> Request:
    """The POST that sends one mail: a form, or multipart where there are attachments.

    Raises `InvalidMessage` for a mail with neither html nor text.
    """
    message = submission.message
    match message:
        case Email():
            if not (message.html or message.text):
                raise InvalidMessage("html", "or text is required")
            path, content = "paths.send", _mail(message)
        case Template():
            path, content = "paths.sendtemplate", [("templateInvokeName", message.template)]
        case _:
            raise TypeError(f"AuroraSendCloud's e-mail carries no {message.kind} message; check it first")
    smtp = _xsmtpapi(message, submission.options)
    fields = [
        *_credentials(account),
        *_sender(account, submission),
        *content,
        ("xsmtpapi", _json(smtp) if smtp else ""),
        *_extras(submission),
    ]
    files = _files(message) if isinstance(message, Email) else []
    where = str(option(account, path, OPTIONS[path]))
    return post_files(account, where, fields, files) if files else post(account, where, fields)


def build_poll(account: Account, provider_message_id: str) -> Request:
    """The POST that asks for one mail's status.

    The query wants a range of days and allows three. An id begins with the milliseconds at which the mail was taken, so
    that its own day is asked for, and the day before, in case the provider's zone lies west of the one we suppose.
    """
    return question(
        account, "paths.emailStatus", [("emailIds", provider_message_id), *_days(account, provider_message_id)]
    )


def build_probe(account: Account) -> Request:
    """A status query for at most one mail of the last day: it shows whether the key works, and changes nothing."""
    return question(account, "paths.emailStatus", [("days", "1"), ("limit", "1")])


Fields = list[tuple[str, str]]


def _credentials(account: Account) -> Fields:
    style = option(account, "credentials.style", OPTIONS["credentials.style"])
    names = ("apiUser", "apiKey") if style == "apiUser" else ("api_user", "api_key")
    return [(names[0], account.credentials["api_user"]), (names[1], account.credentials["api_key"])]


def question(account: Account, path: str, fields: Fields) -> Request:
    """A query at the path of that option. Queries are documented with this spelling of the credentials alone."""
    known = [("apiUser", account.credentials["api_user"]), ("apiKey", account.credentials["api_key"])]
    return post(account, str(option(account, path, OPTIONS[path])), [*known, *fields])


def _sender(account: Account, submission: Submission) -> Fields:
    message, options, own = submission.message, submission.options, account.credentials
    named = (message.sender, message.sender_name) if isinstance(message, Email) else (None, None)
    sender = named[0] or options.get("from") or own["sender"]
    # The account's name belongs to the account's address.
    name = named[1] or options.get("fromName") or (own.get("sender_name", "") if sender == own["sender"] else "")
    return [("from", str(sender)), ("fromName", str(name))]


def _mail(message: Email) -> Fields:
    return [
        ("to", message.to),
        ("subject", message.subject),
        ("html", message.html or ""),
        ("plain", message.text or ""),
        ("cc", ";".join(message.cc)),
        ("bcc", ";".join(message.bcc)),
    ]


def _xsmtpapi(message: Message, options: Mapping[str, Any]) -> dict[str, Any]:
    """The extension of a send. A template's recipients come from its `to` alone ("Template send"); a mail's do not, so
    that its own `to`, `cc` and `bcc` hold ("Basic send")."""
    smtp: dict[str, Any] = {}
    if isinstance(message, Template):
        smtp["to"] = [message.to]
        if message.variables:
            smtp["sub"] = {name: [value] for name, value in _named(message.variables).items()}
    if options.get("pubsub"):
        smtp["pubsub"] = _named(options["pubsub"])
    for name in ("filters", "send_domain"):
        if options.get(name):
            smtp[name] = options[name]
    if options.get("settings.unsubscribe.page_id"):
        smtp["settings"] = {"unsubscribe": {"page_id": options["settings.unsubscribe.page_id"]}}
    return smtp


def _named(values: Mapping[str, str]) -> dict[str, str]:
    # Variables are written `%name%`; without their percent signs they are the same.
    return {f"%{name.strip('%')}%": value for name, value in values.items()}


def _extras(submission: Submission) -> Fields:
    message, options = submission.message, submission.options
    reply_to = (message.reply_to if isinstance(message, Email) else ()) or _listed(options.get("replyTo"))
    return [
        ("subject", "" if isinstance(message, Email) else str(options.get("subject") or "")),
        ("replyTo", ";".join(reply_to)),
        ("contentSummary", str(options.get("contentSummary") or "")),
        ("labelName", str(options.get("labelName") or "")),
        ("sendTags", ";".join(_listed(options.get("sendTags")))),
        ("useNotification", _switch(options.get("useNotification"))),
        ("sendRequestId", submission.id),
        ("headers", _json(headers) if (headers := _headers(submission)) else ""),
    ]


def _headers(submission: Submission) -> dict[str, str]:
    """The mail's own headers, and those that come back in webhooks: metadata whose name can be one, and our id.

    Our id stays out of a mail with copies: what its other recipients do is not what became of the message.
    """
    message = submission.message
    own = dict((message.headers if isinstance(message, Email) else {}) or submission.options.get("headers") or {})
    copied = isinstance(message, Email) and bool(message.cc or message.bcc)
    taken = {name.lower() for name in own} | {hooks.DISPATCH_ID}
    for name, value in submission.metadata.items():
        header = CUSTOM + name
        if _TOKEN.fullmatch(name) and header.lower() not in taken:
            own[header] = value
    return own if copied else own | {f"{CUSTOM}dispatch-id": submission.id}


def _files(message: Email) -> list[tuple[str, str, str, bytes]]:
    return [
        (
            "attachments",
            item["filename"],
            item.get("media_type", ""),
            base64.b64decode(item["content"], validate=True),
        )
        for item in message.attachments
    ]


def _days(account: Account, provider_message_id: str) -> Fields:
    taken = _TAKEN.match(provider_message_id)
    if taken is None:
        return [("days", str(LONGEST_RANGE))]
    day = (datetime.fromtimestamp(int(taken[1]) // 1000, UTC) + offset(account)).date()
    return [("startDate", (day - timedelta(days=1)).isoformat()), ("endDate", day.isoformat())]


def offset(account: Account) -> timedelta:
    """How far ahead of UTC the zone is in which AuroraSendCloud writes times that name none."""
    hours, _, minutes = str(option(account, "timezone", OPTIONS["timezone"])).removeprefix("GMT").partition(":")
    sign = -1 if hours.startswith("-") else 1
    return sign * timedelta(hours=abs(int(hours)), minutes=int(minutes or 0))


def _switch(value: object) -> str:
    return "" if value is None else str(value).lower()


def _listed(value: object) -> list[str]:
    return (
        [value] if isinstance(value, str) else [str(item) for item in value] if isinstance(value, list | tuple) else []
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")  # what may follow SC-Custom- in a header's name (our choice)
_TAKEN = re.compile(r"([0-9]{13})_")
