"""A provider in a process of its own: Aurogy's text send and message status, each answered after 50 ms.

It measures and does as little else as it can, because it runs on the processors that are measured: no check, no limit,
no state but what arrived and when. `python -m benchmarks.stub` prints the port it listens at.
"""

import argparse
import asyncio
import hashlib
import json
import re
import signal
import time
from array import array
from collections.abc import Callable
from typing import Any, cast

import uvloop

LATENCY = 0.05  # seconds from a request's last byte to its answer

_LENGTH = re.compile(rb"content-length:[ \t]*(\d+)", re.IGNORECASE)
_TO = re.compile(rb'"to"\s*:\s*"([^"\\]*)"')
_SEND = b"POST /messages/text "
_STATUS = re.compile(rb"GET /messages/([^ /?]+) ")


class Journal:
    """What arrived, in order. Bodies are read when somebody asks: the wire must not wait for that."""

    def __init__(self) -> None:
        self.times = array("d")  # seconds on the host's monotonic clock, the same for all its processes
        self.polls = 0
        self._bodies: list[bytes] = []
        self._names: list[str] = []

    def note(self, body: bytes) -> int:
        """Keep one send; how many there were before it."""
        self.times.append(time.monotonic())
        self._bodies.append(body)
        return len(self._bodies) - 1

    def names(self) -> list[str]:
        """What each send calls itself, in order of arrival: `metadata.dispatch_id`, else a digest of its body."""
        self._names += map(_name, self._bodies[len(self._names) :])
        return self._names

    def stats(self) -> dict[str, Any]:
        """Numbers for people and for the benchmarks."""
        times = self.times
        return {
            "count": len(times),
            "first": times[0] if times else None,
            "last": times[-1] if times else None,
            "duplicates": len(times) - len(set(self.names())),
            "polls": self.polls,
        }

    def clear(self) -> None:
        """Forget everything."""
        self.__init__()  # type: ignore[misc]  # the same empty state, written once


class Connection(asyncio.Protocol):
    """One kept-alive connection. Requests may come in pieces, or several at once."""

    def __init__(self, journal: Journal, head: Callable[[], bytes]) -> None:
        self._journal = journal
        self._head = head
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._later = asyncio.get_running_loop().call_later

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class: no subclass of it

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            head = buffer[: end + 2]
            match = _LENGTH.search(head)
            whole = end + 4 + (int(match[1]) if match else 0)
            if len(buffer) < whole:
                break
            self._request(head, buffer[end + 4 : whole])
            buffer = buffer[whole:]
        self._buffer = buffer

    def _request(self, head: bytes, body: bytes) -> None:
        if head.startswith(_SEND):
            number, to = self._journal.note(body), _TO.search(body)
            recipient = to[1] if to else b""
            self._later(LATENCY, self._answer, b'{"id":"msg_%012x","status":"queued","to":"%b",', (number, recipient))
        elif status := _STATUS.match(head):
            self._journal.polls += 1
            self._later(LATENCY, self._answer, b'{"id":"%b","status":"sent","to":"auro_usr_bench",', (status[1],))
        else:
            self._control(head)

    def _answer(self, start: bytes, values: tuple[Any, ...]) -> None:
        if self._transport is not None:
            body = start % values + b'"created_at":"2026-04-13T14:30:00Z"}'
            self._transport.write(b"%bContent-Length: %d\r\n\r\n%b" % (self._head(), len(body), body))

    def _control(self, head: bytes) -> None:
        """What the benchmarks ask: `/count` costs nothing, `/stats` and `/arrivals` read every body once."""
        journal = self._journal
        answers: dict[bytes, Callable[[], Any]] = {
            b"GET /count": lambda: {"count": len(journal.times)},
            b"GET /stats": journal.stats,
            b"GET /arrivals": lambda: {"names": journal.names(), "times": list(journal.times)},
            b"DELETE /arrivals": journal.clear,
        }
        answer = answers.get(b" ".join(head.split(b" ", 2)[:2]))
        body = json.dumps({"error": "no such resource"} if answer is None else answer()).encode()
        assert self._transport is not None
        self._transport.write(
            b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (b"404 Not Found" if answer is None else b"200 OK", len(body), body)
        )


class Head:
    """The status line and the headers that every answer has, made anew once a second."""

    def __init__(self) -> None:
        self._until = 0.0
        self._bytes = b""

    def __call__(self) -> bytes:
        now = time.time()
        if now >= self._until:
            self._until = now // 1 + 1
            date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now))
            limits = (
                "X-RateLimit-Limit: 10000000\r\nX-RateLimit-Remaining: 9999999\r\n"
                f"X-RateLimit-Reset: {now // 60 * 60 + 60:.0f}\r\n"
            )
            self._bytes = f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Type: application/json\r\n{limits}".encode()
        return self._bytes


def _name(body: bytes) -> str:
    try:
        name = json.loads(body)["metadata"]["dispatch_id"]
    except (ValueError, KeyError, TypeError):
        return hashlib.blake2b(body, digest_size=16).hexdigest()
    return str(name)


async def serve(port: int) -> None:
    """Answer on loopback until SIGTERM or SIGINT. With `port` 0 the system chooses; the port in use is printed."""
    loop = asyncio.get_running_loop()
    journal, head, stopped = Journal(), Head(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = await loop.create_server(lambda: Connection(journal, head), "127.0.0.1", port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stopped.wait()
    server.close()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stub", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0, the default, lets the system choose")
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
