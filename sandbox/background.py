"""The sandbox on a thread of its own, for tests in the same process."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from sandbox.control import change_settings, summary_of
from sandbox.faults import parse_fault
from sandbox.ledger import Entry
from sandbox.provider import Provider
from sandbox.server import Sandbox, tls_context, url_of
from sandbox.settings import Settings, parse_settings
from sandbox.webhooks import Attempt

CALL_TIMEOUT = 30.0  # seconds for a call from another thread

T = TypeVar("T")


class SandboxServer:
    """Serves while its `with` block lasts; every method may be called from any other thread.

    with SandboxServer({"aurogy": {"ratelimit": {"send": "5/1s"}}}) as sandbox:
        sandbox.fault("aurogy", kind="close", count=1, accept=True)
        post(sandbox.base_url("aurogy") + "/messages/text", …)
        sandbox.wait_for_requests("aurogy", 1)
        [entry] = sandbox.ledger("aurogy")
    """

    def __init__(
        self,
        settings: Settings | Mapping[str, Any] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ledger_file: Path | None = None,
        certfile: Path | None = None,
        keyfile: Path | None = None,
    ) -> None:
        """Prepares a sandbox; port 0 is any free one. Raises `SettingsError` for settings it does not take."""
        self._settings = settings if isinstance(settings, Settings) else parse_settings(settings or {})
        self._address = (host, port)
        self._ledger_file = ledger_file
        self._tls = tls_context(certfile, keyfile) if certfile else None
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._serve, name="sandbox", daemon=True)
        self._sandbox: Sandbox | None = None
        self.url = ""  # of the listener, such as "http://127.0.0.1:40123", once it serves

    def __enter__(self) -> Self:
        self._sandbox = Sandbox(self._settings, self._ledger_file)
        self._thread.start()
        try:
            bound = self._await(self._sandbox.start(*self._address, self._tls))
        except BaseException:
            self._end()
            raise
        self.url = url_of(*bound, self._tls is not None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def base_url(self, provider: str) -> str:
        """What a client of `provider` takes for its base URL."""
        return f"{self.url}/{provider}{self._provider(provider).root}"

    def ledger(self, provider: str, after: int = 0, limit: int | None = None) -> list[Entry]:
        """What arrived, with a number above `after`."""
        return self._do(lambda: self._provider(provider).ledger.entries(after, limit))

    def wait_for_requests(self, provider: str, count: int, timeout: float = 10.0) -> list[Entry]:
        """Waits until the ledger has `count` entries and returns all; raises `TimeoutError` after `timeout` seconds."""
        ledger = self._provider(provider).ledger
        self._await(asyncio.wait_for(ledger.wait_for(count), timeout), timeout + CALL_TIMEOUT)
        return self.ledger(provider)

    def clear_ledger(self, provider: str) -> None:
        """Forgets what arrived."""
        self._do(self._provider(provider).ledger.clear)

    def summary(self, provider: str) -> dict[str, Any]:
        """Counts: requests, duplicates, the busiest windows, messages by status, webhooks."""
        return self._await(summary_of(self._provider(provider)))

    def settings(self, provider: str, patch: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Changes the settings that `patch` names, and returns all; raises `SettingsError`."""
        return self._do(lambda: change_settings(self._provider(provider), patch or {}))

    def fault(self, provider: str, kind: str, **fields: Any) -> int:
        """Switches a fault on, and returns its number; `fields` are those of its kind in `sandbox.faults`."""
        fault = parse_fault({"kind": kind, **fields})
        return self._do(lambda: self._provider(provider).faults.add(fault))

    def faults(self, provider: str) -> list[dict[str, Any]]:
        """All faults with their counts."""
        return self._do(self._provider(provider).faults.as_json)

    def clear_faults(self, provider: str) -> None:
        """Switches all faults off."""
        self._do(self._provider(provider).faults.clear)

    def inject(self, provider: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """Has an inbound event happen, and returns the webhook's body; raises `SettingsError`."""
        return self._do(lambda: self._provider(provider).inject(event))

    def webhooks(self, provider: str) -> list[Attempt]:
        """The latest attempts to deliver events."""
        return self._do(lambda: list(self._provider(provider).webhooks.attempts))

    def advance(self, seconds: float) -> None:
        """Moves the sandbox's clock forward, and lets what has fallen due happen."""
        self._do(lambda: self._running.clock.advance(seconds))

    def clear(self, provider: str) -> None:
        """Forgets everything but the settings."""
        self._do(self._provider(provider).clear)

    @property
    def _running(self) -> Sandbox:
        assert self._sandbox is not None, "SandboxServer serves only within its `with` block."
        return self._sandbox

    def _provider(self, name: str) -> Provider:
        return self._running.providers[name]

    def _do(self, call: Callable[[], T]) -> T:
        future: Future[T] = Future()

        def settle() -> None:
            try:
                future.set_result(call())
            except Exception as error:
                future.set_exception(error)

        self._loop.call_soon_threadsafe(settle)
        return future.result(CALL_TIMEOUT)

    def _await(self, coroutine: Coroutine[Any, Any, T], timeout: float = CALL_TIMEOUT) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _end(self) -> None:
        try:
            self._await(self._running.stop())
            self._await(_end_tasks())
            self._await(self._loop.shutdown_default_executor())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CALL_TIMEOUT)
            self._loop.close()


async def _end_tasks() -> None:
    """Ends what is left, as `asyncio.run` does: connections in the middle of a handshake, for one."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
