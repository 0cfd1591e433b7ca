"""An in-memory `Client` with assertions, for the tests of applications that use Paceline.

It refuses what `Client` refuses, as far as it is told what the accounts carry, and opens neither database nor broker:

    client = InMemoryClient()
    shop.ship(order, client)
    client.assert_enqueued(to="+15550100", via="sms")
"""

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from paceline.answering import Answering, InMemoryCalling
from paceline.broadcast.memory import InMemoryBroadcasting
from paceline.bulk import BulkReceipt, Reject
from paceline.capabilities import Capabilities
from paceline.client import Client
from paceline.directory import Carrier, Via, find
from paceline.door import Entry, admit, check_time
from paceline.enqueue import Receipt, replay
from paceline.errors import IdempotencyConflict, InvalidMessage, MessageNotFound
from paceline.events import check
from paceline.messages import Message, Outgoing, check_text
from paceline.status import LEVELS, Status
from paceline.suppression import (
    Pair,
    SuppressionView,
    channels_of,
    check_channel,
    check_recipient,
    normalised,
    refusal,
)
from paceline.views import EventView, MessageView, moment
from paceline.waiting import Situation, sentence


@dataclass(frozen=True, slots=True, repr=False)
class Enqueued:
    """One message of the outbox, as it was enqueued."""

    id: str
    message: Message
    via: str
    idempotency_key: str | None
    priority: str
    send_at: datetime | None
    expires_at: datetime | None
    metadata: Mapping[str, str]
    options: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Enqueued({self.message!r}, via={self.via!r})"


@dataclass(slots=True)
class _Stored:
    item: Enqueued
    digest: str
    created_at: datetime
    status: Status = Status.QUEUED
    reason: str | None = None
    events: list[EventView] = field(default_factory=list)

    def matches(self, wanted: Mapping[str, str | None]) -> bool:
        message, key = self.item.message, self.item.idempotency_key
        has = {"to": message.to, "kind": message.kind, "via": self.item.via, "idempotency_key": key}
        return all(value is None or has[name] == value for name, value in wanted.items())


class InMemoryClient(InMemoryCalling, InMemoryBroadcasting, Client):
    """A `Client` that keeps everything in memory; one test, one client.

    `accounts` maps each account or route to what it can carry; without it every `via` carries everything.
    `clock` is Unix seconds. A `session` is accepted and not heeded: what is enqueued stays, even if it rolls back.
    """

    def __init__(
        self, accounts: Mapping[str, Capabilities] | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(environ={})
        self._vias: dict[str, Via] | None = None
        if accounts is not None:
            self._vias = {name: Via(name, (Carrier(name, carries, ""),)) for name, carries in accounts.items()}
        self._clock = clock
        self._secret = secrets.token_bytes(16)
        self._stored: dict[str, _Stored] = {}
        self._keys: dict[str, str] = {}
        self._events: list[EventView] = []
        self._suppressed: dict[Pair, SuppressionView] = {}
        self._answering = Answering(self._vias, clock)
        self._broadcasts = {}

    @property
    def outbox(self) -> list[Enqueued]:
        """Everything that was enqueued, in order."""
        return [stored.item for stored in self._stored.values()]

    def enqueue(
        self,
        message: Message,
        *,
        via: str,
        idempotency_key: str | None = None,
        priority: str = "normal",
        send_at: datetime | None = None,
        expires_at: datetime | None = None,
        metadata: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
        session: object = None,
    ) -> Receipt:
        """Put one message into the outbox, or replay the one that has this key; raises what `Client.enqueue` does."""
        del session
        item = Outgoing(message, via, idempotency_key, priority, send_at, expires_at, metadata, options)
        return self._keep(item, self._admit(item))

    def enqueue_many(
        self, items: Iterable[Outgoing], *, chunk: int | None = None, session: object = None
    ) -> BulkReceipt:
        """Enqueue each item; what `enqueue` would refuse is rejected, and the rest goes on."""
        del chunk, session
        receipt = BulkReceipt()
        for index, item in enumerate(items):
            try:
                replayed = self._keep(item, self._admit(item)).replayed
            except InvalidMessage as error:
                receipt.rejected.append(Reject(index, error.field, error.rule))
            except IdempotencyConflict as error:
                receipt.rejected.append(Reject(index, "idempotency_key", str(error).partition(": ")[2]))
            else:
                receipt.replayed += replayed
                receipt.enqueued += not replayed
        return receipt

    def status(
        self,
        id: str | None = None,  # noqa: A002  # the message's id, as everywhere
        *,
        idempotency_key: str | None = None,
    ) -> MessageView:
        """Where a message stands. Raises `MessageNotFound`."""
        if (id is None) == (idempotency_key is None):
            raise TypeError("status takes an id or an idempotency_key, one of them.")
        return self._view(self._find(self._keys.get(idempotency_key or "") if id is None else id))

    def messages(
        self,
        *,
        status: str | None = None,
        via: str | None = None,
        since: datetime | timedelta | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[MessageView]:
        """The newest messages first; `after` is the id of the last one seen."""
        if isinstance(since, timedelta):
            since = moment(self._clock()) - since
        start = check_time("since", since) or 0.0
        found = [
            stored
            for stored in reversed(self._stored.values())
            if status in (None, stored.status)
            and via in (None, stored.item.via)
            and stored.created_at.timestamp() >= start
            and (after is None or stored.item.id < after)
        ]
        return [self._view(stored) for stored in found[:limit]]

    def cancel(self, id: str) -> bool:  # noqa: A002  # the message's id, as everywhere
        """Cancel a message if it is queued; True if it is cancelled in the end. Raises `MessageNotFound`."""
        stored = self._find(id)
        if stored.status is Status.QUEUED:
            self._move(stored, Status.CANCELLED, "cancelled", "application")
        return stored.status is Status.CANCELLED

    def deliver(self, id: str) -> None:  # noqa: A002  # the message's id, as everywhere
        """Let the message be delivered. Raises `MessageNotFound`."""
        self._move(self._find(id), Status.DELIVERED, None, "webhook")

    def fail(self, id: str, reason: str) -> None:  # noqa: A002  # the message's id, as everywhere
        """Let the provider refuse the message for good. Raises `MessageNotFound`."""
        self._move(self._find(id), Status.FAILED, reason, "response")

    def receive(self, kind: str, data: Mapping[str, Any], account: str) -> None:
        """Let something happen to an account, such as `message_received`."""
        self._say(EventView(moment(self._clock()), "webhook", None, None, kind, None, account, dict(data)))

    def events(self, after: int | None = None, *, limit: int = 1000) -> list[EventView]:
        """Every status change and inbound event after the cursor, in order. Raises what `Client.events` does."""
        start, most = check(after, limit)
        return self._events[start : start + most]

    def suppress(self, channel: str, recipient: str, reason: str | None = None) -> bool:
        """Put a recipient on the list; False if they were on it. Without accounts every channel is one."""
        rules = {} if self._vias is None else channels_of(self._vias.values())
        known = self._channel(channel)
        pair = (known, check_recipient(known, recipient, rules.get(known, ())))
        if reason is not None:
            check_text("reason", reason)
        new = pair not in self._suppressed
        self._suppressed.setdefault(pair, SuppressionView(*pair, moment(self._clock()), "operator", None, reason))
        return new

    def unsuppress(self, channel: str, recipient: str) -> bool:
        """Take a recipient off the list; False if they were not on it."""
        return self._suppressed.pop((self._channel(channel), normalised(channel, recipient)), None) is not None

    def suppressions(
        self, channel: str | None = None, *, limit: int = 1000, after: SuppressionView | None = None
    ) -> list[SuppressionView]:
        """The list, by channel and recipient; `after` is the last entry seen."""
        last = ("", "") if after is None else (after.channel, after.recipient)
        found = [self._suppressed[pair] for pair in sorted(self._suppressed) if pair > last]
        return [view for view in found if channel in (None, view.channel)][:limit]

    def assert_enqueued(
        self,
        *,
        to: str | None = None,
        kind: str | None = None,
        via: str | None = None,
        idempotency_key: str | None = None,
    ) -> Enqueued:
        """The first message of the outbox that has all of these; `AssertionError` if none has."""
        wanted = {"to": to, "kind": kind, "via": via, "idempotency_key": idempotency_key}
        for stored in self._stored.values():
            if stored.matches(wanted):
                return stored.item
        asked = ", ".join(name for name, value in wanted.items() if value is not None)
        raise AssertionError(f"no message was enqueued with this {asked}; the outbox holds {self.outbox}")

    def assert_nothing_enqueued(self) -> None:
        """`AssertionError` unless the outbox is empty."""
        if self._stored:
            raise AssertionError(f"nothing should have been enqueued; the outbox holds {self.outbox}")

    def wake(self) -> None:
        """There is nobody to wake."""

    def _admit(self, item: Outgoing) -> Entry:
        if not isinstance(item, Outgoing):
            raise InvalidMessage("item", "must be an Outgoing")
        return admit(item, self._via(item.via), self._secret, self._clock())

    def _channel(self, name: str) -> str:
        if self._vias is None:
            return name
        return check_channel(name, channels_of(self._vias.values()))

    def _via(self, name: str) -> Via:
        if self._vias is not None:
            return find(self._vias, name)
        if not isinstance(name, str) or not name:
            raise InvalidMessage("via", "must name an account or a route")
        return Via(name, ())

    def _keep(self, item: Outgoing, entry: Entry) -> Receipt:
        key = entry.idempotency_key
        if key is not None and key in self._keys:
            first = self._stored[self._keys[key]]
            return replay(entry, first.item.id, first.digest)
        if self._is_suppressed(entry):
            raise refusal(entry.asked[0][0])
        if key is not None:
            self._keys[key] = entry.id
        enqueued = Enqueued(
            id=entry.id,
            message=item.message,
            via=item.via,
            idempotency_key=key,
            priority=LEVELS[entry.priority].value,
            send_at=item.send_at,
            expires_at=item.expires_at,
            metadata=dict(item.metadata or {}),
            options=dict(item.options or {}),
        )
        self._stored[entry.id] = _Stored(enqueued, entry.digest, moment(self._clock()))
        return Receipt(entry.id, replayed=False)

    def _is_suppressed(self, entry: Entry) -> bool:
        return bool(entry.asked) and self._suppressed.keys() >= set(entry.asked)

    def _requeue(self, id: str) -> None:  # noqa: A002  # the message's id, as everywhere
        self._move(self._find(id), Status.QUEUED, None, "operator")

    def _find(self, id: str | None) -> _Stored:  # noqa: A002  # the message's id, as everywhere
        stored = self._stored.get(id or "")
        if stored is None:
            raise MessageNotFound("No message has this id or idempotency key.")
        return stored

    def _move(self, stored: _Stored, status: Status, reason: str | None, source: str) -> None:
        stored.status, stored.reason = status, reason
        said = EventView(moment(self._clock()), source, status, reason, message_id=stored.item.id)
        stored.events.append(self._say(said))

    def _say(self, event: EventView) -> EventView:
        self._events.append(replace(event, cursor=len(self._events) + 1))
        return self._events[-1]

    def _view(self, stored: _Stored) -> MessageView:
        item, now = stored.item, self._clock()
        due = item.send_at.timestamp() if item.send_at else None
        situation = Situation(now, stored.status, stored.reason, due_at=due, send_at=due, lanes=(item.via,))
        return MessageView(
            id=item.id,
            status=stored.status,
            reason=stored.reason,
            waiting_for=sentence(situation),
            via=item.via,
            account=None,
            provider_message_id=None,
            idempotency_key=item.idempotency_key,
            priority=item.priority,
            created_at=stored.created_at,
            send_at=item.send_at,
            expires_at=item.expires_at,
            metadata=item.metadata,
            events=tuple(stored.events),
        )
