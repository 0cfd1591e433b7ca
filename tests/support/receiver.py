"""The receiver of webhooks on a thread, served as `paceline hooks` serves it, and genuine webhooks to post to it."""

import hashlib
import hmac
import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from sqlalchemy import Engine

from config.values import Bind
from tests.support.installation import ACCOUNT, until
from worker.commands.serving import public
from worker.hooks.app import make_hooks
from worker.hooks.callbacks import Callbacks
from worker.lanes.topology import Topology
from worker.watch.counters import Tally
from worker.watch.metrics_app import counting

SECRET = "auro_whsec_4f1d9c7b2e"


@dataclass(frozen=True)
class Hooks:
    """A receiver that runs. Its methods answer (status, headers, body)."""

    port: int

    @property
    def url(self) -> str:
        """Where its account's webhooks go."""
        return f"http://127.0.0.1:{self.port}/hooks/{ACCOUNT}"

    def post(
        self,
        body: bytes | Mapping[str, Any],
        *,
        account: str = ACCOUNT,
        secret: str = SECRET,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Post what Aurogy would, signed; the status. `headers` replace those that it would send."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json", "X-Aurogy-Signature": sign(raw, secret)} | dict(headers or {})
        return self.ask("POST", f"/hooks/{account}", raw, given)[0]

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return response.status, dict(response.headers), response.read()
        finally:
            connection.close()


def sign(body: bytes, secret: str = SECRET) -> str:
    """The signature of these bytes."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def report(message: str, status: str, to: str = "", at: str = "2026-04-13T14:30:02Z") -> dict[str, Any]:
    """`message.delivered`, `message.read` or `message.failed`."""
    data: dict[str, Any] = {"message_id": message, "to": to, "status": status, "timestamp": at}
    if status == "failed":
        data["error"] = {"code": "undeliverable", "message": "The message could not be delivered."}
    return {"event": f"message.{status}", "timestamp": at, "data": data}


@contextmanager
def receiving(engine: Engine, topology: Topology, tally: Tally | None = None) -> Iterator[Hooks]:
    """A receiver on a free port; what it answers is counted in `tally`."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        callbacks = Callbacks.of(engine, f"http://127.0.0.1:{listener.getsockname()[1]}")
        app = make_hooks(engine, topology, callbacks, counting(topology.senders, tally or Tally()))
        server = uvicorn.Server(public(app, Bind("127.0.0.1", 0)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="hooks")
        thread.start()
        try:
            until(lambda: server.started)
            yield Hooks(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(60)
