"""The ASGI application that faces the providers: POST /hooks/<account>, and GET /health.

A webhook is believed only with its signature over the bytes as they came, and acknowledged only once it is committed.
Providers drop what was answered with 4xx, so that is for what is not theirs, and whatever is our own trouble is 503.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager

import structlog
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from paceline.content import SAID, keyring_of
from paceline.database import read
from paceline.errors import ContentLocked
from paceline.suppression import LONGEST as LONGEST_NAME
from providers.answers import digest, sha256
from providers.base import STATUS_EVENT, Event, Inbound
from worker.delivery import LONGEST_ID, fit
from worker.hooks.callbacks import NONE, PREFIX, Callbacks
from worker.hooks.deadlines import Deadlines
from worker.hooks.group_commit import GroupCommit, NotWritten
from worker.hooks.inbound import UNREADABLE, Arrival, Inbox
from worker.hooks.nonces import Post, judge
from worker.lanes.topology import Sender, Topology
from worker.planning import by_index
from worker.suppressing import Wish

LARGEST = 1 << 20  # bytes of a webhook
LONGEST_LENGTH = 20  # digits of an announced length; thousands of them would be no number to Python
HELD = 64 << 20  # bytes of all webhooks that are being read
READING = 10.0  # seconds in which a webhook must have arrived whole
HEALTH = 2.0  # seconds for the database's answer
QUIET = 10.0  # seconds in which the same refusal is logged once
THREADS = {"sqlite": 1, "postgresql": 2}  # that write: SQLite has one writer at a time

GONE = 0  # no answer: nobody is there to read it
SENTENCES = {
    200: b"",
    401: b"The signature is missing or wrong.\n",
    404: b"There is no such account, or its provider sends no webhooks.\n",
    405: b"Webhooks are posted.\n",
    408: b"The body did not arrive in time.\n",
    413: b"The body is larger than 1 MB.\n",
    503: b"Try again later.\n",
}

log = structlog.get_logger("paceline.webhook")


# Told of each answer: the account that was posted to, the status (`GONE` if nobody was there), after how many seconds.
Answered = Callable[[str, int, float], None]


def unnoted(_account: str, _status: int, _seconds: float) -> None:
    """Count no answers."""


def make_hooks(
    engine: Engine, topology: Topology, callbacks: Callbacks = NONE, answered: Answered = unnoted
) -> ASGIApp:
    """The application on this database, for the accounts of this topology.

    `callbacks` are messages' own addresses; `answered` is told of what is answered to webhooks.
    """
    by_index(engine).dispose()  # connections that were opened before do not know
    inbox = Inbox(engine, topology)

    def write(posts: Sequence[Post]) -> None:
        def judged(connection: Connection) -> Sequence[Arrival]:
            judge(connection, posts)
            return [arrival for post in posts if not post.refused for arrival in post.arrivals]

        arrivals = [arrival for post in posts for arrival in post.arrivals]
        done = inbox.record(arrivals, judged)
        log.info(
            "webhooks",
            stored=done.stored,
            repeated=len(arrivals) - done.stored,
            parked=done.parked,
            moved=[f"{message.id} {message.status}" for message in done.moved],
        )

    writer = GroupCommit(write, threads=THREADS[engine.dialect.name])
    health = Health(engine)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        writer.close()
        health.close()

    receiver = Receiver(topology.senders, writer, callbacks, answered)
    others = Starlette(routes=[Route("/health", health.answer)], lifespan=lifespan)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # Starlette's layers would cost a webhook as much as its signature and its parsing together.
        webhook = scope["type"] == "http" and scope["path"].startswith(PREFIX)
        await (receiver if webhook else others)(scope, receive, send)

    return app


class Receiver:
    """POST /hooks/<account>, as an ASGI application of its own."""

    def __init__(
        self, senders: Mapping[str, Sender], writer: GroupCommit[Post], callbacks: Callbacks, answered: Answered
    ) -> None:
        self._callbacks = callbacks
        self._answered = answered
        self._reading = Deadlines(READING)
        self._senders = {name: sender for name, sender in senders.items() if sender.provider.verify is not None}
        self._writer = writer
        self._held = 0
        self._logged: dict[tuple[str, str], tuple[float, int]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        account, status, began = scope["path"].removeprefix(PREFIX), GONE, time.perf_counter()
        try:
            status = await self._kept(account, scope, receive)
            if status != GONE:
                start, body = _ANSWERS[status]
                await send(start)
                await send(body)
        finally:
            self._answered(account, status, time.perf_counter() - began)

    async def _kept(self, account: str, scope: Scope, receive: Receive) -> int:
        try:
            return await self._take(account, scope, receive)
        except Exception as bug:  # ours, so the provider is to try again
            log.warning("failed", error=type(bug).__name__)
            return 503

    async def _take(self, account: str, scope: Scope, receive: Receive) -> int:
        """Read, verify and store one webhook; the status to answer."""
        sender = self._senders.get(account)
        if scope["method"] in ("GET", "HEAD") and sender is not None and sender.provider.answers_get:
            return 200
        if scope["method"] != "POST":
            return 405
        if sender is None:
            return 404
        headers = _headers(scope)
        body = await self._read(headers, receive)
        if isinstance(body, int):
            return body
        query = scope["query_string"].decode("latin-1")
        message_id = ""
        if self._callbacks.is_address(query):  # the first time its secret is read from the database
            message_id = await asyncio.to_thread(self._callbacks.message_id, account, query)
        inbound = Inbound("POST", _raw_path(scope), query, headers, body, time.time(), message_id)
        assert sender.provider.verify is not None
        if not sender.provider.verify(sender.account, inbound):
            self._refused(sender)
            return 401
        post = _post(sender, inbound)
        try:
            await self._writer.put(post)
        except NotWritten as failure:
            self._log_once("not stored", sender.name, str(failure))
            return 503
        if post.refused:
            self._log_once("refused", sender.name, "its token came before, with another body")
            return 401
        return 200

    async def _read(self, headers: Mapping[str, str], receive: Receive) -> bytes | int:
        """The whole body; or the status to answer instead."""
        length = headers.get("content-length", "")
        if length.isdecimal() and (len(length) > LONGEST_LENGTH or int(length) > LARGEST):
            return 413
        body = bytearray()
        try:
            with self._reading.limit():
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        return GONE
                    chunk = message.get("body", b"")
                    self._held += len(chunk)
                    body += chunk
                    if len(body) > LARGEST:
                        return 413
                    if self._held > HELD:
                        return 503
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            return 408
        finally:
            self._held -= len(body)

    def _refused(self, sender: Sender) -> None:
        credential = sender.provider.webhook_credential or ""
        if sender.account.credentials.get(credential):
            self._log_once("refused", sender.name, "the signature is missing or wrong")
        else:
            reason = f"accounts.{sender.name}.{credential} is not set, and it came to no message's own address"
            self._log_once("refused", sender.name, reason)

    def _log_once(self, event: str, account: str, reason: str) -> None:
        """Log what anybody on the network can cause, but not as often as they cause it."""
        now = time.monotonic()
        last, unlogged = self._logged.get((account, reason), (-QUIET, 0))
        if now - last < QUIET:
            self._logged[account, reason] = last, unlogged + 1
            return
        self._logged[account, reason] = now, 0
        log.warning(event, account=account, reason=reason, unlogged=unlogged)


class Health:
    """GET /health: whether the database answers, and may be written to; asked by one thread at most."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="health")
        self._asked: Future[bool] | None = None

    async def answer(self, _request: Request) -> Response:
        """200, or 503 if the database fails or is silent for two seconds."""
        if self._asked is None or self._asked.done():
            self._asked = self._pool.submit(self._ask)
        answer = asyncio.wrap_future(self._asked)
        await asyncio.wait({answer}, timeout=HEALTH)
        if answer.done() and answer.result():
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "database away"}, status_code=503)

    def close(self) -> None:
        """Ask no more."""
        self._pool.shutdown(wait=False)

    def _ask(self) -> bool:
        try:
            with read(self._engine) as connection:
                said = connection.scalar(select(SAID))
                keyring_of(connection).check(said or "")
        except (SQLAlchemyError, ContentLocked):
            return False
        return True


def _raw_path(scope: Scope) -> str:
    """The path exactly as it was asked for: signatures are over that."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.decode("latin-1")


def _headers(scope: Scope) -> dict[str, str]:
    """By name; a header that came twice holds both values, and so is the signature of nothing."""
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _post(sender: Sender, inbound: Inbound) -> Post:
    said, nonce = _arrivals(sender, inbound), sender.provider.nonce
    if nonce is None:
        return Post(sender.fingerprint, sender.name, said)
    return Post(sender.fingerprint, sender.name, said, digest(nonce(sender.account, inbound)), sha256(inbound.body))


def _arrivals(sender: Sender, inbound: Inbound) -> list[Arrival]:
    """What a genuine webhook says; what cannot be read is kept as it is, for people."""
    assert sender.provider.parse_event is not None
    try:
        arrivals = [_arrival(sender, event) for event in sender.provider.parse_event(sender.account, inbound)]
    except Exception as bug:  # it is theirs all the same: kept, and not asked for again
        log.warning("unreadable", account=sender.name, error=type(bug).__name__)
        arrivals = []
    if arrivals and all(_complete(arrival) for arrival in arrivals):
        return arrivals
    said = json.dumps({"body": inbound.body.decode("utf-8", "backslashreplace")})
    return [Arrival(sender.fingerprint, sender.name, sha256(inbound.body), UNREADABLE, data=said)]


def _arrival(sender: Sender, event: Event) -> Arrival:
    return Arrival(
        sender.fingerprint,
        sender.name,
        event.key,
        event.kind,
        event.at,
        fit(event.provider_message_id, LONGEST_ID) or None,
        str(event.status) if event.status else None,
        fit(event.reason) or None,
        fit(event.recipient) or None,
        event.message_id or None,
        json.dumps(event.data) if event.kind != STATUS_EVENT else None,
        _wishes(sender, event),
    )


def _wishes(sender: Sender, event: Event) -> tuple[Wish, ...]:
    channel, who = sender.capabilities.channel, event.opted_out or event.opted_in
    if not channel or not who:
        return ()
    names = (who, event.known_as) if event.known_as else (who,)
    return tuple(
        Wish(channel, fit(name, LONGEST_NAME) or "", sender.name, "webhook", out=bool(event.opted_out))
        for name in names
    )


def _complete(arrival: Arrival) -> bool:
    named = arrival.provider_message_id or arrival.message_id
    return arrival.kind != STATUS_EVENT or (named is not None and arrival.status is not None)


def _answer(status: int, sentence: bytes) -> tuple[Message, Message]:
    headers = [(b"content-length", str(len(sentence)).encode())]
    if sentence:
        headers.append((b"content-type", b"text/plain; charset=utf-8"))
    if status == 405:
        headers.append((b"allow", b"POST"))
    start = {"type": "http.response.start", "status": status, "headers": headers}
    return start, {"type": "http.response.body", "body": sentence}


_ANSWERS = {status: _answer(status, sentence) for status, sentence in SENTENCES.items()}
