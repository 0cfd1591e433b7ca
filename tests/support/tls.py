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
    """The certificate of 127.0.0.1 and localhost, with its key; an authority of its own."""
    file = directory / "server.pem"
    file.write_text(CERTIFICATE_AND_KEY)
    return file


class Proxy:
    """Ends TLS and hands on what it carries. `refused` counts what came without it."""

    def __init__(self, target: str | tuple[str, int], file: Path, *, postgresql: bool = False) -> None:
        self._target, self._postgresql = target, postgresql
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(file)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.through = 0
        self.refused = 0

    async def serve(self) -> None:
        """Until it is cancelled."""
        given = None if self._postgresql else self._context
        async with await asyncio.start_server(self._carry, sock=self._socket, ssl=given) as server:
            await server.serve_forever()

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
        ways = [asyncio.create_task(_pump(reader, outer)), asyncio.create_task(_pump(inner, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for end in (writer, outer):
            end.close()

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


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@contextmanager
def tls_before(target: str | tuple[str, int], file: Path, *, postgresql: bool = False) -> Iterator[Proxy]:
    """TLS on a port of its own before the server at this unix socket or address."""
    proxy = Proxy(target, file, postgresql=postgresql)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # handshakes that fail are what tests are about
    serving = loop.create_task(proxy.serve())

    def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(serving)
        rest = asyncio.all_tasks(loop)
        for task in rest:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        loop.close()

    thread = threading.Thread(target=run, name="tls")
    thread.start()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(serving.cancel)
        thread.join(10)
