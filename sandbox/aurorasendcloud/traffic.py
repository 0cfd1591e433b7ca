"""The messages that AuroraSendCloud has taken: where each stands, and what its webhooks tell of it."""

from collections import Counter, deque
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from sandbox.aurorasendcloud.events import HookSender, mail_event, sms_event
from sandbox.aurorasendcloud.message import Channel, Message
from sandbox.aurorasendcloud.settings import AuroraSendCloudSettings
from sandbox.clock import Clock
from sandbox.lifecycle import Lifecycle, LifecycleSettings, Step
from sandbox.webhooks import Event


class Traffic:
    """All messages of both channels, each on its way."""

    def __init__(
        self, settings: AuroraSendCloudSettings, seed: int, clock: Clock, mail_hook: HookSender, sms_hook: HookSender
    ) -> None:
        self._settings = settings
        self._mail_hook, self._sms_hook = mail_hook, sms_hook
        self._lives: dict[Channel, Lifecycle[Message]] = {
            "mail": Lifecycle(settings.lifecycle, seed, clock, self._progress),
            "sms": Lifecycle(_unread(settings.lifecycle), seed, clock, self._progress),
        }
        self.by_id: dict[str, Message] = {}
        self.by_key: dict[str, deque[Message]] = {}
        self.statuses: Counter[str] = Counter()

    def change(self, settings: AuroraSendCloudSettings) -> None:
        """Puts new settings in force; messages are kept."""
        self._settings = settings
        self._lives["mail"].settings = settings.lifecycle
        self._lives["sms"].settings = _unread(settings.lifecycle)

    def start(self) -> None:
        """Begins to carry, on the running event loop."""
        for life in self._lives.values():
            life.start()

    def stop(self) -> None:
        """Carries nothing more."""
        for life in self._lives.values():
            life.stop()

    def clear(self) -> None:
        """Forgets all messages."""
        for life in self._lives.values():
            life.clear()
        self.by_id.clear()
        self.by_key.clear()
        self.statuses.clear()

    def take(self, channel: Channel, key: str, user: str, id_: str, at: float) -> Message:
        """A new message, which is not on its way yet."""
        message = Message(channel, key, user, id_, len(self.by_id), at)
        self.by_id[id_] = message
        self.by_key.setdefault(key, deque()).append(message)
        self.statuses["queued"] += 1
        return message

    def begin(self, message: Message) -> None:
        """Sends it on its way."""
        self._tell(message, "request", message.created_at)
        self._lives[message.channel].begin(message)

    def resume(self, message: Message, until: float) -> None:
        """Goes on with a message of an earlier run; what fell due by `until` is not told again."""
        self._lives[message.channel].resume(message, until, self._settle)

    def _progress(self, message: Message, step: Step) -> None:
        self._settle(message, step)
        match message.channel, step.status:
            case _, "delivered":
                self._tell(message, "deliver", step.when)
            case "mail", "read":
                self._tell(message, "open", step.when)
                if any(fnmatchcase(message.recipient, glob) for glob in self._settings.clicked):
                    self._tell(message, "click", step.when, {"url": "https://www.example.com/offer"})
            case "mail", "failed":
                self._tell(message, "soft_bounce" if message.failure >= 500 else "invalid", step.when)
            case "sms", "failed":
                self._tell(message, "delivererror" if message.failure >= 500 else "workererror", step.when)

    def _tell(self, message: Message, name: str, at: float, more: Mapping[str, Any] | None = None) -> None:
        if message.channel == "mail":
            self._post(self._mail_hook, mail_event(message, name, at, self._settings.webhook, more or {}))
        else:
            self._post(self._sms_hook, sms_event(message, name, at, self._settings.sms_webhook))

    @staticmethod
    def _post(hook: HookSender, event: Event | None) -> None:
        if event is not None:
            hook.send(event)

    def _settle(self, message: Message, step: Step) -> None:
        self.statuses[message.status] -= 1
        self.statuses[step.status] += 1
        message.reach(step, self._settings.failure_of(message.channel, message.recipient))


def _unread(settings: LifecycleSettings) -> LifecycleSettings:
    # Nobody learns whether an SMS was read.
    outcomes = {glob: "delivered" if status == "read" else status for glob, status in settings.outcomes.items()}
    return settings.model_copy(update={"read_share": 0.0, "outcomes": outcomes})
