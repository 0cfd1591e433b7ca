"""What Aurogy answers and changes besides sending, one request each: conversations, the business profile, a status.

All of it may be asked again when an answer is lost: three are questions, and an update of the profile is a PUT, which
leaves the same behind however often it comes (RFC 9110, section 9.2.2).
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from paceline.aurogy import NOTHING_TO_CHANGE
from paceline.capabilities import Rule
from paceline.errors import InvalidMessage
from providers.answers import instant, json_object, text
from providers.aurogy.wire import ID, WORD, ask_status, code_of, declined, option, request
from providers.base import Account, Done, Job, Next, Operation, Outcome, Request, Response, Unknown

# "List conversations" and "Update profile".
STATUSES = ("active", "archived", "all")
CURSOR = Rule(min_length=1, max_length=4096)  # opaque; its length is our choice
PROFILE = {
    "name": Rule(min_length=1, max_length=128),  # an empty one names nobody (our choice)
    "description": Rule(max_length=512),
    "avatar_url": Rule(pattern=r"https://[^\s/?#]\S*", hint="an https:// URL"),
}

Shape = Callable[[Mapping[str, Any]], Any]  # an answer's object → what the caller gets; None: it is not what was asked


def _list(account: Account, job: Job) -> Request:
    given = {name: job.arguments[name] for name in ("limit", "cursor", "status") if name in job.arguments}
    return request(account, "GET", "/conversations" + (f"?{urlencode(given)}" if given else ""))


def _page(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    found = answer.get("conversations")
    if not isinstance(found, list):
        return None
    cursor = answer.get("next_cursor")
    return {
        "conversations": [_conversation(item) for item in found if isinstance(item, dict)],
        # What follows the last page is not documented: there is nothing to go on with then.
        "next_cursor": cursor if isinstance(cursor, str) and cursor else None,
        "has_more": answer.get("has_more") is True,
    }


def _conversation(item: Mapping[str, Any]) -> dict[str, Any]:
    unread = item.get("unread_count")
    return {
        "id": text(item.get("id"), ID),
        "participant": text(item.get("participant"), ID),
        "last_message_at": instant(item.get("last_message_at")),
        "unread_count": unread if isinstance(unread, int) else 0,
        "status": text(item.get("status"), WORD),
    }


def _read_profile(account: Account, _job: Job) -> Request:
    return request(account, "GET", str(option(account, "paths.profile")))


def _profile(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    if not text(answer.get("id"), ID):
        return None
    return {
        **_words(answer, "id", "name", "description", "avatar_url"),
        "verified": answer.get("verified") is True,
        "created_at": instant(answer.get("created_at")),
    }


def _update_profile(account: Account, job: Job) -> Request:
    fields = {name: job.arguments[name] for name in PROFILE if name in job.arguments}
    return request(account, "PUT", str(option(account, "paths.profile")), fields)


def _check_update(_account: Account, arguments: Mapping[str, Any]) -> None:
    if not arguments:
        raise InvalidMessage("name", NOTHING_TO_CHANGE)


def _updated(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    if not text(answer.get("id"), ID):
        return None
    return {**_words(answer, "id", "name", "description"), "updated_at": instant(answer.get("updated_at"))}


def _ask_status(account: Account, job: Job) -> Request:
    return ask_status(account, job.arguments["message_id"])


def _status(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    status = text(answer.get("status"), WORD)
    if not status:
        return None
    times = {name: instant(answer.get(name)) for name in ("created_at", "delivered_at", "read_at")}
    return {"id": text(answer.get("id"), ID), "status": status, "to": text(answer.get("to"), ID), **times}


def _words(answer: Mapping[str, Any], *names: str) -> dict[str, str]:
    return {name: value if isinstance(value := answer.get(name), str) else "" for name in names}


def _reading(shape: Shape) -> Callable[[Account, Job, Response], Next | Done | Outcome]:
    def read(_account: Account, _job: Job, response: Response) -> Next | Done | Outcome:
        if not 200 <= response.status < 300:
            code = code_of(response)
            return declined(response, code) or Unknown(code or f"http_{response.status}", code)
        # A portal or proxy on the way may say 200 to anything.
        found = shape(json_object(response.body))
        return Unknown("unreadable_answer") if found is None else Done(found)

    return read


OPERATIONS = {
    "conversations": Operation(
        "the business's conversations, most recent activity first, page by page",
        "conversations",
        _list,
        _reading(_page),
        {
            "limit": Rule(min_number=1, max_number=100, whole=True),
            "cursor": CURSOR,
            "status": Rule(one_of=STATUSES),
        },
    ),
    "profile": Operation("the business profile", "profile", _read_profile, _reading(_profile)),
    "update_profile": Operation(
        "changes what is given of the business profile",
        "profile",
        _update_profile,
        _reading(_updated),
        PROFILE,
        _check_update,
    ),
    "message_status": Operation(
        "what Aurogy says of one message, by the id that it gave it",
        "status",
        _ask_status,
        _reading(_status),
        {"message_id": Rule(required=True, pattern=ID.pattern, hint="the id that Aurogy gave a message")},
    ),
}
