"""aulm: WhatsApp through a paired device, not the official business platform; JSON over HTTPS.

Facts come from aulm's API reference, version 1.0.0; the section is named beside each. What the reference leaves open
is marked "our choice". aulm recognises no repeated request and cannot be asked after a message, so a send whose answer
is lost stays unknown until a webhook speaks of it. A paired number is called a session: each account has one, and is
paced by itself, while the plan's quota belongs to the key.
"""

import re
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from paceline.capabilities import Capabilities, Rule
from paceline.errors import InvalidMessage
from paceline.forms import data_uri
from paceline.messages import Media, Text
from paceline.status import Status
from providers.answers import json_object, member, retry_after, text
from providers.aulm.events import parse_event, verify
from providers.aulm.wire import ID, NUMBER, SIMULATED, STATUSES, WORD, code_of, declined, headers, post, until_reset
from providers.base import (
    Accepted,
    Account,
    Credential,
    Option,
    Outcome,
    Provider,
    Remaining,
    Request,
    Response,
    Submission,
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

# "Send text": a WhatsApp id such as 966512345678@c.us is refused.
RECIPIENT = Rule(required=True, max_length=20, pattern=NUMBER, hint="a number in E.164, such as +966512345678")

DAY = 86_400.0  # seconds
LONGEST_DAY = DAY + 60.0  # a quota that resets later than this is a trial's, not the day's
COUNT = re.compile(r"[0-9]{1,12}", re.ASCII)


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
            return post(account, "send-text", {"to": message.to, "body": message.text})
        case Media():
            held = data_uri(message.url)
            if held is not None and held[0] != message.media_type:
                raise InvalidMessage("media_type", "must be the data URI's own media type")
            fields = {"to": message.to, "image": message.url}
            return post(account, "send-image", fields | ({"caption": message.caption} if message.caption else {}))
    raise TypeError(f"aulm carries no {message.kind} message; check it against the account's capabilities first")


def parse_response(_account: Account, response: Response) -> Outcome:
    """What the answer to a send means. 201 says that WhatsApp's engine has it, not that it was delivered."""
    if not 200 <= response.status < 300:
        return declined(response)
    data = member(json_object(response.body), "data")
    if not data:
        # A portal or proxy on the way may say 200 to anything: only the API's own JSON is an acceptance.
        return Unknown("unreadable_answer")
    status = STATUSES.get(text(data.get("status"), WORD), Status.SENT)
    note = SIMULATED if data.get("simulated") is True else ""
    return Accepted(text(data.get("message_id"), ID) or None, status, note=note)


def build_probe(account: Account) -> Request:
    """The GET that asks whether the session's number is connected, on limit class `session`."""
    path = f"/v1/sessions/{quote(account.credentials['session_id'], safe='')}/status"
    return Request("GET", account.base_url.rstrip("/") + path, headers(account))


def parse_probe(_account: Account, response: Response) -> Outcome:
    """`Accepted` if the session is connected ("Session status"): the set of its other states is open.

    A question changes nothing, so an answer that says nothing means no more than: not yet.
    """
    if not 200 <= response.status < 300:
        outcome = declined(response)
        if isinstance(outcome, Unknown):
            return Unavailable(retry_after(response), outcome.code, probe_first=True)
        return replace(outcome, probe_first=True) if isinstance(outcome, Unavailable) else outcome
    state = text(member(json_object(response.body), "data").get("status"), WORD)
    return Accepted() if state == "connected" else Unavailable(None, state or "unreadable_answer", probe_first=True)


def remaining(_account: Account, response: Response) -> Remaining | None:
    """What is left of the plan's day ("Quota"): the answer names the instant of its reset in ISO 8601.

    Only a 201 and daily_quota_exceeded say so. A refund may raise the number, so it is read and never computed. A
    trial's week is no day's quota: a count of it that outlived the trial would hold back a plan bought meanwhile.
    """
    if response.status != 201 and (response.status, code_of(response)) != (429, "daily_quota_exceeded"):
        return None
    left, reset_in = response.headers.get("x-ratelimit-remaining", "").strip(), until_reset(response)
    if not COUNT.fullmatch(left) or reset_in is None or not 0 < reset_in <= LONGEST_DAY:
        return None
    return Remaining(DAY, int(left), reset_in)


def _types(account: Account) -> tuple[str, ...]:
    return tuple(str(_option(account, "image.types")).split())


def _option(account: Account, name: str) -> Any:
    return account.options.get(name, OPTIONS[name].default)


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
