"""What every provider in the sandbox is made of, and what each must bring."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from sandbox.call import Answer, Call, Trace
from sandbox.clock import Clock
from sandbox.fault_board import FaultBoard
from sandbox.faults import AnyFault
from sandbox.ledger import Ledger
from sandbox.lifecycle import LifecycleSettings
from sandbox.model import Model
from sandbox.webhooks import Event, WebhookSender, WebhookSettings
from sandbox.windows import Limit


class ProviderSettings(Model):
    """What all providers' settings share."""

    lifecycle: LifecycleSettings = LifecycleSettings()
    webhook: WebhookSettings = WebhookSettings()
    faults: tuple[AnyFault, ...] = ()  # switched on at the start
    keep_bodies: bool = False  # in the ledger


class Provider(ABC):
    """One provider: it judges requests at once and without waiting, and keeps its state in memory."""

    name: ClassVar[str]  # also its prefix: /name/…
    root: ClassVar[str]  # the path of its default base URL, such as "/v1"
    max_body: ClassVar[int] = 1_048_576  # bytes

    def __init__(self, settings: ProviderSettings, ledger: Ledger, clock: Clock, seed: int) -> None:
        self.ledger = ledger
        self.clock = clock
        self.faults = FaultBoard(seed, settings.faults)
        self.webhooks = WebhookSender(settings.webhook, self.sign, self.faults, clock)

    @property
    @abstractmethod
    def settings(self) -> ProviderSettings:
        """The settings in force."""

    @abstractmethod
    def trace(self, call: Call) -> Trace:
        """Reads what the ledger says about a request, without judging it."""

    @abstractmethod
    def answer(self, call: Call) -> Answer:
        """Judges a request and does what it asks."""

    @abstractmethod
    def refusal(self, status: int, code: str | None = None) -> Answer:
        """The provider's own error answer for an HTTP status."""

    @abstractmethod
    def sign(self, event: Event, secret: str, attempt: int) -> dict[str, str]:
        """All headers of one attempt to deliver an event."""

    @abstractmethod
    def limits(self) -> Mapping[str, Limit]:
        """The limit of each endpoint group."""

    @abstractmethod
    def statuses(self) -> Mapping[str, int]:
        """How many messages stand at each of the provider's statuses."""

    def bill(self) -> dict[str, Any]:
        """What was billed, by whom, where the provider keeps such a count."""
        return {}

    @abstractmethod
    def inject(self, data: object) -> dict[str, Any]:
        """Has an inbound event happen, and returns the webhook's body.

        Raises:
            SettingsError: it is not an event of this provider.
        """

    @abstractmethod
    def restore(self) -> None:
        """Takes over the messages of earlier runs from the ledger."""

    def change(self, settings: ProviderSettings) -> None:
        """Puts new settings in force. Faults are not among them: they have a board of their own."""
        self.webhooks.settings = settings.webhook

    def start(self) -> None:
        """Begins to work, on the running event loop."""
        self.webhooks.start()

    async def stop(self) -> None:
        """Stops working."""
        await self.webhooks.stop()

    def clear(self) -> None:
        """Forgets everything but the settings."""
        self.ledger.clear()
        self.faults.clear()
        self.webhooks.clear()
