"""The sandbox: all providers behind one listener, on the running event loop."""

import asyncio
import signal
import ssl
import sys
from pathlib import Path

from aiohttp import web

from sandbox import memory
from sandbox.arrivals import bound
from sandbox.clock import Clock
from sandbox.control import control
from sandbox.front import serve
from sandbox.journal import Journal
from sandbox.ledger import Ledger
from sandbox.listener import Listener
from sandbox.registry import make_provider
from sandbox.settings import Settings

BACKLOG = 4096  # connections waiting to be accepted
STOPPING = 0.1  # seconds for answers under way when the sandbox stops
TURNS = 10  # of the event loop, in which connections finish being made or lost


class Sandbox:
    """The providers with their state. All of it belongs to one event loop's thread."""

    def __init__(self, settings: Settings, ledger_file: Path | None = None) -> None:
        """Takes over what the ledger file holds.

        Raises:
            OSError: the ledger file cannot be opened.
            ValueError: it is not a ledger file.
        """
        self.clock = Clock()
        self._keepalive = settings.keepalive
        self._journal = Journal(ledger_file)
        self.providers = {
            name: make_provider(name, own, Ledger(name, self._journal), self.clock, settings.seed)
            for name, own in settings.providers.items()
        }
        self._restore()
        self._listener: Listener | None = None
        self._servers: list[asyncio.Server] = []

    def _restore(self) -> None:
        with memory.undisturbed():
            for record in self._journal.replay():
                provider = self.providers.get(record["provider"])
                if provider is not None:
                    provider.ledger.restore(record)
            for provider in self.providers.values():
                provider.restore()

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> tuple[str, int]:
        """Listens, and returns the address it is bound to.

        Raises:
            OSError: the address cannot be had.
        """
        self._listener = Listener(self._handle, self._refuses, self._keepalive)
        for listening in await bound(host, port):
            self._servers.append(
                await asyncio.get_running_loop().create_server(self._listener, sock=listening, ssl=tls, backlog=BACKLOG)
            )
        for provider in self.providers.values():
            provider.start()
        address = self._servers[0].sockets[0].getsockname()
        return address[0], address[1]

    async def stop(self) -> None:
        """Listens no more, breaks off what is under way, and closes the ledger's file."""
        for listening in [each for server in self._servers for each in server.sockets]:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        await _turns()  # asyncio stumbles over a connection that was accepted but not made when the server closes
        for server in self._servers:
            server.close()
        if self._listener is not None:
            await self._listener.shutdown(STOPPING)
        await _turns()
        for provider in self.providers.values():
            await provider.stop()
        self._journal.close()

    def entered(self) -> int:
        """How many requests all ledgers hold."""
        return sum(len(provider.ledger) for provider in self.providers.values())

    def _refuses(self) -> bool:
        return any(provider.faults.connection() for provider in self.providers.values())

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        _, first, *rest = request.path.split("/", 2)
        if first == "_control":
            segments = rest[0].strip("/").split("/") if rest and rest[0].strip("/") else []
            return await control(request, segments, self)
        provider = self.providers.get(first)
        if provider is None:
            names = ", ".join(f"/{name}" for name in self.providers)
            return web.json_response({"error": f"Nothing is served here: providers are below {names}."}, status=404)
        return await serve(request, provider, "/" + "".join(rest), self.clock)


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


def url_of(host: str, port: int, tls: bool) -> str:
    """The address as a client writes it."""
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def tls_context(certfile: Path, keyfile: Path | None) -> ssl.SSLContext:
    """A server's TLS context; raises `OSError` (`ssl.SSLError` among them) if the files are no use."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certfile, keyfile)
    return context


def run(
    settings: Settings,
    host: str,
    port: int,
    *,
    ledger_file: Path | None = None,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, printing one line once it listens.

    Raises:
        OSError: the address or the ledger's file cannot be had.
        ValueError: the ledger's file is not one.
    """
    sandbox = Sandbox(settings, ledger_file)
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(_serve_until_told(sandbox, host, port, tls))


async def _serve_until_told(sandbox: Sandbox, host: str, port: int, tls: ssl.SSLContext | None) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    thrift = asyncio.create_task(memory.keep_collections_short(sandbox.entered))
    try:
        bound = await sandbox.start(host, port, tls)
        sys.stdout.write(f"sandbox listening on {url_of(*bound, tls is not None)}\n")
        sys.stdout.flush()
        await told.wait()
    finally:
        thrift.cancel()
        await sandbox.stop()
