"""Augnet's message API (v2): one call that sends a text, and callbacks that say what became of it."""

import uuid
from collections import Counter
from collections.abc import Mapping
from http.client import responses
from typing import Any, ClassVar

from sandbox.augnet.bodies import MessageBody, Refused, parts_of, read_message
from sandbox.augnet.callbacks import Injected, callback_body, plain_headers, signed_headers
from sandbox.augnet.message import Bill, Message
from sandbox.augnet.projects import Caller, project_of, read_caller
from sandbox.augnet.settings import AugnetSettings, key_of
from sandbox.call import Answer, Call, Trace, json_body
from sandbox.clock import Clock
from sandbox.ledger import Entry, Ledger
from sandbox.lifecycle import Lifecycle, Step
from sandbox.model import parse
from sandbox.provider import Provider, ProviderSettings
from sandbox.webhooks import Event
from sandbox.windows import Limit, RateLimits, wait_seconds

REPLACEMENT = "infomessage"  # the sender of what came from one that is not whitelisted
SEND = "send"  # the only group of endpoints


class Augnet(Provider):
    """The provider `augnet`."""

    name: ClassVar[str] = "augnet"
    root: ClassVar[str] = "/api/v2"

    def __init__(self, settings: AugnetSettings, ledger: Ledger, clock: Clock, seed: int) -> None:
        super().__init__(settings, ledger, clock, seed)
        self._settings = settings
        self._rates = RateLimits(settings.ratelimit.window, {SEND: settings.ratelimit.send})
        self._lifecycle: Lifecycle[Message] = Lifecycle(settings.lifecycle, seed, clock, self._progress)
        self._accepted = 0
        self._statuses: Counter[str] = Counter()
        self._messages: dict[str, Message] = {}
        self._bills: dict[str, Bill] = {}

    @property
    def settings(self) -> AugnetSettings:
        """The settings in force."""
        return self._settings

    def change(self, settings: ProviderSettings) -> None:
        """Puts new settings in force; messages, and a window whose limit stays, are kept."""
        assert isinstance(settings, AugnetSettings)
        super().change(settings)
        self._settings = settings
        self._rates.change(settings.ratelimit.window, {SEND: settings.ratelimit.send})
        self._lifecycle.settings = settings.lifecycle

    def start(self) -> None:
        """Begins to work, on the running event loop."""
        super().start()
        self._lifecycle.start()

    async def stop(self) -> None:
        """Stops working."""
        self._lifecycle.stop()
        await super().stop()

    def clear(self) -> None:
        """Forgets everything but the settings."""
        super().clear()
        self._rates.clear()
        self._lifecycle.clear()
        self._accepted = 0
        self._statuses.clear()
        self._messages.clear()
        self._bills.clear()

    def limits(self) -> Mapping[str, Limit]:
        """The limit of sends, enforced or not."""
        return self._rates.limits

    def statuses(self) -> Mapping[str, int]:
        """How many messages stand at each status."""
        return self._statuses

    def bill(self) -> dict[str, Any]:
        """What each project was billed for: messages, their parts, and how many went out as `infomessage`."""
        return {project_id: bill.as_json() for project_id, bill in self._bills.items()}

    # Requests

    def trace(self, call: Call) -> Trace:
        """The project with its key's fingerprint, the recipient, and the callback address as the sender's reference."""
        caller = read_caller(call.headers.get("Authorization", ""), self._settings)
        if not self._is_send(call):
            return Trace(caller.mark)
        if not isinstance(call.data, dict):
            return Trace(caller.mark, SEND)
        to, callback = call.data.get("to"), call.data.get("statusCallback")
        return Trace(
            caller.mark,
            SEND,
            to if isinstance(to, str) else "",
            callback if isinstance(callback, str) else "",
        )

    def answer(self, call: Call) -> Answer:
        """Judges in this order: credentials, path, rate, content."""
        caller = read_caller(call.headers.get("Authorization", ""), self._settings)
        if not caller.known:
            return self.error(401, "Unauthorized")
        if not self._is_send(call):
            return self.error(404, "Not Found")
        if self._settings.ratelimit.enforced:
            reading = self._rates.hit(caller.project_id, SEND, call.at)
            if not reading.admitted:
                answer = self.error(429, "Too many requests.")
                answer.headers["Retry-After"] = str(wait_seconds(reading, call.at))
                return answer
        try:
            return self._send(call, caller)
        except Refused as refused:
            return self.error(refused.status, refused.sentence)

    def refusal(self, status: int, code: str | None = None) -> Answer:
        """Augnet's error body for a status: it has no codes, so `code` is the sentence."""
        return self.error(status, code or responses.get(status, f"Status {status}"))

    @staticmethod
    def error(status: int, sentence: str) -> Answer:
        """An error answer."""
        return Answer(status, json_body({"message": sentence}))

    def _is_send(self, call: Call) -> bool:
        return call.method == "POST" and call.path == f"{self.root}/message"

    def _send(self, call: Call, caller: Caller) -> Answer:
        body = read_message(call, self._settings)
        message = self._take(str(uuid.uuid4()), caller.project_id, body, call.at)
        self._tell(message, "queued")
        self._lifecycle.begin(message)
        return Answer(200, json_body({"sid": message.id}), message_id=message.id, accepted=True)

    def _take(self, message_id: str, project_id: str, body: MessageBody, at: float) -> Message:
        """Enters an accepted message: whom it really comes from, and what it costs."""
        listed = self._settings.is_whitelisted(project_id, body.sender)
        sender = body.sender if listed else REPLACEMENT
        message = Message(self._accepted, message_id, project_id, sender, body.to, body.callback, at)
        parts = parts_of(body.body, self._settings.segmentation)
        self._bills.setdefault(project_id, Bill()).add(parts, replaced=not listed)
        self._accepted += 1
        self._statuses["queued"] += 1
        self._messages[message_id] = message
        return message

    # Callbacks

    def sign(self, event: Event, secret: str, attempt: int) -> dict[str, str]:  # noqa: ARG002 (all alike)
        """All headers of one attempt to deliver a callback: signed, if the message's project has a signing key."""
        settings, project_id = self._settings, event.caller
        url = event.url or settings.webhook.endpoint(project_id).url or ""
        headers = plain_headers(url, self.clock.now())
        text = settings.signing_key(project_id)
        if not text:
            return headers
        # A forged signature's secret is the right one and a bit: so is its key, whatever the text stands for.
        forged = secret.removeprefix(settings.webhook.endpoint(project_id).secret).encode()
        key = key_of(text, settings.signing_key_encoding) + forged
        return signed_headers(headers, url, event.body, key, project_id)

    def inject(self, data: object) -> dict[str, Any]:
        """Has a callback happen, such as `{"message_id": "0b9d…", "status": "delivered"}`, and returns its body.

        Raises:
            SettingsError: it is not of that form.
        """
        given = parse(Injected, data, "event")
        message = self._messages.get(given.message_id)
        message_id = given.message_id or str(uuid.uuid4())
        project_id = message.project_id if message else given.project_id
        body = callback_body(
            message_id,
            project_id,
            given.sender or (message.sender if message else "ABCTAXI"),
            message.recipient if message else given.recipient,
            given.status,
            given.sms_status,
        )
        url = given.url or (self._address(message) if message else self._project_url(project_id))
        event = Event(given.status, json_body(body), body["To"], message_id, url, project_id)
        self.webhooks.send(event)
        return dict(body)

    def _progress(self, message: Message, step: Step) -> None:
        self._settle(message, step)
        self._tell(message, self._settings.statuses.failed if step.status == "failed" else step.status)

    def _settle(self, message: Message, step: Step) -> None:
        self._statuses[message.status] -= 1
        self._statuses[step.status] += 1
        message.status = step.status

    def _tell(self, message: Message, status: str) -> None:
        body = callback_body(message.id, message.project_id, message.sender, message.recipient, status)
        address = self._address(message)
        self.webhooks.send(Event(status, json_body(body), message.recipient, message.id, address, message.project_id))

    def _address(self, message: Message) -> str | None:
        return message.callback or self._project_url(message.project_id)

    def _project_url(self, project_id: str) -> str | None:
        project = self._settings.project(project_id)
        return None if project is None else project.url

    def restore(self) -> None:
        """Takes over the messages of earlier runs; what fell due before their last entry is not told again.

        A message whose body was not kept has no sender and no cost here any more, and nothing more is told of it.
        """
        until = max((entry.at for entry in self.ledger), default=0.0)
        for entry in self.ledger:
            if entry.accepted:
                self._restore(entry, until)

    def _restore(self, entry: Entry, until: float) -> None:
        if entry.body is None:
            self._accepted += 1
            return
        body = MessageBody.model_validate_json(entry.body)
        message = self._take(entry.message_id, project_of(entry.key), body, entry.at)
        self._lifecycle.resume(message, until, self._settle)
