"""Sending events to the receiver's URL: signed, a few at a time, retried by a ladder, and spoilt on request."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import aiohttp
from pydantic import Field

from sandbox.call import fingerprint
from sandbox.clock import Clock
from sandbox.fault_board import FaultBoard
from sandbox.faults import WebhookDelay, WebhookDrop, WebhookDuplicate, WebhookReorder, WebhookSignature
from sandbox.model import Model
from sandbox.schedule import Schedule

SHOWN = 10_000  # attempts kept for inspection; the counts are of all

_EVENT_FAULTS = (WebhookDrop, WebhookDelay, WebhookDuplicate, WebhookReorder)


class Endpoint(Model):
    """Where events go, and what they are signed with."""

    url: str | None = Field(default=None, pattern=r"^https?://")  # None: no events
    secret: str = "sandbox_webhook_secret"  # noqa: S105 (a default to read in documentation, guarding nothing)


class WebhookSettings(Endpoint):
    """The endpoint, and what happens when events are not acknowledged. Durations in seconds.

    `endpoints` are those of callers with one of their own, by the credential that identifies them.
    """

    endpoints: dict[str, Endpoint] = Field(default_factory=dict)
    timeout: Annotated[float, Field(gt=0)] = 5.0
    retry_delays: tuple[Annotated[float, Field(ge=0)], ...] = (10.0, 60.0, 300.0)  # each after the failure before it
    ack_statuses: tuple[int, ...] = ()  # empty: any 2xx
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 16

    def endpoint(self, caller: str) -> Endpoint:
        """Where this caller's events go; named by that credential, or by its fingerprint as the ledger does."""
        mark = caller.partition(":")[2]
        own = (each for name, each in self.endpoints.items() if caller == name or mark == fingerprint(name))
        return next(own, self)

    def urls(self) -> set[str | None]:
        """Every address that events may go to."""
        return {self.url, *(endpoint.url for endpoint in self.endpoints.values())}


@dataclass(frozen=True, slots=True)
class Event:
    """One event, ready to send, about a message of `caller`. `url` is its own where the provider's API takes one for
    each message."""

    name: str
    body: bytes
    recipient: str = ""
    message_id: str = ""
    url: str | None = None
    caller: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is known of one attempt. `answer` is the HTTP status, or the name of what went wrong."""

    at: float  # Unix seconds, when it ended
    event: str
    message_id: str
    attempt: int  # from 1
    answer: int | str
    outcome: str  # "acknowledged", "retried" or "dropped"
    forged: bool  # signed with a wrong secret on purpose

    def as_json(self) -> dict[str, Any]:
        """Its fields."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class _Sending:
    event: Event
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Reply:
    """What the receiver said: the HTTP status, or the name of what went wrong, and its Retry-After as written."""

    answer: int | str
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reply means for its event; `wait` is in seconds, until the next attempt of one that is retried."""

    outcome: Literal["acknowledged", "retried", "dropped"]
    wait: float = 0.0


Signer = Callable[[Event, str, int], dict[str, str]]  # (event, secret, attempt) → all headers of the request
Judge = Callable[[int, Reply], Verdict]  # (attempt, reply) → what becomes of the event


class WebhookSender:
    """The events of one provider. All its methods belong to the event loop's thread."""

    def __init__(self, settings: WebhookSettings, sign: Signer, faults: FaultBoard, clock: Clock) -> None:
        self.settings = settings
        self.judge: Judge = self.by_ladder  # a provider whose answers mean something else puts its own here
        self._sign = sign
        self._faults = faults
        self._clock = clock
        self._later: Schedule[_Sending] = Schedule(clock, lambda sending, _: self._queue(sending))
        self._held: dict[str, list[Event]] = {}  # by message: each waits for the next event of its own
        self._release: Schedule[Event] = Schedule(clock, lambda event, _: self._let_go(event))
        self._ready: deque[_Sending] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self.attempts: deque[Attempt] = deque(maxlen=SHOWN)
        self.counts: Counter[str] = Counter()

    def start(self) -> None:
        """Begins to send, on the running event loop."""
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        self._later.start()
        self._release.start()
        self._call_workers()

    async def stop(self) -> None:
        """Drops what waits and what is under way."""
        self._later.stop()
        self._release.stop()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def clear(self) -> None:
        """Forgets all events and attempts."""
        self._later.clear()
        self._release.clear()
        self._held.clear()
        self._ready.clear()
        self.attempts.clear()
        self.counts.clear()

    def send(self, event: Event) -> None:
        """Has the event delivered, unless there is nowhere to deliver it."""
        if (event.url or self.settings.endpoint(event.caller).url) is None:
            return
        self.counts["events"] += 1
        match self._faults.webhook(_EVENT_FAULTS, event.name, event.recipient):
            case None:
                self._queue(_Sending(event))
            case WebhookDrop():
                self.counts["lost"] += 1
            case WebhookDelay(seconds=seconds):
                self._later.add(self._clock.now() + seconds, _Sending(event))
            case WebhookDuplicate(copies=copies):
                for _ in range(copies):
                    self._queue(_Sending(event))
            case WebhookReorder(hold=hold):
                self._held.setdefault(event.message_id, []).append(event)
                self._release.add(self._clock.now() + hold, event)

    def by_ladder(self, attempt: int, reply: Reply) -> Verdict:
        """A 2xx acknowledges (or the statuses that the settings name); all else is retried while there are rungs."""
        settings, answer = self.settings, reply.answer
        if answer in settings.ack_statuses or (not settings.ack_statuses and isinstance(answer, int) and answer < 300):
            return Verdict("acknowledged")
        if attempt > len(settings.retry_delays):
            return Verdict("dropped")
        return Verdict("retried", settings.retry_delays[attempt - 1])

    def summary(self) -> dict[str, int]:
        """Events, attempts by outcome, and what is still waiting."""
        waiting = len(self._ready) + len(self._later) + sum(map(len, self._held.values()))
        return (
            {"events": 0, "acknowledged": 0, "retried": 0, "dropped": 0, "lost": 0} | self.counts | {"waiting": waiting}
        )

    def _queue(self, sending: _Sending) -> None:
        self._ready.append(sending)
        self._call_workers()

    def _call_workers(self) -> None:
        if self._session is not None and self._ready and len(self._workers) < self.settings.concurrency:
            worker = asyncio.get_running_loop().create_task(self._work(self._session))
            self._workers.add(worker)

    async def _work(self, session: aiohttp.ClientSession) -> None:
        try:
            while self._ready:
                await self._attempt(session, self._ready.popleft())
        finally:  # at once, not by a callback later: an event queued in between would find no worker
            worker = asyncio.current_task()
            assert worker is not None
            self._workers.discard(worker)

    async def _attempt(self, session: aiohttp.ClientSession, sending: _Sending) -> None:
        event, settings = sending.event, self.settings
        endpoint = settings.endpoint(event.caller)
        url = event.url or endpoint.url
        if url is None:
            return  # switched off meanwhile
        forged = self._faults.webhook((WebhookSignature,), event.name, event.recipient) is not None
        secret = endpoint.secret + "_forged" if forged else endpoint.secret
        headers = self._sign(event, secret, sending.attempt)
        reply = await _post(session, url, event.body, headers, aiohttp.ClientTimeout(total=settings.timeout))
        verdict = self.judge(sending.attempt, reply)
        now, outcome = self._clock.now(), verdict.outcome
        if outcome == "retried":
            self._later.add(now + verdict.wait, _Sending(event, sending.attempt + 1))
        self.counts[outcome] += 1
        self.attempts.append(Attempt(now, event.name, event.message_id, sending.attempt, reply.answer, outcome, forged))
        self._let_go_of_siblings(event)

    def _let_go_of_siblings(self, sent: Event) -> None:
        for event in tuple(self._held.get(sent.message_id, ())):
            if event is not sent:
                self._let_go(event)

    def _let_go(self, event: Event) -> None:
        siblings = self._held.get(event.message_id, [])
        if event in siblings:
            siblings.remove(event)
            if not siblings:
                del self._held[event.message_id]
            self._queue(_Sending(event))


async def _post(
    session: aiohttp.ClientSession, url: str, body: bytes, headers: dict[str, str], limit: aiohttp.ClientTimeout
) -> Reply:
    try:
        async with session.post(url, data=body, headers=headers, timeout=limit, allow_redirects=False) as response:
            await response.read()
            return Reply(response.status, response.headers.get("Retry-After", ""))
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        return Reply(type(error).__name__)
