"""AuroraSendCloud's webhooks: what they say, in two spellings and two encodings, and how they are signed and sent."""

import asyncio
import hashlib
import hmac
import string
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from random import Random
from typing import Any, Literal
from urllib.parse import urlencode

import aiohttp
from pydantic import Field

from sandbox.aurorasendcloud.message import USER_ID, Message, bare_time
from sandbox.aurorasendcloud.settings import MailHook
from sandbox.call import json_body
from sandbox.clock import Clock
from sandbox.fault_board import FaultBoard
from sandbox.model import Model
from sandbox.schedule import Schedule
from sandbox.webhooks import Event, WebhookSender

_RANDOM = Random()  # seeded by the operating system
_NEW_MAIL_NAMES = {"deliver": "delivered", "report_spam": "spam-report", "invalid": "invalid_email"}
_SENTENCES = {
    "request": "Request accepted",
    "deliver": "Successfully delivered",
    "open": "Opened",
    "click": "Clicked",
    "invalid": "Invalid address",
    "soft_bounce": "Soft bounce",
}
# (event, eventType) in the old spelling and in the new.
_SMS_NAMES = {
    "request": (("request", 1), ("Requested", 1)),
    "deliver": (("deliver", 2), ("Delivered", 20)),
    "workererror": (("workererror", 4), ("Suppressed", 4)),
    "delivererror": (("delivererror", 5), ("Failed", 5)),
    "templateVerify": (("templateVerify", 8), ("Template Verify", 8)),
}


class Inbound(Model):
    """An event to have happen: of which hook, its name, and its fields; what is missing is made up."""

    hook: Literal["mail", "sms"] = "mail"
    event: str = Field(min_length=1)
    data: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HookEvent(Event):
    """An event whose body holds its own signature, so that it is written anew for each attempt."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    encoding: str = "form"


def mail_event(message: Message, name: str, at: float, settings: MailHook, more: Mapping[str, Any]) -> HookEvent | None:
    """An e-mail event about a message; None where the settings do not want it."""
    if not any(fnmatchcase(name, glob) for glob in settings.events):
        return None
    new = settings.names == "new"
    about: dict[str, Any] = {"emailId": message.id, "recipient": message.recipient}
    if name == "request":
        about = {"emailIds": [message.id], "recipientArray": [message.recipient], "recipientSize": 1}
        about["messageId"] = message.id.partition("$")[0][:-1]
    elif name in ("invalid", "soft_bounce"):
        suffix = ("subStat", "subStatDesc") if new else ("substat", "substatdesc")
        about |= {suffix[0]: message.failure, suffix[1]: _SENTENCES[name]}
    if name in ("deliver", "invalid", "soft_bounce"):
        about["outIp"] = "203.0.113.25"
    elif name in ("open", "click"):
        about |= {"ip": "198.51.100.7", "explorerName": "Firefox", "explorerVer": "128", "oSName": "Linux"}
    fields = {
        "event": _NEW_MAIL_NAMES.get(name, name) if new else name,
        "message": _SENTENCES.get(name, name),
        "apiUser": message.user,
        "category": str(USER_ID),
        **about,
        "labelId": message.label_id,
        "labelName": message.label,
        **more,
        **_proof(at),
        **({"userHeaders": json_body(message.headers).decode()} if message.headers else {}),
    }
    return HookEvent(
        name, b"", message.recipient, message.id, caller=message.user, fields=fields, encoding=settings.encoding
    )


def sms_event(message: Message, name: str, at: float, settings: MailHook) -> HookEvent | None:
    """An SMSHook about a message; None where the settings do not want it."""
    if not any(fnmatchcase(name, glob) for glob in settings.events):
        return None
    new = settings.names == "new"
    shown, kind = _SMS_NAMES[name][new]
    sentence = _SENTENCES.get(name, shown)
    about: dict[str, Any] = {"smsId": message.id, "phone": message.recipient}
    if name == "request":
        listed: dict[str, Any] = {"smsIds": [message.id], "phones": [message.recipient]}
        about = listed if new else {key: json_body(value).decode() for key, value in listed.items()}
    if message.failure:
        about["statusCode"] = message.failure
    fields = {
        "event": shown,
        "eventType": kind,
        "message": sentence,
        "encodeMessage": b64encode(sentence.encode()).decode(),
        "userId": 19999,
        "smsUser": message.user,
        **about,
        "templateId": int(message.template),
        "outboundTime": bare_time(message.created_at),
        "receiptTime": bare_time(at),
        "msgCount": 1,
        **({"customArgs": json_body(message.headers).decode()} if message.headers else {}),
        **_proof(at),
    }
    return HookEvent(
        name, b"", message.recipient, message.id, caller=message.user, fields=fields, encoding=settings.encoding
    )


def injected(inbound: Inbound, at: float, settings: MailHook) -> HookEvent:
    """An event as a test wants it, with a timestamp and a token of its own unless the test gave them."""
    fields = {"event": inbound.event} | _proof(at) | inbound.data
    recipient = str(fields.get("recipient", fields.get("phone", "")))
    message_id = str(fields.get("emailId", fields.get("smsId", "")))
    caller = str(fields.get("apiUser", fields.get("smsUser", "")))
    return HookEvent(
        inbound.event, b"", recipient, message_id, caller=caller, fields=fields, encoding=settings.encoding
    )


def signature(fields: Mapping[str, Any], secret: str) -> str:
    """Lower-case hexadecimal HMAC-SHA256 of the timestamp and the token; the rest of the body is not covered."""
    said = f"{fields['timestamp']}{fields['token']}"
    return hmac.new(secret.encode(), said.encode(), hashlib.sha256).hexdigest()


def seal(event: Event, secret: str, _attempt: int = 1) -> dict[str, str]:
    """Writes the event's body with its signature in it, and returns the headers that it goes with.

    A retry has the timestamp and the token of the first attempt, and so, signed alike, the same bytes.
    """
    assert isinstance(event, HookEvent)
    signed = dict(event.fields) | {"signature": signature(event.fields, secret)}
    if event.encoding == "form":
        body = urlencode({name: _in_form(value) for name, value in signed.items()}).encode()
        content_type = "application/x-www-form-urlencoded"
    else:
        body, content_type = json_body(signed), "application/json"
    # The sender reads the body right after it has asked for the headers.
    object.__setattr__(event, "body", body)
    return {"Content-Type": content_type, "User-Agent": "AuroraSendCloud-WebHook/1.0"}


class HookSender(WebhookSender):
    """Sends the events of one hook to a URL once that has answered a GET with 200: each is tested by the ladder of
    retries, and its events wait for that."""

    settings: MailHook

    def __init__(self, settings: MailHook, faults: FaultBoard, clock: Clock) -> None:
        super().__init__(settings, seal, faults, clock)
        self._tests: Schedule[tuple[str, int]] = Schedule(clock, lambda test, _: self._begin(*test))
        self._tasks: set[asyncio.Task[None]] = set()
        self._now = clock.now
        self._good: set[str] = set()  # the URLs that passed
        self._untested: dict[str, list[Event]] = {}  # what waits for a URL's test

    def start(self) -> None:
        """Begins to send, on the running event loop."""
        super().start()
        self._tests.start()

    async def stop(self) -> None:
        """Drops what waits and what is under way."""
        self._tests.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().stop()

    def clear(self) -> None:
        """Forgets all events and attempts, and that a URL was tested."""
        super().clear()
        self._tests.clear()
        self._untested.clear()
        self._good.clear()

    def send(self, event: Event) -> None:
        """Has the event delivered, unless there is nowhere to deliver it."""
        url = self.settings.endpoint(event.caller).url
        if url is None or not self.settings.test_url or url in self._good:
            super().send(event)
        elif url in self._untested:
            self._untested[url].append(event)
        else:
            self._untested[url] = [event]
            self._tests.add(self._now(), (url, 1))

    def summary(self) -> dict[str, int]:
        """Events, attempts by outcome, and what is still waiting."""
        counts = super().summary()
        return counts | {"waiting": counts["waiting"] + sum(map(len, self._untested.values()))}

    def _begin(self, url: str, attempt: int) -> None:
        task = asyncio.get_running_loop().create_task(self._test(url, attempt))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _test(self, url: str, attempt: int) -> None:
        delays = self.settings.retry_delays
        if url in self.settings.urls():
            self.counts["url_tests"] += 1
            answer = await _get(url, self.settings.timeout)
            if answer != 200 and attempt <= len(delays):
                self._tests.add(self._now() + delays[attempt - 1], (url, attempt + 1))
                return
            if answer != 200:
                self.counts["lost"] += len(self._untested.pop(url, ()))
                return
            self._good.add(url)
        for event in self._untested.pop(url, ()):  # where the URL is another by now, to that
            self.send(event)


async def _get(url: str, seconds: float) -> int | str:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds)) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            return response.status
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        return type(error).__name__


def _proof(at: float) -> dict[str, Any]:
    return {"timestamp": int(at * 1000), "token": "".join(_RANDOM.choices(string.ascii_letters + string.digits, k=50))}


def _in_form(value: object) -> str:
    return value if isinstance(value, str) else json_body(value).decode()
