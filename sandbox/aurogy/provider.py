"""The Aurogy Business API (v1.0): who may call what, how often, and what each endpoint does."""

from collections import Counter
from collections.abc import Callable, Mapping
from http.client import responses
from typing import Any, ClassVar

from sandbox.aurogy import bodies
from sandbox.aurogy.bodies import Refused
from sandbox.aurogy.business import Business, Message
from sandbox.aurogy.conversations import list_conversations
from sandbox.aurogy.events import Inbound, envelope, inbound_data, instant, status_event, webhook_headers
from sandbox.aurogy.keys import Caller, Keyring
from sandbox.aurogy.settings import AurogySettings
from sandbox.call import Answer, Call, Trace, json_body
from sandbox.clock import Clock
from sandbox.ids import token
from sandbox.ledger import Ledger
from sandbox.lifecycle import Lifecycle, Step
from sandbox.model import SettingsError, parse
from sandbox.provider import Provider, ProviderSettings
from sandbox.webhooks import Event
from sandbox.windows import Limit, RateLimits, rate_headers, wait_seconds

# Aurogy's API reference, errors: the code of each status; the first code where a status has several.
CODES: Mapping[int, str] = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    429: "rate_limited",
    500: "internal_error",
    503: "service_unavailable",
}
Endpoint = Callable[[Call, Caller], Answer]


class Aurogy(Provider):
    """The provider `aurogy`."""

    name: ClassVar[str] = "aurogy"
    root: ClassVar[str] = "/v1"

    def __init__(self, settings: AurogySettings, ledger: Ledger, clock: Clock, seed: int) -> None:
        super().__init__(settings, ledger, clock, seed)
        self._settings = settings
        self._rates = RateLimits(settings.ratelimit.window, settings.ratelimit.by_group())
        self._lifecycle: Lifecycle[Message] = Lifecycle(settings.lifecycle, seed, clock, self._progress)
        self._messages: dict[str, Message] = {}
        self._statuses: Counter[str] = Counter()
        self._businesses: dict[str, Business] = {}
        self._keys = Keyring(settings.keys)
        self._routes: dict[tuple[str, str], tuple[str, Endpoint]] = {}
        self._route()

    @property
    def settings(self) -> AurogySettings:
        """The settings in force."""
        return self._settings

    def change(self, settings: ProviderSettings) -> None:
        """Puts new settings in force; messages, and windows whose limit stays, are kept."""
        assert isinstance(settings, AurogySettings)
        super().change(settings)
        self._settings = settings
        self._rates.change(settings.ratelimit.window, settings.ratelimit.by_group())
        self._lifecycle.settings = settings.lifecycle
        self._keys = Keyring(settings.keys)
        self._route()

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
        self._messages.clear()
        self._statuses.clear()
        self._businesses.clear()

    def limits(self) -> Mapping[str, Limit]:
        """The limit of each endpoint group."""
        return self._rates.limits

    def statuses(self) -> Mapping[str, int]:
        """How many messages stand at each status."""
        return self._statuses

    # Requests

    def trace(self, call: Call) -> Trace:
        """The key's fingerprint, the endpoint's group, and the recipient and metadata that the body names."""
        presented = call.headers.get("Authorization", "")
        key = self._keys.caller(presented).mark if presented else ""
        group, _ = self._find(call)
        if call.method != "POST" or not isinstance(call.data, dict):
            return Trace(key, group)
        to, metadata = call.data.get("to"), call.data.get("metadata")
        return Trace(key, group, to if isinstance(to, str) else "", _reference(metadata))

    def answer(self, call: Call) -> Answer:
        """Judges in this order: transport, key, path, rate, permission, content."""
        if self._settings.require_https and not call.secure:
            return self.error("forbidden", "HTTPS is required.", 403)
        caller = self._keys.caller(call.headers.get("Authorization", ""))
        if not caller.known:
            return self.error("unauthorized", "The API key is missing or wrong.", 401)
        group, endpoint = self._find(call)
        if endpoint is None:
            return self.error("not_found", "There is no such resource.", 404)
        reading = self._rates.hit(caller.mark, group, call.at)
        if not reading.admitted:
            answer = self.error("rate_limited", "Too many requests.", 429)
            answer.headers["Retry-After"] = str(wait_seconds(reading, call.at))
        elif not caller.may(group):
            answer = self.error("forbidden", "The API key lacks the permission for this.", 403)
        else:
            answer = self._serve(endpoint, call, caller)
        answer.headers |= rate_headers(reading)
        return answer

    def refusal(self, status: int, code: str | None = None) -> Answer:
        """Aurogy's error body for a status, with its documented code or one named after the status."""
        phrase = responses.get(status, f"Status {status}")
        return self.error(code or CODES.get(status) or phrase.lower().replace(" ", "_"), f"{phrase}.", status)

    @staticmethod
    def error(code: str, sentence: str, status: int) -> Answer:
        """An error answer."""
        return Answer(status, json_body({"error": {"code": code, "message": sentence, "status": status}}))

    def _serve(self, endpoint: Endpoint, call: Call, caller: Caller) -> Answer:
        try:
            return endpoint(call, caller)
        except Refused as refused:
            status = 404 if refused.code == "not_found" else 400
            return self.error(refused.code, refused.sentence, status)

    def _route(self) -> None:
        paths = self._settings.paths
        self._status_prefix = self.root + paths.status.removesuffix("{message_id}")
        self._routes = {
            ("POST", self.root + paths.text): ("send", self._send_text),
            ("POST", self.root + paths.media): ("send", self._send_media),
            ("POST", self.root + paths.template): ("send", self._send_template),
            ("GET", self.root + paths.conversations): ("conversations", self._list_conversations),
            ("GET", self.root + paths.profile): ("profile_read", self._read_profile),
            ("PUT", self.root + paths.profile): ("profile", self._update_profile),
        }

    def _find(self, call: Call) -> tuple[str, Endpoint | None]:
        route = self._routes.get((call.method, call.path))
        if route is not None:
            return route
        message_id = call.path.removeprefix(self._status_prefix)
        if call.method == "GET" and message_id and message_id != call.path and "/" not in message_id:
            return "status", self._read_message
        return "", None

    def _business(self, name: str) -> Business:
        business = self._businesses.get(name)
        if business is None:
            business = self._businesses[name] = Business(name, self._settings.profile)
        return business

    # Endpoints

    def _send_text(self, call: Call, caller: Caller) -> Answer:
        body = bodies.read_text(call, self._settings)
        return self._accept(call, caller, body.to, {})

    def _send_media(self, call: Call, caller: Caller) -> Answer:
        body = bodies.read_media(call, self._settings)
        return self._accept(call, caller, body.to, {"media_cid": bodies.content_id(body.media_url)})

    def _send_template(self, call: Call, caller: Caller) -> Answer:
        body = bodies.read_template(call, self._settings)
        return self._accept(call, caller, body.to, {"template": body.template})

    def _accept(self, call: Call, caller: Caller, to: str, extra: dict[str, str]) -> Answer:
        message = self._take(self._business(caller.rule.business), caller.mark, "msg_" + token(), to, call.at)
        if self._settings.test_keys.lifecycle or not message.test:
            self._lifecycle.begin(message)
        resource = {"id": message.id, "status": "queued", "to": to, **extra, "created_at": instant(call.at)}
        return Answer(200, json_body(resource), message_id=message.id, accepted=True)

    def _take(self, business: Business, key: str, message_id: str, to: str, at: float) -> Message:
        message = Message(business, key, message_id, to, len(self._messages), at)
        self._messages[message_id] = message
        self._statuses["queued"] += 1
        business.inbox.touch(to, at)
        return message

    def _read_message(self, call: Call, caller: Caller) -> Answer:
        message = self._messages.get(call.path.removeprefix(self._status_prefix))
        if message is None or message.business.name != caller.rule.business:
            raise Refused("not_found", "There is no such message.")
        return Answer(200, json_body(message.as_json()))

    def _list_conversations(self, call: Call, caller: Caller) -> Answer:
        business = self._business(caller.rule.business)
        return Answer(200, json_body(list_conversations(call.query, business, self._settings)))

    def _read_profile(self, _: Call, caller: Caller) -> Answer:
        return Answer(200, json_body(self._business(caller.rule.business).profile()))

    def _update_profile(self, call: Call, caller: Caller) -> Answer:
        business = self._business(caller.rule.business)
        business.change_profile(bodies.read_profile(call, self._settings))
        profile = business.profile()
        answered = {name: profile[name] for name in ("id", "name", "description")}
        return Answer(200, json_body(answered | {"updated_at": instant(call.at)}))

    # Events

    def sign(self, event: Event, secret: str, attempt: int) -> dict[str, str]:
        """All headers of one attempt to deliver an event."""
        return webhook_headers(event, secret, attempt)

    def inject(self, data: object) -> dict[str, Any]:
        """Has an inbound event happen, such as `{"event": "message.received", "data": {"from": …}}`.

        Returns the webhook's body. Other events than the three inbound ones are sent with the data as given.

        Raises:
            SettingsError: it is not of that form.
        """
        inbound = parse(Inbound, data, "event")
        sender, now = inbound.data.get("from", ""), self.clock.now()
        conversation_id = ""
        if inbound.event in ("message.received", "conversation.started"):
            if not isinstance(sender, str) or not sender:
                raise SettingsError("event.data.from: the Aurogy id that the event comes from is required.")
            conversation = self._business(inbound.business).inbox.touch(sender, now)
            conversation.unread_count += inbound.event == "message.received"
            conversation_id = conversation.id
        body = envelope(inbound.event, now, inbound_data(inbound, conversation_id, now))
        message_id = str(body["data"].get("message_id", ""))
        self.webhooks.send(Event(inbound.event, json_body(body), recipient=str(sender), message_id=message_id))
        return body

    def _progress(self, message: Message, step: Step) -> None:
        self._settle(message, step)
        if step.status == "sent" or (message.test and not self._settings.test_keys.webhooks):
            return  # Aurogy has no event for `sent`
        self.webhooks.send(status_event(message.id, message.recipient, step.status, step.when, message.key))

    def _settle(self, message: Message, step: Step) -> None:
        self._statuses[message.status] -= 1
        self._statuses[step.status] += 1
        message.reach(step)

    def restore(self) -> None:
        """Takes over the messages of earlier runs; what fell due before their last entry is not told again."""
        until = max((entry.at for entry in self.ledger), default=0.0)
        for entry in self.ledger:
            if entry.accepted:
                business = self._business(self._keys.business_of(entry.key))
                message = self._take(business, entry.key, entry.message_id, entry.recipient, entry.at)
                if self._settings.test_keys.lifecycle or not message.test:
                    self._lifecycle.resume(message, until, self._settle)


def _reference(metadata: object) -> str:
    """The sender's own reference in a text's metadata: its `dispatch_id`, else all of it."""
    if not isinstance(metadata, dict):
        return ""
    reference = metadata.get("dispatch_id")
    return reference if isinstance(reference, str) else json_body(metadata).decode()
