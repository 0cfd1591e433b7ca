"""The sandbox as a process of its own, steered over its control API: what a test does beside it does not slow it."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from sandbox.ledger import Entry
from sandbox.registry import PROVIDERS

CALL_TIMEOUT = 60.0  # seconds: of a machine that is busy with something else
LOOK = 0.02  # seconds between two looks at what one waits for


class ControlError(Exception):
    """The control API refused; the message says why."""


class SandboxProcess:
    """Serves while its `with` block lasts, as `sandbox.background.SandboxServer` does on a thread.

    `settings` is TOML, a table for each provider. Every method may be called from any thread.
    """

    def __init__(self, settings: str = "") -> None:
        self._settings = settings
        self._directory = tempfile.TemporaryDirectory(prefix="sandbox")
        self._process: subprocess.Popen[bytes] | None = None
        self._control = HTTPConnection("")
        self._lock = threading.Lock()
        self.url = ""  # such as "http://127.0.0.1:40123", once it serves

    def __enter__(self) -> Self:
        file = Path(self._directory.name) / "settings.toml"
        file.write_text(self._settings, encoding="utf-8")
        command = [sys.executable, "-m", "sandbox", "--bind", "127.0.0.1:0", "--settings", str(file)]
        root = Path(__file__).resolve().parents[1]
        self._process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE)  # noqa: S603  # our own module
        assert self._process.stdout is not None
        said = self._process.stdout.readline()  # its one line, or nothing if it ended: stderr says why
        self.url = said.decode().rpartition(" ")[2].strip()
        if not self.url:
            self._end()
            raise OSError("The sandbox did not begin to serve.")
        self._control = HTTPConnection(urlsplit(self.url).netloc, timeout=CALL_TIMEOUT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def base_url(self, provider: str) -> str:
        """What a client of `provider` takes for its base URL."""
        return f"{self.url}/{provider}{PROVIDERS[provider].make.root}"

    def ledger(self, provider: str, after: int = 0) -> list[Entry]:
        """What arrived, with a number above `after`."""
        entries: list[Entry] = []
        while True:
            last = entries[-1].seq if entries else after
            page = self._call("GET", f"{provider}/ledger?after={last}")["entries"]
            if not page:
                return entries
            entries += [Entry(**row) for row in page]

    def wait_for_requests(self, provider: str, count: int, timeout: float = 10.0) -> None:
        """Returns once the ledger has `count` entries; raises `TimeoutError` after `timeout` seconds."""
        until = time.monotonic() + timeout
        while self._call("GET", f"{provider}/ledger?limit=1")["total"] < count:
            if time.monotonic() > until:
                raise TimeoutError
            time.sleep(LOOK)

    def summary(self, provider: str) -> dict[str, Any]:
        """Counts: requests, duplicates, the busiest windows, messages by status, webhooks."""
        return self._call("GET", f"{provider}/summary")

    def settings(self, provider: str, patch: Mapping[str, Any]) -> dict[str, Any]:
        """Changes the settings that `patch` names, and returns all."""
        return self._call("PUT", f"{provider}/settings", patch)

    def fault(self, provider: str, kind: str, **fields: Any) -> int:
        """Switches a fault on, and returns its number."""
        return int(self._call("POST", f"{provider}/faults", {"kind": kind, **fields})["id"])

    def clear_faults(self, provider: str) -> None:
        """Switches all faults off."""
        self._call("DELETE", f"{provider}/faults")

    def _call(self, method: str, path: str, data: object = None) -> dict[str, Any]:
        """Always over the same connection: a new one might meet a fault (`refuse`) that was meant for others."""
        with self._lock:
            try:
                status, found = self._exchange(method, path, data)
            except (ConnectionError, HTTPException):  # it was closed for having been idle
                self._control.close()
                status, found = self._exchange(method, path, data)
        if status != 200:
            raise ControlError(found["error"])
        return found

    def _exchange(self, method: str, path: str, data: object) -> tuple[int, dict[str, Any]]:
        self._control.request(method, f"/_control/{path}", None if data is None else json.dumps(data))
        answer = self._control.getresponse()
        return answer.status, json.loads(answer.read())

    def _end(self) -> None:
        self._control.close()
        if self._process is not None:
            self._process.terminate()
            self._process.communicate(timeout=CALL_TIMEOUT)
        self._directory.cleanup()
