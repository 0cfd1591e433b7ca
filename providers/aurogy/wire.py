"""Aurogy on the wire: how every request is made, and what an answer that is none means.

Facts come from Aurogy's API reference, version 1.0; the section is named beside each. What the reference leaves open is
marked "our choice".
"""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from providers.answers import json_object, member, retry_after, text
from providers.base import (
    Account,
    Misconfigured,
    Option,
    Outcome,
    Refused,
    Request,
    Response,
    Scope,
    Throttled,
    Unavailable,
)

# A path below `base_url`; a query or a fragment would be another address than the one that is meant.
_PATH = r"/[^\s?#{}]*"
_PATH_HINT = "a path that begins with /"
OPTIONS = {
    "paths.template": Option(
        "/messages/template",
        "path of a template send, which the reference does not print",
        pattern=_PATH,
        hint=_PATH_HINT,
    ),
    "paths.status": Option(
        "/messages/{message_id}",
        "path of a message's status, which the reference does not print",
        pattern=rf"{_PATH}\{{message_id\}}[^\s?#{{}}]*",
        hint="a path that begins with / and holds {message_id} once",
    ),
    "paths.profile": Option(
        "/profile",
        "path of the business profile, which the reference prints for PUT only",
        pattern=_PATH,
        hint=_PATH_HINT,
    ),
    "metadata.max_len": Option(256, "most characters of a metadata key, and of a value", least=1),
    "webhook.freshness": Option(0.0, "seconds after which a webhook is refused as too old; 0: never", least=0),
}

# Ids begin with a letter or digit, so that none of them climbs out of the poll's path. Words hold no digits, so that
# none of them can be a recipient: they are stored as reasons, and Aurogy's own sentences are not.
ID = re.compile(r"[A-Za-z0-9][!-~]{0,254}")
WORD = re.compile(r"[a-z][a-z_]{0,63}")


def request(account: Account, method: str, path: str, fields: Mapping[str, Any] | None = None) -> Request:
    """A request with the account's key; `fields` are its body as JSON."""
    url = f"{account.base_url.rstrip('/')}/{path.lstrip('/')}"
    headers = {"Authorization": f"Bearer {account.credentials['api_key']}", "Accept": "application/json"}
    if fields is None:
        return Request(method, url, headers)
    body = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    return Request(method, url, {**headers, "Content-Type": "application/json"}, body)


def declined(response: Response, code: str) -> Outcome | None:
    """What an answer that is not 2xx means; None for the 5xx of which the reference does not say what was done."""
    # "Errors". The HTTP status decides, not the copy of it in the body; 402 and 3xx are not in the table (our choice).
    reason = code or f"http_{response.status}"
    match response.status:
        case 401 | 402:
            return Misconfigured(f"{reason}: check api_key and its standing at Aurogy", code, Scope.KEY)
        case 403:
            return Misconfigured(f"{reason}: give api_key the permission at Aurogy", code, Scope.LANE)
        case 429:
            return Throttled(retry_after(response), code)
        case 503:
            return Unavailable(retry_after(response), code)
        case status if 300 <= status < 400:
            return Misconfigured(f"{reason}: a redirect, so check base_url", code, Scope.LANE)
        case status if 400 <= status < 500:
            return Refused(reason, code)
    return None


def ask_status(account: Account, message_id: str) -> Request:
    """The GET of one message's status, by the id that Aurogy gave it."""
    path = str(option(account, "paths.status"))
    return request(account, "GET", path.replace("{message_id}", quote(message_id, safe="")))


def option(account: Account, name: str) -> Any:
    """An option of the account, or its default."""
    return account.options.get(name, OPTIONS[name].default)


def code_of(response: Response) -> str:
    """The error's code; an empty one if there is none that can be read."""
    return text(member(json_object(response.body), "error").get("code"), WORD)
