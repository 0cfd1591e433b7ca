"""When a request's bytes reached this machine, as the kernel noted it, and not when Python had time to look.

So the ledger is right also where the sandbox had to wait for a processor, or for Python's lock beside a test's threads.
"""

import asyncio
import socket
import struct
import sys
import time
from typing import Any, NamedTuple

# Linux gives this also for streams, of the last byte that was read; Python's `socket` does not name it.
_STAMP = 35 if sys.platform == "linux" else None  # SO_TIMESTAMPNS
_TIMESPEC = struct.Struct("@ll")
_APART = 0.001  # seconds: the most between two readings that count as one instant
_ROOM = socket.CMSG_SPACE(_TIMESPEC.size)


class Arrival(NamedTuple):
    """One arrival, by the host's clocks. `lag` is how much later it was read; None where the kernel did not stamp it,
    and the instants are those of the reading."""

    at: float  # Unix seconds
    monotonic: float  # seconds
    lag: float | None


NEVER = Arrival(0.0, 0.0, None)
_latest: dict[int, Arrival] = {}  # by the connection's file number


def latest(connection: Any) -> Arrival:
    """When what was last read from a connection had arrived."""
    return _latest.get(connection.fileno(), NEVER)


class StampedSocket(socket.socket):
    """A listening socket whose connections note when what they read had arrived."""

    __slots__ = ()

    def accept(self) -> tuple[socket.socket, Any]:
        """A connection of this kind, and its address."""
        connection, address = super().accept()
        return StampedSocket(self.family, self.type, self.proto, fileno=connection.detach()), address

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """What asyncio reads plain connections with."""
        data, ancillary, _, _ = self.recvmsg(bufsize, _ROOM, flags)
        _note(self.fileno(), ancillary)
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """What asyncio reads TLS with."""
        view = memoryview(buffer)
        size, ancillary, _, _ = self.recvmsg_into([view[:nbytes] if nbytes else view], _ROOM, flags)
        _note(self.fileno(), ancillary)
        return size


def _now() -> tuple[float, float]:
    """Unix and monotonic seconds of one instant: a pause between the two readings would set them apart."""
    while True:
        before, at, monotonic = time.monotonic(), time.time(), time.monotonic()
        if monotonic - before < _APART:
            return at, monotonic


def _note(number: int, ancillary: list[tuple[int, int, bytes]]) -> None:
    at, monotonic = _now()
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _STAMP):
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            lag = max(0.0, at - seconds - nanoseconds / 1e9)
            _latest[number] = Arrival(at - lag, monotonic - lag, lag)
            return
    _latest[number] = Arrival(at, monotonic, None)


async def bound(host: str, port: int) -> list[StampedSocket]:
    """A socket for each of the host's addresses.

    Raises:
        OSError: an address cannot be had.
    """
    found = await asyncio.get_running_loop().getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    made: list[StampedSocket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            made.append(StampedSocket(family, kind, protocol))
            made[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made[-1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if _STAMP is not None:
                made[-1].setsockopt(socket.SOL_SOCKET, _STAMP, 1)  # its connections inherit it
            made[-1].bind(address)
    except OSError:
        for each in made:
            each.close()
        raise
    return made
