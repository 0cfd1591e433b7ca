"""AuroraSendCloud, what its e-mail and its SMS share: forms that are posted, and answers that say in the body what they
mean.

Facts come from AuroraSendCloud's API reference; what it leaves open is marked "our choice". The HTTP status is not the
verdict: a refusal is usually a 200 whose body says `"result": false` and a code ("Answer envelope").
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from providers.answers import json_object, retry_after
from providers.aurorasendcloud.codes import COMMON, Class, Code
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
    Unknown,
)

# "E-mail and core": three regions, of which an account belongs to one. Singapore's is also the address of all SMS.
REGIONS = {
    "sg": "https://api.aurorasendcloud.com",
    "us": "https://api-us.aurorasendcloud.com",
    "hk": "https://api-hk.aurorasendcloud.com",
}

# "Idempotency": a repeated sendRequestId is processed once within an hour. The worker keeps its own distance to that.
DEDUPLICATES_FOR = 3600.0  # seconds
CONNECT_TIMEOUT, TIMEOUT = 5.0, 35.0  # seconds; the second is 30 to read, and the time to connect (our choice)

# No date is given with a used-up quota or balance: it is looked at again each hour, or when an operator opens the lane.
QUOTA_RECHECK = Option(3600.0, "seconds after which a used-up quota or balance is tried again", least=1)

# 6001 is about one call: the key may still send (our choice). Every other failure of this class is about the key.
LANE_ONLY = frozenset({6001})
# 496 is about one number: it alone waits out the minute in which it had too many.
PER_RECIPIENT: Mapping[int, float] = {496: 60.0}  # seconds


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer's body says. `words` are ours, and so is `note`, a warning where result and code contradict each
    other; `info` is in no repr. `named`: the code is in a table.
    """

    kind: Class
    number: int | None
    words: str
    accepted: bool
    named: bool
    note: str
    info: Mapping[str, Any] = field(repr=False)

    @property
    def code(self) -> str:
        """The number as text, empty where there is none."""
        return "" if self.number is None else str(self.number)


def judge(response: Response, *tables: Mapping[int, Code]) -> Verdict | None:
    """The verdict of the body, in the reference's order; None if the body is no JSON object that says anything.

    `tables` are looked into before the common codes. `"result": true` is a success whatever the code; otherwise, and
    where `result` is missing, the code decides. Where there is none, an HTTP status that says more does (our choice).
    """
    answer = {name.lower(): value for name, value in json_object(response.body).items()}
    number, result = _number(answer.get("statuscode")), _truth(answer.get("result"))
    if number is None and (result is None or (result is False and response.status >= 400)):
        return None
    code = None if number is None else next((table[number] for table in (*tables, COMMON) if number in table), None)
    kind = code.kind if code else _like_http(number)
    words = f"{number} {code.words}" if code else "no_code" if number is None else f"unknown_code_{number}"
    accepted = result is True or kind is Class.OK
    agreed = result is not False if accepted and kind in (Class.OK, Class.INFO) else not accepted
    info = answer.get("info")
    return Verdict(
        kind,
        number,
        words,
        accepted=accepted,
        named=code is not None,
        note="" if agreed else words,
        info=info if isinstance(info, dict) else {},
    )


def declined(account: Account, response: Response, verdict: Verdict) -> Outcome:
    """What a refusal means, by its class ("Classes used for return codes").

    A listed transient failure accepted nothing. A code that merely looks like an HTTP 5xx is in no table, so that only
    503 says so; every other leaves the send unknown, and its repetition bears the same sendRequestId.
    """
    words, code, number = verdict.words, verdict.code, verdict.number or 0
    match verdict.kind:
        case Class.AUTH:
            scope = Scope.LANE if number in LANE_ONLY else Scope.KEY
            return Misconfigured(f"{words}: check the credentials, and the region they belong to", code, scope)
        case Class.CONFIG:
            return Misconfigured(f"{words}: put it right at AuroraSendCloud, then retry", code, Scope.MESSAGE)
        case Class.QUOTA:
            return Throttled(retry_after(response) or float(option(account, "quota.recheck", QUOTA_RECHECK)), code)
        case Class.RATE if number in PER_RECIPIENT:
            return Throttled(PER_RECIPIENT[number], code, Scope.MESSAGE)
        case Class.RATE:
            return Throttled(retry_after(response), code)
        case Class.TRANS if verdict.named or 503 in (number, response.status):
            return Unavailable(retry_after(response), code)
        case Class.TRANS:
            return Unknown(words, code)
    return Refused(words, code)


def undecided(response: Response) -> Outcome:
    """What an answer means whose body decides nothing: a gateway's page, or half an answer.

    Nothing but the API's own JSON is an acceptance, and nothing but a status says that there was none.
    """
    reason = f"http_{response.status}"
    match response.status:
        case 401 | 402:
            return Misconfigured(f"{reason}: check the credentials, and the region they belong to", "", Scope.KEY)
        case 404 | 405:
            return Misconfigured(f"{reason}: check base_url and the options below paths", "", Scope.LANE)
        case 429:
            return Throttled(retry_after(response))
        case 503:
            return Unavailable(retry_after(response))
        case status if 200 <= status < 300:
            return Unknown("unreadable_answer")
        case status if 300 <= status < 400:
            return Misconfigured(f"{reason}: a redirect, so check base_url", "", Scope.LANE)
        case status if 400 <= status < 500:
            return Refused(reason)
    return Unknown(reason)


def asked_again(outcome: Outcome, response: Response) -> Outcome:
    """The same for a question, which may be asked again: nothing about it is unknown."""
    return Unavailable(retry_after(response), outcome.code) if isinstance(outcome, Unknown) else outcome


def post(account: Account, path: str, fields: Iterable[tuple[str, str]]) -> Request:
    """A POST of a form: fields that are empty are left out, and what has a meaning in forms is encoded."""
    body = urlencode([pair for pair in fields if pair[1]]).encode("ascii")
    return Request("POST", _url(account, path), _headers("application/x-www-form-urlencoded"), body)


def post_files(
    account: Account, path: str, fields: Iterable[tuple[str, str]], files: Sequence[tuple[str, str, str, bytes]]
) -> Request:
    """A POST as multipart/form-data (RFC 7578); a file is its field, its name, its media type and its bytes.

    The boundary follows from the contents, so that the same message is the same bytes in every attempt.
    """
    parts = [_part(f'name="{name}"', "", value.encode()) for name, value in fields if value]
    parts += [
        _part(f'name="{name}"; filename="{_quoted(filename)}"', f"Content-Type: {_media_type(media_type)}\r\n", content)
        for name, filename, media_type, content in files
    ]
    boundary = hashlib.sha256(b"".join(parts)).hexdigest()  # no content can hold the digest of itself
    line = b"--" + boundary.encode() + b"\r\n"
    body = b"".join(line + part for part in parts) + line[:-2] + b"--\r\n"
    return Request("POST", _url(account, path), _headers(f"multipart/form-data; boundary={boundary}"), body)


def option(account: Account, name: str, known: Option) -> Any:
    """What the account says, or the default."""
    return account.options.get(name, known.default)


_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}")
_CODE = re.compile(r"[0-9]{1,6}")


def _url(account: Account, path: str) -> str:
    return f"{account.base_url.rstrip('/')}/{path.lstrip('/')}"


def _headers(content_type: str) -> dict[str, str]:
    return {"Accept": "application/json", "Content-Type": content_type}


def _part(disposition: str, more: str, content: bytes) -> bytes:
    return f"Content-Disposition: form-data; {disposition}\r\n{more}\r\n".encode() + content + b"\r\n"


def _quoted(filename: str) -> str:
    # As browsers do (the HTML standard's multipart encoding): nothing in a name ends its header.
    return filename.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _media_type(value: str) -> str:
    return value if _MEDIA_TYPE.fullmatch(value) else "application/octet-stream"


def _number(value: object) -> int | None:
    # Numbers are printed as text here and there. What is longer than a code is none: it could be a phone number.
    written = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(written) if _CODE.fullmatch(written) else None


def _truth(value: object) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None


def _like_http(number: int | None) -> Class:
    match number:
        case 401:
            return Class.AUTH
        case 429:
            return Class.RATE
        case int() if 500 <= number < 600:
            return Class.TRANS
    return Class.UNKNOWN
