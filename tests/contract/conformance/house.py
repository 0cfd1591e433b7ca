"""One provider's account at work in a test: enqueue, run the real worker against the sandbox, post webhooks."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from paceline.messages import Message
from paceline.status import Status
from paceline.views import MessageView
from sandbox import SandboxServer
from tests.contract.exhibits.base import Exhibit, Posted, Said
from tests.support.installation import Installation, until
from tests.support.receiver import Hooks, receiving
from worker.service import Service


@dataclass
class House:
    """A provider, its exhibit, and an installation at its sandbox."""

    name: str
    exhibit: Exhibit
    built: Installation
    sandbox: SandboxServer
    stack: ExitStack

    @property
    def account(self) -> str:
        return f"{self.name}-main"

    @property
    def family(self) -> str:
        """Its name in the sandbox."""
        return self.exhibit.sandbox or self.name

    @cached_property
    def service(self) -> Service:
        return self.built.service()

    @cached_property
    def hooks(self) -> Hooks:
        """The receiver of its webhooks."""
        return self.stack.enter_context(receiving(self.built.engine, self.built.topology))

    @property
    def url(self) -> str:
        """Where its webhooks go."""
        return f"http://127.0.0.1:{self.hooks.port}/hooks/{self.account}"

    @property
    def secret(self) -> str:
        credential = self.built.topology.senders[self.account].provider.webhook_credential
        return self.exhibit.credentials[credential or ""]

    def message(self, kind: str = "") -> Message:
        """The exhibited message of a kind, or of the first."""
        return self.exhibit.messages[kind or next(iter(self.exhibit.messages))]

    def enqueue(self, kind: str = "", **options: Any) -> str:
        return self.built.client.enqueue(self.message(kind), via=self.account, **options).id

    def view(self, id_: str) -> MessageView:
        return self.built.client.status(id_)

    def run_until(self, condition: Callable[[], object]) -> None:
        """Let the worker work until the condition holds."""
        service = self.service
        until(lambda: (service.tick(), service.pump.run_slice(0.05), service.sweep(), condition())[-1])

    def told_by_the_sandbox(self, lifecycle: Mapping[str, Any]) -> None:
        """The sandbox posts its events to the receiver, and does to messages what `lifecycle` says."""
        webhook = {"url": self.url, "secret": self.secret, "retry_delays": [0.1, 0.2, 0.5, 1, 1, 1]}
        self.sandbox.settings(self.family, {self.exhibit.webhook_setting: webhook, "lifecycle": lifecycle})

    def accepted(self) -> tuple[str, str]:
        """A message that the provider has taken: our id, and the provider's."""
        id_ = self.enqueue()
        self.run_until(lambda: self.view(id_).provider_message_id)
        return id_, str(self.view(id_).provider_message_id)

    def said(self, provider_id: str, status: Status, *, secret: str = "", at: float | None = None) -> Posted:
        """A webhook about a message, as the provider would post it now."""
        moment = time.time() if at is None else at
        to = self.message().to
        return self.exhibit.webhook(Said(provider_id, to, status, self.url, secret or self.secret, moment))

    def post(self, posted: Posted, body: bytes | None = None) -> int:
        """Post it, perhaps with other bytes under the same headers; the receiver's status."""
        path = f"/hooks/{self.account}"
        return self.hooks.ask("POST", path, posted.body if body is None else body, posted.headers)[0]

    def webhooks(self) -> list[Mapping[str, Any]]:
        """The stored events."""
        return self.built.rows("SELECT * FROM paceline_webhook WHERE kind <> 'nonce' ORDER BY id")

    def said_of(self, id_: str) -> list[tuple[str, str]]:
        """Who said what of a message."""
        return [(event.source, str(event.status)) for event in self.view(id_).events]

    def arrived(self) -> list[Any]:
        """The requests that reached the sandbox's send endpoints."""
        return [entry for entry in self.sandbox.ledger(self.family) if entry.method == "POST"]

    def taken(self) -> int:
        """How many messages the sandbox took."""
        return sum(entry.accepted for entry in self.sandbox.ledger(self.family))
