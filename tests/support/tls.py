"""TLS in front of a server that has none: what stands between a client and a database in many a network.

The wheels' Valkey and PostgreSQL are built without OpenSSL. What is to be shown is how our side connects: that it asks
for TLS, and whom it believes.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.contract.sandbox_support import CERTIFICATE_AND_KEY

SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # what a PostgreSQL client asks before TLS ("SSL session encryption")


def certificate(directory: Path) -> Path:
    """The certificate of 127.0.0.1 and localhost, and of no 127.0.0.2, with its key; an authority of its own."""
    file = directory / "server.pem"
    file.write_text(CERTIFICATE_AND_KEY)
    return file


class Proxy:
    """Ends TLS and hands on what it carries: `carried` bytes so far. `refused` counts what came without it."""

    def __init__(self, target: str | tuple[str, int], file: Path, host: str, *, postgresql: bool) -> None:
        self._target, self._postgresql = target, postgresql
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(file)
        self._socket = socket.create_server((host, 0))
        self.port = int(self._socket.getsockname()[1])
        self._connections: list[asyncio.Task[None]] = []
        self.through = 0
        self.carried = 0
        self.refused = 0

    async def serve(self, ready: threading.Event) -> None:
        """Until it is told to stop."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(lambda *_: None)  # handshakes that fail are what tests are about
        given = None if self._postgresql else self._context
        server = await asyncio.start_server(self._carry, sock=self._socket, ssl=given)
        ready.set()
        await self._stop.wait()
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def stop(self) -> None:
        """Listen no more."""
        self._loop.call_soon_threadsafe(self._stop.set)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._postgresql and not await self._begin(reader, writer):
                self.refused += 1
                return
            inner, outer = await self._open()
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
            self.refused += 1
            writer.close()
            return
        self.through += 1
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.append(connection)
        ways = [asyncio.create_task(self._pump(reader, outer)), asyncio.create_task(self._pump(inner, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for end in (writer, outer):
                end.transport.abort()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if await reader.readexactly(8) != SSL_REQUEST:
            writer.close()
            return False
        writer.write(b"S")
        await writer.drain()
        await writer.start_tls(self._context)
        return True

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, str):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection(*self._target)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self.carried += len(data)
                writer.write(data)
                await writer.drain()


@contextmanager
def tls_before(
    target: str | tuple[str, int], file: Path, host: str = "127.0.0.1", *, postgresql: bool = False
) -> Iterator[Proxy]:
    """TLS on a port of its own before the server at this unix socket or address."""
    proxy = Proxy(target, file, host, postgresql=postgresql)
    ready = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(proxy.serve(ready)), name="tls")
    thread.start()
    assert ready.wait(60)
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join(60)
