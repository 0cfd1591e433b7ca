"""How the receiver of webhooks and its metrics are served: uvicorn, one event loop, and limits for a public address."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import h11
import uvicorn
import uvloop
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from config.values import Bind
from paceline.errors import ConfigurationError

# Connections, idle ones too, beyond which each further request is answered 503, so that its provider tries again: half
# of the 1,024 files that a process usually may open, the database's connections among them.
CONNECTIONS = 512
# Connections that wait in the kernel to be accepted: a burst of webhooks is held up there, not refused.
BACKLOG = 2048
# Bytes of a request's line and headers, from which on a head that is still incomplete is refused. A proxy lets 32 KB
# through (nginx, four buffers of 8 KB), and what it lets through must not be refused here with 400, after which
# providers do not try again.
LARGEST_HEAD = 32 * 1024
# Seconds that an idle connection is kept: longer than proxies keep theirs (nginx: 60), because a connection that we
# close just as it is used again loses the webhook on it.
KEEP_ALIVE = 75
# Seconds in which a request's head must have come. uvicorn would wait for ever, and slow clients hold all connections.
HEAD = 10.0
LAST_ANSWERS = 5  # seconds for the webhooks under way when the receiver stops
SCRAPERS = 16  # connections to the metrics
# So many more objects than at its last look make the collector look for cycles again. Requests that wait for their
# commit are no garbage, and a dozen of them are more than Python's own 700.
GARBAGE = 20_000


class PatientlyReading(H11Protocol):
    """uvicorn's HTTP/1.1, except that a connection is closed whose next request's head takes too long to come."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own
        """The first head is awaited from now on."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """A head that has begun is awaited, one that is complete no more; between two, `KEEP_ALIVE` holds."""
        # In pieces, since h11 measures a head only while it is incomplete: whole in one read it could have any length.
        for start in range(0, len(data), LARGEST_HEAD):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + LARGEST_HEAD])
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._head is None:
            self._head = self.loop.call_later(HEAD, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


def public(app: ASGIApp, bind: Bind) -> uvicorn.Config:
    """Served to the whole world, through a proxy."""
    return uvicorn.Config(
        app,
        **_common(bind),
        limit_concurrency=CONNECTIONS,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=LAST_ANSWERS,
    )


def private(app: ASGIApp, bind: Bind) -> uvicorn.Config:
    """Served to those who may know."""
    return uvicorn.Config(app, **_common(bind), limit_concurrency=SCRAPERS, timeout_graceful_shutdown=1)


def _common(bind: Bind) -> dict[str, Any]:
    return {
        "host": bind.host,
        "port": bind.port,
        "http": PatientlyReading,  # by name, since other parsers that may be installed bound no head
        "ws": "none",
        "h11_max_incomplete_event_size": LARGEST_HEAD,
        "lifespan": "on",
        "proxy_headers": False,  # nobody's address is asked for
        "server_header": False,
        "log_config": None,
        "access_log": False,
    }


def settle() -> None:
    """Spare the collector what was made at start and stays until the end, and what only waits: a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)


def serve(configs: Sequence[uvicorn.Config]) -> None:
    """Serve all of them in one event loop until a signal asks to stop; a second one ends what is under way."""
    servers = [_Server(config) for config in configs]
    settle()

    def stop() -> None:
        for server in servers:
            server.force_exit = server.should_exit
            server.should_exit = True

    async def run() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        await asyncio.gather(*(server.serve() for server in servers))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are for all servers of the process, which `serve` tells."""
        yield


def check_addresses(file: object, binds: Mapping[str, Bind | None]) -> None:
    """Raise `ConfigurationError` for each of these settings' addresses that cannot be listened at."""
    problems = [
        f"{file}: {name}: {bind} {problem}"
        for name, bind in binds.items()
        if bind is not None and (problem := _problem(bind)) is not None
    ]
    if problems:
        raise ConfigurationError(problems)


def _problem(bind: Bind) -> str | None:
    try:
        family = socket.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM)[0][0]
        socket.create_server((bind.host, bind.port), family=family).close()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        return f"cannot be listened at ({reason}); choose another address or stop what uses it"
    return None
