"""A receiver of webhooks for an account of every provider, asked over ASGI without a server, on a SQLite of its own."""

import asyncio
import hashlib
import hmac
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text
from starlette.types import ASGIApp

from config.settings import load
from paceline.database import engine
from providers.registry import PROVIDERS
from worker import schema
from worker.app import topology_of
from worker.hooks.app import make_hooks
from worker.hooks.callbacks import Callbacks

SECRET = "whsec_4711"
BASE = "http://127.0.0.1:8085"
# What signs the body of a webhook, by account, and how: a header and what stands before the digest.
SIGNED = {
    "aurogy-main": (b"x-aurogy-signature", ""),
    "aulm-main": (b"x-aulm-signature", "sha256="),
    "politicalcomms-main": (b"x-webhook-signature", "sha256="),
}


@dataclass
class World:
    """The receiver, and what it has stored."""

    app: ASGIApp
    engine: Engine
    runner: asyncio.Runner
    callbacks: Callbacks
    said: bytes = b""  # in the last answer
    headers: Sequence[tuple[bytes, bytes]] = ()

    def ask(
        self,
        method: str,
        path: str,
        query: bytes = b"",
        headers: Sequence[tuple[bytes, bytes]] = (),
        body: Sequence[bytes] = (b"",),
    ) -> int:
        """The status of a request whose body comes in these pieces; 0 if there is no answer."""
        return self.runner.run(self._ask(method, path, query, headers, body))

    async def _ask(
        self, method: str, path: str, query: bytes, headers: Sequence[tuple[bytes, bytes]], body: Sequence[bytes]
    ) -> int:
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode("utf-8", "surrogatepass"),
            "query_string": query,
            "headers": list(headers),
            "root_path": "",
        }
        pieces = list(body) or [b""]
        messages: list[Mapping[str, Any]] = [
            {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
            for number, piece in enumerate(pieces, start=1)
        ]
        sent: list[Mapping[str, Any]] = []

        async def receive() -> Any:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        if not sent:
            return 0
        self.headers, self.said = sent[0]["headers"], b"".join(message.get("body", b"") for message in sent)
        return int(sent[0]["status"])

    def stored(self) -> int:
        """How many webhooks the database holds."""
        with self.engine.connect() as connection:
            return int(connection.execute(text("SELECT count(*) FROM paceline_webhook")).scalar_one())


def signature(account: str, body: bytes) -> list[tuple[bytes, bytes]]:
    """The headers that make these bytes genuine, now."""
    name, prefix = SIGNED[account]
    now = (b"x-timestamp", str(int(time.time())).encode())
    return [now, (name, (prefix + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()).encode())]


@contextmanager
def world(template: Path) -> Iterator[World]:
    """A receiver with an account of every provider, named after it with `-main`."""
    with tempfile.TemporaryDirectory() as name, asyncio.Runner() as runner:
        directory = Path(name)
        shutil.copy(template, directory / "paceline.db")
        file = directory / "paceline.toml"
        file.write_text(_toml(directory))
        settings = load(file, sandbox=True, environ={})
        opened = engine(settings.connection)
        topology = topology_of(settings)
        schema.publish(opened, topology)
        callbacks = Callbacks.of(opened, BASE)
        app = make_hooks(opened, topology, callbacks)
        try:
            yield World(app, opened, runner, callbacks)
        finally:
            opened.dispose()


def _toml(directory: Path) -> str:
    accounts = ""
    for name, provider in PROVIDERS.items():
        accounts += f'[accounts.{name}-main]\nprovider = "{name}"\n'
        if provider.webhook_credential is not None:
            accounts += f'{provider.webhook_credential} = "{SECRET}"\n'
    return f'[database]\nurl = "sqlite:///{directory}/paceline.db"\n{accounts}'
