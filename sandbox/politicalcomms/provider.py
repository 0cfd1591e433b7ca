"""The Political Comms API: who may call what, how often, and what comes of repeating oneself."""

from collections.abc import Mapping
from http.client import responses
from typing import Any, ClassVar

from sandbox.call import Answer, Call, Trace, fingerprint
from sandbox.clock import Clock
from sandbox.ids import token
from sandbox.ledger import Ledger
from sandbox.model import SettingsError, parse
from sandbox.politicalcomms.campaigns import Campaigning
from sandbox.politicalcomms.events import Inbound, event_of, webhook_headers
from sandbox.politicalcomms.idempotency import Replays
from sandbox.politicalcomms.lists import ContactList, Lists
from sandbox.politicalcomms.media import MediaShelf
from sandbox.politicalcomms.money import Purse
from sandbox.politicalcomms.refused import CODES, Refused, error_answer
from sandbox.politicalcomms.routes import Asked, find, query_of
from sandbox.politicalcomms.sending import Sending
from sandbox.politicalcomms.settings import KEY, KeyRule, PoliticalCommsSettings
from sandbox.politicalcomms.threads import Thread
from sandbox.politicalcomms.world import NUMBERS, below
from sandbox.provider import Provider, ProviderSettings
from sandbox.webhooks import Event
from sandbox.windows import Limit, RateLimits, Reading, rate_headers, wait_seconds

GROUP = "api"  # every endpoint counts against the same limit


class PoliticalComms(Provider):
    """The provider `politicalcomms`."""

    name: ClassVar[str] = "politicalcomms"
    root: ClassVar[str] = "/v1"

    def __init__(self, settings: PoliticalCommsSettings, ledger: Ledger, clock: Clock, seed: int) -> None:
        super().__init__(settings, ledger, clock, seed)
        self._settings = settings
        self._rates = RateLimits(settings.ratelimit.kind(), settings.ratelimit.limits())
        self._replays = Replays(settings.idempotency)
        self._purse = Purse(settings.balance_cents)
        self._lists = Lists(settings, clock, self._purse, self._analyzed)
        self._media = MediaShelf(settings, clock)
        self._sending = Sending(settings, seed, clock, self._lists, self._purse, self.webhooks.send)
        self._endpoints = Campaigning((settings, self._lists, self._media), self._sending, self._purse)

    @property
    def settings(self) -> PoliticalCommsSettings:
        """The settings in force."""
        return self._settings

    def change(self, settings: ProviderSettings) -> None:
        """Puts new settings in force; a balance that they alter is the new balance."""
        assert isinstance(settings, PoliticalCommsSettings)
        super().change(settings)
        if settings.balance_cents != self._settings.balance_cents:
            self._purse.cents = settings.balance_cents
        self._settings = settings
        self._rates.change(settings.ratelimit.kind(), settings.ratelimit.limits())
        self._replays.settings = settings.idempotency
        self._sending.lifecycle.settings = settings.lifecycle
        for part in (self._lists, self._media, self._sending, self._endpoints):
            part.settings = settings

    def start(self) -> None:
        """Begins to work, on the running event loop."""
        super().start()
        self._lists.start()
        self._media.schedule.start()
        self._sending.start()

    async def stop(self) -> None:
        """Stops working."""
        self._sending.stop()
        self._media.schedule.stop()
        await self._lists.stop()
        await super().stop()

    def clear(self) -> None:
        """Forgets everything but the settings."""
        super().clear()
        self._rates.clear()
        self._replays.clear()
        self._lists.clear()
        self._media.clear()
        self._sending.clear()
        self._purse.cents = self._settings.balance_cents
        self._purse.charges.clear()

    def limits(self) -> Mapping[str, Limit]:
        """The limit of each endpoint group."""
        return self._rates.limits

    def statuses(self) -> Mapping[str, int]:
        """How many messages stand at each status."""
        return self._sending.statuses

    def restore(self) -> None:
        """Takes over nothing: what a project is made of is not in the ledger. Ids are never handed out twice."""

    # Requests

    def trace(self, call: Call) -> Trace:
        """The key's fingerprint, the one group, the conversation of a reply and the request's idempotency key."""
        key = call.headers.get("X-API-Key", "")
        route = find(call.method, self._path(call))
        recipient = route[1] if route is not None and route[0].endpoint == "reply" else ""
        reference = call.headers.get("Idempotency-Key", "") if recipient else ""
        return Trace("live:" + fingerprint(key) if key else "", GROUP if route else "", recipient, reference)

    def answer(self, call: Call) -> Answer:
        """Judges in this order: transport, key, rate, path, repetition, permission, content."""
        reading: Reading | None = None
        try:
            rule, key = self._caller(call)
            reading = self._rates.hit(key, GROUP, call.at)
            answer = self._limited(call, reading) or self._judge(call, rule, key)
        except Refused as refused:
            answer = error_answer(refused, self._settings.generation)
        answer.headers["X-Request-ID"] = "req_" + token()
        if reading is not None:
            answer.headers |= rate_headers(reading)
        return answer

    def refusal(self, status: int, code: str | None = None) -> Answer:
        """The error body for a status, with its documented code or one named after the status."""
        phrase = responses.get(status, f"Status {status}")
        refused = Refused(status, code or CODES.get(status) or phrase.upper().replace(" ", "_"), f"{phrase}.")
        return error_answer(refused, self._settings.generation)

    def _caller(self, call: Call) -> tuple[KeyRule, str]:
        if self._settings.require_https and not call.secure:
            raise Refused(403, "FORBIDDEN", "HTTPS is required.", auth=True)
        key, rules = call.headers.get("X-API-Key", ""), self._settings.keys
        if not KEY.fullmatch(key) or (rules and key not in rules):
            raise Refused(401, "INVALID_API_KEY", "API key unknown or revoked", auth=True)
        return rules.get(key, KeyRule()), "live:" + fingerprint(key)

    def _limited(self, call: Call, reading: Reading) -> Answer | None:
        if reading.admitted:
            return None
        refused = Refused(429, "RATE_LIMIT_EXCEEDED", "Too many requests.")
        return error_answer(refused, self._settings.generation, wait_seconds(reading, call.at))

    def _judge(self, call: Call, rule: KeyRule, key: str) -> Answer:
        known = self._replays.find(key, call)
        if known is not None:
            return known
        code = ""
        try:
            answer = self._serve(call, rule)
        except Refused as refused:
            answer, code = error_answer(refused, self._settings.generation), refused.code
        self._replays.keep(key, call, answer, code)
        return answer

    def _serve(self, call: Call, rule: KeyRule) -> Answer:
        path = self._path(call)
        if path.startswith("/email"):
            raise Refused(403, self._settings.email)
        found = find(call.method, path)
        if found is None:
            raise Refused(404, "NOT_FOUND", "There is no such resource.")
        route, id_ = found
        if call.method != "GET" and not rule.write:
            raise Refused(403, "PERMISSION_DENIED")
        endpoint = getattr(self._endpoints, route.endpoint)
        answered = endpoint(Asked(call, rule, below(rule.organization), query_of(route, call), id_))
        assert isinstance(answered, Answer)
        return answered

    def _path(self, call: Call) -> str:
        return call.path.removeprefix(self.root) if call.path.startswith(self.root + "/") else "//"

    # Events

    def sign(self, event: Event, secret: str, _attempt: int) -> dict[str, str]:
        """All headers of one attempt to deliver an event."""
        return webhook_headers(event, secret, self.clock.now())

    def inject(self, data: object) -> dict[str, Any]:
        """Has an event happen, and returns its data.

        `{"event": "message.replied", "data": {"conversation_id" or "from": …, "text": …}}` has a contact write.
        `{"event": "conversation.changed", "data": {"conversation_id": …, "status"?, "deleted"?}}` closes a conversation
        or deletes its project, which no API does. Others are sent as webhooks with the data as given.

        Raises:
            SettingsError: it is not of that form.
        """
        inbound = parse(Inbound, data, "event")
        now = self.clock.now()
        if inbound.event == "message.replied":
            text = inbound.data.get("text", "Hello")
            return self._sending.receive(self._thread(inbound), str(text), now)
        if inbound.event == "conversation.changed":
            thread = self._thread(inbound)
            thread.status = str(inbound.data.get("status", thread.status))
            thread.deleted = bool(inbound.data.get("deleted", thread.deleted))
            return thread.as_json()
        recipient, message = str(inbound.data.get("to", "")), str(inbound.data.get("message_id", ""))
        self.webhooks.send(event_of(inbound.event, now, inbound.data, recipient, message))
        return inbound.data

    def _thread(self, inbound: Inbound) -> Thread:
        id_, contact = inbound.data.get("conversation_id"), inbound.data.get("from")
        threads = self._sending.threads
        if isinstance(id_, str):
            try:
                return threads.get(id_, below(KeyRule().organization), self._settings.open_conversations)
            except Refused:
                raise SettingsError("event.data.conversation_id: there is no such conversation.") from None
        if isinstance(contact, str) and contact:
            ours, _, organization = next(iter(NUMBERS.values()))
            return threads.by_contact(contact) or threads.of(contact, ours, organization, "proj_sandbox")
        raise SettingsError("event.data: conversation_id, or from with the contact's number, is required.")

    def _analyzed(self, one: ContactList) -> None:
        url = one.whole(2)["downloads"]["analyzed_url"]
        analysis = {"status": one.analysis, "analyzed_numbers": one.analyzed, "breakdown": one.breakdown()}
        data = {"id": one.id, "list_id": one.id, "name": one.body.list_name}
        self.webhooks.send(
            event_of(
                "contact_list.analyzed",
                self.clock.now(),
                {**data, "analysis": analysis, "analyzed_url": url},
                caller=one.key,
            )
        )
