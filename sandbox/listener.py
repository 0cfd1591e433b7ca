"""The HTTP listener: connections that note when each request arrived, and can be refused or broken off."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from sandbox.arrivals import NEVER, Arrival, latest

MAX_BODY = 64 * 1_048_576  # bytes; each provider's own bound is lower
ARRIVAL = web.RequestKey("arrival", Arrival)

_LINGER_ZERO = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport) -> None:
    """Ends a connection with RST, dropping whatever was not sent."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    transport.abort()


class Connection(web.RequestHandler):
    """aiohttp's connection, noting the moment in which the bytes of a request came in."""

    __slots__ = ("_connection", "_refuses", "arrived")

    def __init__(self, manager: "Listener", refuses: Callable[[], bool], **options: Any) -> None:
        super().__init__(manager, **options)
        self._refuses = refuses
        self._connection: Any = None
        self.arrived = NEVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serves the connection, or resets it at once."""
        assert isinstance(transport, asyncio.Transport)
        if self._refuses():
            reset(transport)
        else:
            self._connection = transport.get_extra_info("socket")
            super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Notes the arrival before anything is parsed."""
        if data:
            self.arrived = latest(self._connection)
        super().data_received(data)


class Listener(web.Server):
    """Makes connections, and requests that carry their arrival."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        refuses: Callable[[], bool],
        keepalive: float,
    ) -> None:
        super().__init__(handler, request_factory=self._stamped, handler_cancellation=True)
        self._refuses = refuses
        self._keepalive = keepalive

    def __call__(self) -> Connection:
        """A connection; asyncio calls this for each that is accepted."""
        return Connection(
            self,
            self._refuses,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._keepalive,
            access_log=None,
            lingering_time=0,
        )

    @staticmethod
    def _stamped(message: Any, payload: Any, protocol: web.RequestHandler, writer: Any, task: Any) -> web.BaseRequest:
        # aiohttp makes the request in the loop's turn after the head was read, before more of the body can come in.
        assert isinstance(protocol, Connection)
        loop = asyncio.get_running_loop()
        request = web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY)
        request[ARRIVAL] = protocol.arrived
        return request
