"""The wire: the only place that imports httpx. One event loop in a thread of its own does HTTP and nothing else.

A request counts as sent only once its guard has let it pass: on a live connection, before its first byte. Whatever
fails earlier was not sent; whatever fails later is unknown, whatever exception it wears.
"""

import asyncio
import contextlib
import contextvars
import functools
import threading
import time
from collections.abc import AsyncIterable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx
import uvloop
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_reqrep import ClientRequest, ClientResponse
from aiohttp.connector import Connection
from httpx_aiohttp import AiohttpTransport

from providers.base import Request, Response
from worker.downloads import Downloads, is_file
from worker.unpacking import is_packed, unpacked

IDLE_CONNECTION = 2.0  # seconds; older ones are likely to be closed by the other side just as we write
ANSWER_LIMIT = 1_048_576  # bytes of an answer that are read; no provider's is as long
USER_AGENT = "paceline/1"


class Withheld(Exception):  # not an error: the guard's decision
    """The guard did not let the request pass; nothing was written."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _nothing() -> None:
    """What is sent for no row is in nobody's hand."""


@dataclass(slots=True)
class Guard:
    """What must hold the moment before the first byte. Instants on the monotonic clock, in seconds.

    A token older than `token_until` is stamped again, if it is younger than `token_dead`, and then lives for another
    `token_life` seconds. `lease_until` must leave time for the whole request. `leaving` is called last: before it
    nothing has left.
    """

    token_until: float
    token_life: float
    token_dead: float
    lease_until: float
    closed: Callable[[], bool]
    stamp: Callable[[], bool]
    leaving: Callable[[], None] = _nothing
    passed_at: float | None = None
    withheld: str | None = None

    async def admit(self) -> None:
        """Let the request pass once, or raise `Withheld`."""
        if self.passed_at is not None:
            # The client library repeats some methods on its own when a kept connection fails: never here.
            raise Withheld("repeated")
        self._check()
        now = time.monotonic()
        if now > self.token_until:
            if now > self.token_dead:
                self._refuse("token too old")
            if not await asyncio.get_running_loop().run_in_executor(None, self.stamp):
                self._refuse("token not stamped")
            if time.monotonic() > now + self.token_life:
                self._refuse("token too old")
            self._check()
        self.leaving()
        self.passed_at = time.monotonic()

    def _check(self) -> None:
        if self.closed():
            self._refuse("lane closed")
        if time.monotonic() > self.lease_until:
            self._refuse("lease too short")

    def _refuse(self, reason: str) -> None:
        self.withheld = reason
        raise Withheld(reason)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request on its way. `timeout` in seconds, connect to last byte; `token` is the caller's own."""

    request: Request
    guard: Guard
    timeout: float
    connect_timeout: float
    token: Any = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class Answer:
    """How an exchange ended: with a response, or with `error`, a short reason. `duration` in seconds."""

    exchange: Exchange
    response: Response | None
    error: str
    duration: float

    @property
    def sent(self) -> bool:
        """False only if not a byte left."""
        return self.exchange.guard.passed_at is not None


_guard: contextvars.ContextVar[Guard] = contextvars.ContextVar("guard")


class _GuardedRequest(ClientRequest):
    """aiohttp gives a request its live connection in `send`; one that has a body is written whole in `write_bytes`.

    The guard is asked in the last moment: before Python 3.12, `write_bytes` runs after all else that is ready.
    """

    async def send(self, conn: Connection) -> ClientResponse:
        if not self.body:
            await _guard.get().admit()
        return await super().send(conn)

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        if self.body:
            try:
                await _guard.get().admit()
            except Withheld as withheld:
                assert conn.protocol is not None
                conn.protocol.set_exception(withheld)  # who waits for the answer learns that there is none
                return
        await super().write_bytes(writer, conn, content_length)


class Transport:
    """Sends requests from any thread; answers arrive through the callback given to `send`, on the loop's thread."""

    def __init__(self, verify: str | bool = True, downloads: Downloads | None = None) -> None:
        self._verify = verify
        self._downloads = downloads
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._transport: httpx.AsyncBaseTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = threading.Lock()

    def send(self, exchanges: Iterable[Exchange], deliver: Callable[[Answer], None]) -> None:
        """Put requests on the wire; `deliver` is called once for each, and must not block."""
        loop = self._started()
        loop.call_soon_threadsafe(self._start_all, list(exchanges), deliver)

    def close(self) -> None:
        """Close idle connections and end the thread. What is on the wire must have been awaited."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._shut(), loop).result(timeout=5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = uvloop.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="paceline-wire", daemon=True)
                self._thread.start()
            return self._loop

    def _start_all(self, exchanges: list[Exchange], deliver: Callable[[Answer], None]) -> None:
        for exchange in exchanges:
            task = asyncio.get_running_loop().create_task(self._exchange(exchange, deliver))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _exchange(self, exchange: Exchange, deliver: Callable[[Answer], None]) -> None:
        _guard.set(exchange.guard)
        started = time.monotonic()
        response, error = None, ""
        try:
            async with asyncio.timeout(exchange.timeout):
                response = await self._send(exchange)
        except TimeoutError:
            error = "timeout"
        except Withheld as withheld:
            error = withheld.reason
        except (httpx.TransportError, aiohttp.ClientError, OSError) as failure:
            error = _reason(failure)
        except Exception as bug:  # an answer must come for every request, also after a library's bug
            error = type(bug).__name__
        deliver(Answer(exchange, response, error, time.monotonic() - started))

    async def _send(self, exchange: Exchange) -> Response:
        request = exchange.request
        if self._transport is None:
            self._transport = self._open()
        answer = await self._transport.handle_async_request(
            httpx.Request(
                request.method,
                _url(request.url),
                headers=_headers(tuple(request.headers.items())),
                content=request.body or None,
                extensions={"timeout": {"connect": exchange.connect_timeout}},
            )
        )
        headers = _received(answer.headers)
        assert isinstance(answer.stream, AsyncIterable)
        coding = headers.get("content-encoding", "")
        # Some compress whatever they were asked for. What is packed in another way is no JSON, and so says nothing.
        chunks = unpacked(answer.stream) if is_packed(coding) else answer.stream
        readable = is_packed(coding) or coding.strip().lower() in ("", "identity")
        body, saved = b"", None
        try:
            if self._downloads is not None and readable and is_file(request.save, answer.status_code, headers):
                saved = await self._downloads.keep(request.save, chunks)
            else:
                body = await _read(chunks)
        finally:
            with contextlib.suppress(Exception):
                await answer.aclose()
        return Response(answer.status_code, headers, body, time.time(), saved)

    def _open(self) -> AiohttpTransport:
        # Of the environment only OpenSSL's own variables are read, which say where more authorities stand.
        context = httpx.create_ssl_context(verify=self._verify)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_CONNECTION, ssl=context, ttl_dns_cache=60),
            request_class=_GuardedRequest,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
        )
        return AiohttpTransport(verify=context, client=session, trust_env=False)

    async def _shut(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._transport is not None:
            await self._transport.aclose()
            self._transport = None


# An account's requests differ in their bodies alone: reading the same address and headers anew for each of them was a
# good part of what a request costs.
@functools.lru_cache(maxsize=1024)
def _url(url: str) -> httpx.URL:
    return httpx.URL(url)


@functools.lru_cache(maxsize=1024)
def _headers(items: tuple[tuple[str, str], ...]) -> httpx.Headers:
    return httpx.Headers({"user-agent": USER_AGENT, "accept-encoding": "identity", **dict(items)})


async def _read(chunks: AsyncIterable[bytes]) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > ANSWER_LIMIT:
            break
    return bytes(body[:ANSWER_LIMIT])


def _received(headers: httpx.Headers) -> dict[str, str]:
    """Names in lower case; what was sent several times joined, as HTTP has it."""
    received: dict[str, str] = {}
    for raw_name, raw_value in headers.raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        received[name] = f"{received[name]}, {value}" if name in received else value
    return received


def _reason(failure: BaseException) -> str:
    """The innermost cause in a word or two: library texts may hold addresses."""
    while failure.__cause__ is not None:
        failure = failure.__cause__
    return type(failure).__name__
