"""The aulm API (1.0.0): who may send by which number, how much, and what became of it."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping
from http.client import responses
from typing import Any, ClassVar

from sandbox.aulm import bodies
from sandbox.aulm.bodies import Refused, Send
from sandbox.aulm.events import (
    SESSION,
    Inbound,
    inbound_body,
    judge,
    status_event,
    webhook_headers,
)
from sandbox.aulm.keys import Caller, CoolDown, Keyring, mark_of, presented_key
from sandbox.aulm.message import Message, message_id
from sandbox.aulm.quota import Slots
from sandbox.aulm.settings import AulmSettings, SessionRule, UpstreamState
from sandbox.call import Answer, Call, Trace, json_body
from sandbox.clock import Clock
from sandbox.ledger import Ledger
from sandbox.lifecycle import Lifecycle, Step
from sandbox.model import SettingsError, parse
from sandbox.provider import Provider, ProviderSettings
from sandbox.webhooks import Event, Reply, Verdict
from sandbox.windows import Limit

# aulm's API reference, errors: the status of each code.
STATUSES: Mapping[str, int] = {
    "invalid_json": 400,
    "invalid_request": 400,
    "missing_authorization": 401,
    "invalid_authorization": 401,
    "invalid_api_key": 401,
    "api_key_revoked": 401,
    "api_key_expired": 401,
    "account_deactivated": 401,
    "too_many_auth_failures": 429,
    "session_not_found": 404,
    "session_disabled": 403,
    "session_not_allowed": 403,
    "session_not_ready": 409,
    "daily_quota_exceeded": 429,
    "trial_quota_exceeded": 429,
    "messaging_service_timeout": 504,
    "messaging_service_unreachable": 502,
    "messaging_service_error": 502,
    "service_unavailable": 503,
}
# What a fault of a bare status says, where several codes have it.
CODES: Mapping[int, str] = {
    400: "invalid_request",
    401: "invalid_api_key",
    403: "session_disabled",
    404: "session_not_found",
    409: "session_not_ready",
    429: "daily_quota_exceeded",
    502: "messaging_service_error",
    503: "service_unavailable",
    504: "messaging_service_timeout",
}
UPSTREAM: Mapping[UpstreamState, str] = {
    "timeout": "messaging_service_timeout",
    "unreachable": "messaging_service_unreachable",
    "error": "messaging_service_error",
    "overloaded": "service_unavailable",
}
BAD_KEYS = frozenset({"invalid_api_key", "api_key_revoked", "api_key_expired"})  # what the cool-down counts

SEND = {"/v1/messages/send-text": bodies.read_text, "/v1/messages/send-image": bodies.read_image}
SESSIONS, STATUS = "/v1/sessions/", "/status"


class Aulm(Provider):
    """The provider `aulm`."""

    name: ClassVar[str] = "aulm"
    root: ClassVar[str] = ""
    max_body: ClassVar[int] = 16 * 1_048_576  # an image of 5 MB in base64, and larger ones to refuse

    def __init__(self, settings: AulmSettings, ledger: Ledger, clock: Clock, seed: int) -> None:
        super().__init__(settings, ledger, clock, seed)
        self._lifecycle: Lifecycle[Message] = Lifecycle(settings.lifecycle, seed, clock, self._progress)
        self._accepted = 0
        self._statuses: Counter[str] = Counter()
        self._senders: dict[str, str] = {}  # the key that a session was last used with, as the ledger names it
        self._slots = Slots()
        self._cool_downs: defaultdict[str, CoolDown] = defaultdict(CoolDown)  # by the caller's address
        self._given_up = 0  # deliveries of webhooks in a row
        self.webhooks.judge = self._judge
        self._take_settings(settings)

    @property
    def settings(self) -> AulmSettings:
        """The settings in force."""
        return self._settings

    def change(self, settings: ProviderSettings) -> None:
        """Puts new settings in force; messages and what was used of quotas are kept."""
        assert isinstance(settings, AulmSettings)
        super().change(settings)
        self._take_settings(settings)

    def _take_settings(self, settings: AulmSettings) -> None:
        self._settings = settings
        self._keys = Keyring(settings.keys)
        self._lifecycle.settings = settings.lifecycle
        webhook = settings.webhook
        switched_off = webhook.model_copy(update={"url": None, "endpoints": {}})
        self.webhooks.settings = webhook if webhook.enabled else switched_off

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
        self._lifecycle.clear()
        self._accepted = 0
        self._statuses.clear()
        self._senders.clear()
        self._slots.clear()
        self._cool_downs.clear()
        self._given_up = 0

    def limits(self) -> Mapping[str, Limit]:
        """None: aulm limits messages of a calendar day, not requests of a window."""
        return {}

    def statuses(self) -> Mapping[str, int]:
        """How many messages stand at each status; what was taken is `sent` from the start."""
        return self._statuses

    # Requests

    def trace(self, call: Call) -> Trace:
        """The key's fingerprint, the recipient, and `send:SESSION` or `session:SESSION` for the group."""
        key = call.headers.get("Authorization", "").partition(" ")[2]
        if call.method == "POST" and call.path in SEND and isinstance(call.data, dict):
            session, to = call.data.get("session_id"), call.data.get("to")
            group = f"send:{session}" if isinstance(session, str) else "send"
            return Trace(mark_of(key), group, to if isinstance(to, str) else "")
        asked = _asked_session(call)
        return Trace(mark_of(key), f"session:{asked}" if asked else "")

    def answer(self, call: Call) -> Answer:
        """Judges in this order: header, cool-down and key, JSON, fields, session, quota, messaging service."""
        try:
            caller = self._authenticate(call)
            read = SEND.get(call.path) if call.method == "POST" else None
            if read is not None:
                return self._send(call, caller, read(call, self._settings))
            if asked := _asked_session(call):
                return self._show_session(asked, caller)
            return self.refusal(404, "not_found")
        except Refused as refused:
            answer = _error(STATUSES[refused.code], refused.code, refused.sentence)
            if refused.code == "too_many_auth_failures":
                answer.headers["retry-after"] = str(self._cool_downs[call.address].wait(call.at))
            return answer

    def refusal(self, status: int, code: str | None = None) -> Answer:
        """aulm's error body for a status, with its documented code or one named after the status."""
        phrase = responses.get(status, f"Status {status}")
        return _error(status, code or CODES.get(status) or phrase.lower().replace(" ", "_"), f"{phrase}.")

    def _authenticate(self, call: Call) -> Caller:
        key = presented_key(call.headers.get("Authorization", ""))
        # While an address cools down none of its keys is looked at: neither the bad one nor any other gets through.
        if self._cool_downs[call.address].wait(call.at):
            raise Refused("too_many_auth_failures", "Too many requests with bad keys came from this address.")
        try:
            caller = self._keys.caller(key)
        except Refused as refused:
            if refused.code in BAD_KEYS:
                self._cool_downs[call.address].fail(self._settings.auth.lockout, call.at)
            raise
        if not self._settings.account(caller.rule.account).active:
            raise Refused("account_deactivated", "The account is deactivated.")
        return caller

    def _session(self, session_id: str, caller: Caller) -> SessionRule:
        session = self._settings.session(session_id)
        if session is None or session.account != caller.rule.account:
            raise Refused("session_not_found", "There is no such session.")
        if session.disabled:
            raise Refused("session_disabled", "The session is disabled.")
        if not caller.may(session_id):
            raise Refused("session_not_allowed", "The API key may not use this session.")
        return session

    def _show_session(self, session_id: str, caller: Caller) -> Answer:
        session = self._session(session_id, caller)
        return _success(200, {"session_id": session_id, "status": session.cached or session.status})

    # Sending

    def _send(self, call: Call, caller: Caller, body: Send) -> Answer:
        session = self._session(body.session_id, caller)
        if caller.test:  # simulated: neither the session's state nor the quota nor the messaging service matters
            return self._accept(call, caller, body)
        if session.status != "connected":
            return self._quota_too(call, caller, _error(409, "session_not_ready", "The session is not connected."))
        account, trial = self._plan(caller)
        if not self._slots.take(account, trial, self._settings.quota, call.at):
            return self._exhausted(call, caller)
        state = self._settings.upstream.state_for(body.to)
        if state == "up":
            return self._accept(call, caller, body)
        self._slots.refund(account, trial, call.at)
        return self._quota_too(call, caller, self._fail(call, caller, body, state))

    def _plan(self, caller: Caller) -> tuple[str, bool]:
        account = caller.rule.account
        return account, self._settings.account(account).trial

    def _quota_headers(self, call: Call, caller: Caller) -> dict[str, str]:
        return self._slots.reading(*self._plan(caller), self._settings.quota, call.at).headers()

    def _quota_too(self, call: Call, caller: Caller, answer: Answer) -> Answer:
        if self._settings.headers.on_error == "quota":
            answer.headers |= self._quota_headers(call, caller)
        return answer

    def _exhausted(self, call: Call, caller: Caller) -> Answer:
        account, trial = self._plan(caller)
        code, window = ("trial_quota_exceeded", "trial") if trial else ("daily_quota_exceeded", "day")
        answer = _error(429, code, f"The {window}'s messages are used up.")
        reading = self._slots.reading(account, trial, self._settings.quota, call.at)
        answer.headers |= reading.headers() | {"retry-after": str(reading.wait(call.at))}
        return answer

    def _accept(self, call: Call, caller: Caller, body: Send) -> Answer:
        message = self._take(caller.mark, body.session_id, message_id(caller.test), body.to, call.at)
        self._begin(message)
        data = {
            "message_id": message.id,
            "session_id": body.session_id,
            "to": body.to,
            "status": "sent",
            "simulated": caller.test,
        }
        answer = _success(201, data)
        answer.message_id, answer.accepted = message.id, True
        answer.headers |= self._quota_headers(call, caller)
        return answer

    def _fail(self, call: Call, caller: Caller, body: Send, state: UpstreamState) -> Answer:
        upstream, code = self._settings.upstream, UPSTREAM[state]
        answer = _error(STATUSES[code], code, "The messaging service did not take the message.")
        if state == "overloaded" and upstream.retry_after is not None:
            answer.headers["retry-after"] = str(upstream.retry_after)
        if state == "timeout" and upstream.timeout_sends:
            message = self._take(caller.mark, body.session_id, message_id(test=False), body.to, call.at)
            self._begin(message)
            answer.message_id, answer.accepted = message.id, True
        return answer

    def _take(self, key: str, session_id: str, message_id: str, to: str, at: float) -> Message:
        message = Message(key, session_id, message_id, to, self._accepted, at)
        self._senders[session_id] = key
        self._accepted += 1
        self._statuses["sent"] += 1
        return message

    def _begin(self, message: Message) -> None:
        if self._settings.test_keys.lifecycle or not message.test:
            self._lifecycle.begin(message)

    # Events

    def sign(self, event: Event, secret: str, attempt: int) -> dict[str, str]:
        """All headers of one attempt to deliver an event."""
        return webhook_headers(event, secret, attempt)

    def inject(self, data: object) -> dict[str, Any]:
        """Has an event happen, such as `{"event": "inbound_message", "data": {"from": …, "body": …}}`.

        Returns the webhook's body. With `"test": true` it is what the dashboard's test button sends.

        Raises:
            SettingsError: it is not of that form.
        """
        inbound = parse(Inbound, data, "event")
        who = "from" if inbound.event == "inbound_message" else "to"
        number = inbound.data.get(who, "+15550100000" if inbound.test else "")
        if not isinstance(number, str) or not number:
            raise SettingsError(f"event.data.{who}: the number in E.164 is required.")
        body = inbound_body(inbound, self.clock.now()) | {who: number}
        message_id = str(body["message_id"])
        caller = self._senders.get(str(body["session_id"]), "")
        event = Event(inbound.event, json_body(body), recipient=number, message_id=message_id, caller=caller)
        self.webhooks.send(event)
        return body

    def _judge(self, attempt: int, reply: Reply) -> Verdict:
        verdict = judge(reply, self.webhooks.by_ladder(attempt, reply), self.clock.now())
        if verdict.outcome == "acknowledged":
            self._given_up = 0
        elif verdict.outcome == "dropped":
            self._given_up += 1
            if self._given_up >= self._settings.webhook.disable_after:
                self._switch_off()
        return verdict

    def _switch_off(self) -> None:
        """The endpoint is switched off until `webhook.enabled` is set again, as one does in the dashboard."""
        self._given_up = 0
        webhook = self._settings.webhook.model_copy(update={"enabled": False})
        self.change(self._settings.model_copy(update={"webhook": webhook}))

    def _progress(self, message: Message, step: Step) -> None:
        self._settle(message, step)
        if not message.test or self._settings.test_keys.webhooks:
            self.webhooks.send(status_event(message, step.status, step.when))

    def _settle(self, message: Message, step: Step) -> None:
        self._statuses[message.shown] -= 1
        message.status = step.status
        self._statuses[message.shown] += 1

    def restore(self) -> None:
        """Takes over the messages of earlier runs; what fell due before their last entry is not told again."""
        until = max((entry.at for entry in self.ledger), default=0.0)
        for entry in self.ledger:
            if not entry.accepted:
                continue
            test = entry.key.startswith("test")
            session = entry.group.partition(":")[2] or SESSION
            message = self._take(entry.key, session, entry.message_id, entry.recipient, entry.at)
            if not test and entry.status != STATUSES["messaging_service_timeout"]:
                account = self._keys.account_of(entry.key)
                trial = self._settings.account(account).trial
                self._slots.take(account, trial, self._settings.quota, entry.at)
            if self._settings.test_keys.lifecycle or not test:
                self._lifecycle.resume(message, until, self._settle)


def _asked_session(call: Call) -> str:
    """The session whose status a request asks for; empty for any other request."""
    session = call.path.removeprefix(SESSIONS).removesuffix(STATUS)
    asked = call.method == "GET" and call.path == SESSIONS + session + STATUS and "/" not in session
    return session if asked else ""


def _success(status: int, data: Mapping[str, Any]) -> Answer:
    request_id = str(uuid.uuid4())
    return Answer(status, json_body({"data": data, "request_id": request_id}), {"x-request-id": request_id})


def _error(status: int, code: str, sentence: str) -> Answer:
    return Answer(
        status, json_body({"error": {"code": code, "message": sentence}}), {"x-request-id": str(uuid.uuid4())}
    )
