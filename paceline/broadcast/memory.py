"""Broadcasts of `InMemoryClient`: rendered, checked and kept in its outbox at once, whatever their schedule says."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from paceline.broadcast.advice import warnings_for
from paceline.broadcast.broadcasting import COUNTED_LATER, Before, Broadcasting
from paceline.broadcast.control import BroadcastView, check_retriable, check_steerable, shortfall
from paceline.broadcast.definition import Definition, Preview, define
from paceline.broadcast.expansion import KINDS, Expander, Progress, Tell
from paceline.broadcast.forecast import Forecast
from paceline.broadcast.hosted import arguments_of, host_of, hosted, is_hosted
from paceline.broadcast.recipients import Source, read
from paceline.broadcast.rejects import rejects_file
from paceline.broadcast.steps import BROADCAST_EVENT
from paceline.content import Content
from paceline.directory import Carrier, Via
from paceline.door import Entry
from paceline.enqueue import Receipt
from paceline.errors import BroadcastNotFound, IdempotencyConflict
from paceline.ids import new_id
from paceline.messages import Message, Outgoing, from_json
from paceline.status import Status
from paceline.views import EventView, MessageView, moment

CHUNK = 1000  # rows that are read at once


@dataclass(slots=True)
class Kept:
    """A broadcast, and the ids of its messages."""

    id: str
    definition: Definition
    found: Preview
    digest: str
    created_at: float
    status: str
    paused: bool = False
    messages: list[str] = field(default_factory=list)


class InMemoryBroadcasting(Broadcasting):
    """What `InMemoryClient` adds: its clock, its accounts, and how it keeps a message."""

    _clock: Callable[[], float]
    _secret: bytes
    _broadcasts: dict[str, Kept]

    def broadcast(
        self,
        name: str,
        message: Message,
        recipients: Source,
        via: str,
        *,
        paused: bool = False,
        rejects: Path | str | None = None,
        tell: Tell | None = None,
        before: Before | None = None,
        **more: Any,
    ) -> BroadcastView:
        """Put every recipient's message into the outbox; raises what `Client.broadcast` does. Its schedule is checked
        and kept, and nobody waits for it."""
        known = self._broadcasts.get(name)
        definition = self._define(name, message, via, **more)
        if self._host(via) is None:
            progress, entries = self._read(definition, recipients, rejects, tell)
        else:  # its provider would read them
            definition, progress, entries = hosted(definition, recipients), Progress(), []
            arguments_of(definition, self._clock())
        control = MemoryControl(self, self._clock)
        if known is not None:
            if (known.definition.digest, known.digest) != (definition.digest, progress.digest):
                raise IdempotencyConflict("name: was used before for a different broadcast; use a new name")
            return control.show(known.id)
        status = "scheduled" if definition.waits else "running"
        kept = Kept(new_id(), definition, progress.preview(), progress.digest, self._clock(), status, paused)
        self._broadcasts[name] = kept
        self.note(kept, status)
        kept.messages = [self._keep(_outgoing(definition, entry), entry).id for entry in entries]
        if before is not None:
            before(control.show(kept.id), control.forecast(kept.id))
        return control.show(kept.id)

    def preview(
        self, name: str, message: Message, recipients: Source, via: str, **more: Any
    ) -> tuple[Preview, Forecast]:
        """What a broadcast would do; without limits it is done at once."""
        rejects, tell = more.pop("rejects", None), more.pop("tell", None)
        more = {key: value for key, value in more.items() if key not in ("paused", "before")}
        definition = self._define(name, message, via, **more)
        if self._host(via) is not None:
            arguments_of(hosted(definition, recipients), self._clock())
            return Preview(warnings=(COUNTED_LATER,)), _done(self._clock(), Preview())
        found = self._read(definition, recipients, rejects, tell)[0].preview()
        return replace(found, warnings=self._warnings(definition)), _done(self._clock(), found)

    def broadcasts(self, limit: int = 100) -> list[BroadcastView]:
        """The newest broadcasts first."""
        return [MemoryControl(self, self._clock).show(name) for name in list(reversed(self._broadcasts))[:limit]]

    def get_broadcast(self, name: str) -> BroadcastView:
        """The broadcast of that name or id. Raises `BroadcastNotFound`."""
        return MemoryControl(self, self._clock).show(name)

    def retry_broadcast(self, name: str, reason: str | None = None) -> int:
        """Queue again those of its messages that failed, with this reason if one is given; how many."""
        kept = self.kept(name)
        check_retriable(kept.definition.name, kept.status)
        views = [self.status(each) for each in kept.messages]
        failed = [
            view.id for view in views if view.status is Status.FAILED and (view.reason or "").startswith(reason or "")
        ]
        for each in failed:
            self._requeue(each)
        return len(failed)

    def kept(self, name: str) -> Kept:
        """The one of that name or id. Raises `BroadcastNotFound`."""
        for kept in self._broadcasts.values():
            if name in (kept.definition.name, kept.id):
                return kept
        raise BroadcastNotFound("No broadcast has this name or id.")

    def note(self, kept: Kept, step: str) -> None:
        """Say the event of a step, as `Client.events` has it."""
        definition = kept.definition
        data = {"id": kept.id, "name": definition.name, "via": definition.via, "status": step}
        self._say(EventView(moment(self._clock()), "application", None, None, BROADCAST_EVENT, data=data))

    def _read(
        self, definition: Definition, recipients: Source, rejects: Path | str | None, tell: Tell | None
    ) -> tuple[Progress, list[Entry]]:
        """All that is to be kept, read and checked before anything is."""
        expander = self._expander(definition, definition.name, self._clock())
        progress, seen, entries = Progress(), set[str | None](), list[Entry]()
        with rejects_file(rejects, recipients) as opens:
            write = opens(False)
            for chunk in expander.chunks(read(recipients), CHUNK, progress):
                for item in chunk.staged:
                    if self._is_suppressed(item.entry):
                        progress.suppressed += 1
                        chunk.rejects.append((item.line, "suppressed", KINDS["suppressed"]))
                    elif item.entry.idempotency_key in seen:
                        progress.duplicates += 1
                        chunk.rejects.append((item.line, "duplicate", KINDS["duplicate"]))
                    else:
                        seen.add(item.entry.idempotency_key)
                        progress.messages += 1
                        progress.parts += item.parts
                        entries.append(item.entry)
                write(sorted(chunk.rejects))
                if tell is not None:
                    tell(progress.preview())
        return progress, entries

    def _host(self, via: str) -> Carrier | None:
        return host_of(self._via(via))

    def _define(self, name: str, message: Message, via: str, **more: Any) -> Definition:
        self._via(via)
        return define(name, message, via, now=-math.inf if name in self._broadcasts else self._clock(), **more)

    def _database_now(self) -> float:
        return self._clock()

    def _warnings(self, definition: Definition) -> tuple[str, ...]:
        return warnings_for(definition, self._via(definition.via))

    def _expander(self, definition: Definition, broadcast_id: str, began: float) -> Expander:
        return Expander(definition, self._via(definition.via), Content(self._secret), broadcast_id, began)

    # `InMemoryClient`'s

    def status(self, id: str | None = None, *, idempotency_key: str | None = None) -> MessageView:  # noqa: A002
        raise NotImplementedError

    def cancel(self, id: str) -> bool:  # noqa: A002
        raise NotImplementedError

    def _via(self, name: str) -> Via:
        raise NotImplementedError

    def _keep(self, item: Outgoing, entry: Entry) -> Receipt:
        raise NotImplementedError

    def _say(self, event: EventView) -> EventView:
        raise NotImplementedError

    def _requeue(self, id: str) -> None:  # noqa: A002
        raise NotImplementedError

    def _is_suppressed(self, entry: Entry) -> bool:
        raise NotImplementedError


class MemoryControl:
    """What the views of broadcasts in memory call."""

    def __init__(self, client: InMemoryBroadcasting, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock

    def show(self, name: str) -> BroadcastView:
        """The broadcast of that name or id. Raises `BroadcastNotFound`."""
        client, kept = self._client, self._client.kept(name)
        at, definition, found = moment(self._clock()), kept.definition, kept.found
        views = [client.status(each) for each in kept.messages]
        counts = {item.name: getattr(found, item.name) for item in fields(found) if item.name != "warnings"}
        counts |= {str(status): sum(view.status is status for view in views) for status in Status}
        over = kept.status == "running" and not counts["queued"]
        status = "finished" if over else "paused" if kept.paused and kept.status != "cancelled" else kept.status
        return BroadcastView(
            id=kept.id,
            name=definition.name,
            status=status,
            via=definition.via,
            priority=definition.priority,
            counts=counts,
            reason=shortfall(counts) if over else None,
            send_at=_moment(definition.send_at),
            expires_at=_moment(definition.expires_at),
            next_run_at=None,
            created_at=moment(kept.created_at),
            released_at=None if kept.status == "scheduled" else moment(kept.created_at),
            finished_at=at if status in ("finished", "cancelled") else None,
            counted_at=at,
            job_id=None,
            metadata=definition.metadata,
            _control=self,
        )

    def pause(self, name: str) -> BroadcastView:
        """Raises `BroadcastNotFound`, or `PacelineError` if it is over."""
        kept = self._steered(name, "paused")
        kept.paused = True
        return self.show(name)

    def resume(self, name: str) -> BroadcastView:
        """Raises `BroadcastNotFound`, or `PacelineError` if it is over."""
        kept = self._steered(name, "resumed")
        kept.paused = False
        return self.show(name)

    def cancel(self, name: str) -> BroadcastView:
        """Cancel what is queued of it. Raises `BroadcastNotFound`, or `PacelineError` if it is finished."""
        kept = self._steered(name, "cancelled")
        kept.status = "cancelled"
        for each in kept.messages:
            self._client.cancel(each)
        return self.show(name)

    def forecast(self, name: str) -> Forecast:
        """Without limits it is done at once. Raises `BroadcastNotFound`."""
        return _done(self._clock(), self._client.kept(name).found)

    def _steered(self, name: str, step: str) -> Kept:
        kept, hosts = self._client.kept(name), is_hosted(self._client.kept(name).definition)
        # Of one that its provider sends nobody here knows when it is over.
        check_steerable(kept.definition.name, kept.status if hosts else self.show(name).status, step)
        if kept.status != "cancelled":
            self._client.note(kept, step)
        return kept


def _outgoing(definition: Definition, entry: Entry) -> Outgoing:
    extras = ("metadata", "options")
    content = {name: value for name, value in json.loads(entry.payload).items() if name not in extras}
    return Outgoing(
        from_json(content),
        definition.via,
        entry.idempotency_key,
        definition.priority,
        _moment(definition.send_at),
        _moment(definition.expires_at),
        definition.metadata,
        definition.options,
    )


def _done(at: float, found: Preview) -> Forecast:
    return Forecast(moment(at), found.messages, found.parts, "", late=False)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)
