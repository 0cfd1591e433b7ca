"""The part of `Client` that sends one message to many."""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from paceline.broadcast.advice import warnings_for
from paceline.broadcast.control import BroadcastView, Control
from paceline.broadcast.definition import Definition, Preview, Ramp, define
from paceline.broadcast.expansion import Expander, Tell, preview
from paceline.broadcast.forecast import Forecast, forecast_of
from paceline.broadcast.hosted import admitted, hold, host_of, hosted
from paceline.broadcast.hosted import begin as begin_job
from paceline.broadcast.hosted_forecast import forecast_before
from paceline.broadcast.recipients import Row, Source, read
from paceline.broadcast.rejects import rejects_file
from paceline.broadcast.staging import abandon, begin, exists, release, stage
from paceline.directory import Carrier
from paceline.enqueue import Receipt
from paceline.errors import InvalidMessage, PacelineError
from paceline.messages import Message
from paceline.opened import Opened

Before = Callable[[BroadcastView, Forecast], None]

COUNTED_LATER = "the recipients are counted by the provider, once it has imported them; `broadcast show` says how many"
OWN_TESTS = (
    "cannot be tested from here: this account's provider sends its own tests before it schedules a broadcast; "
    'name them in its options, as in test_contacts = [{phone = "+15555550100"}]'
)


class Broadcasting:
    """What `Client` adds: its connections and its wake-ups."""

    def broadcast(
        self,
        name: str,
        message: Message,
        recipients: Source,
        via: str,
        *,
        send_at: datetime | None = None,
        timezone: str | None = None,
        cron: str | None = None,
        expires_at: datetime | None = None,
        priority: str = "bulk",
        options: Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        zone_column: str | None = None,
        sending_hours: str | None = None,
        default_region: str | None = None,
        defaults: Mapping[str, str] | None = None,
        weight: float = 1.0,
        ramp_up: Mapping[str, Any] | Ramp | None = None,
        paused: bool = False,
        rejects: Path | str | None = None,
        tell: Tell | None = None,
        before: Before | None = None,
    ) -> BroadcastView:
        """Send one message to many recipients, and return where that stands.

        `message` may hold `{columns}` of a recipient's row in any string field (`{{` and `}}` are braces; `defaults`
        serve where a row has none). `recipients` is a CSV or JSON-lines file, or any iterable of mappings, of any
        length; each is written to once. Nothing leaves before all of them have been read and checked: a missing column
        or a broken file raises, and nothing is queued. Those whose address breaks a rule, who stand in it twice or who
        opted out are counted, written to the CSV file `rejects`, and left out. `tell` hears how far the reading is;
        `before` is shown the staged broadcast and its forecast just before it may leave.

        It goes at once; or at `send_at`, an aware datetime, or a time on the wall in `timezone`; with
        `timezone="recipient"` on each recipient's own wall (the zone in `zone_column`, or that of their number). `cron`
        is a recurrence in `timezone`, each run a broadcast of its own. `sending_hours` ("09:00-20:00") are kept in that
        zone, what is left going on the next day; at `expires_at`, an aware datetime or a time on the wall in
        `timezone`, the rest expires. `ramp_up` ({"first": 50, "growth": 2}) warms a number up, day by day. Numbers
        without a + are read as in `default_region`. Broadcasts on a lane share it by `weight`. `paused` stages it and
        waits for `resume`.

        Where the account's provider sends broadcasts itself, `recipients` is the https URL of the CSV that it imports.

        The same `name` with the same definition and recipients returns the same broadcast, and takes up one whose
        staging was interrupted; with others it raises `IdempotencyConflict`. Raises `InvalidMessage` (of which
        `BadRecipients` names the line) and `UnknownAccount`.
        """
        definition = self._define(
            name, message, via, send_at=send_at, timezone=timezone, zone_column=zone_column, cron=cron,
            expires_at=expires_at, priority=priority, sending_hours=sending_hours, default_region=default_region,
            defaults=defaults, weight=weight, ramp_up=ramp_up, options=options, metadata=metadata,
        )  # fmt: skip
        opened = self._open()
        if self._host(via) is not None:
            return self._hosted(hosted(definition, recipients), before, paused=paused)
        with rejects_file(rejects, recipients) as opens:
            broadcast_id = stage(
                opened,
                definition,
                recipients,
                lambda id_, began: self._expander(definition, id_, began),
                rejects=opens,
                tell=tell or _nobody,
            )
        if before is not None:
            before(*self._control().under_way(broadcast_id))
        if opened.write(lambda transaction: release(transaction, broadcast_id, paused=paused)):
            self._wake_via(via)
        return self._control().show(broadcast_id)

    def preview(
        self, name: str, message: Message, recipients: Source, via: str, **more: Any
    ) -> tuple[Preview, Forecast]:
        """What a broadcast would do, and when it would be done; nothing is stored. Takes what `broadcast` does."""
        rejects, tell = more.pop("rejects", None), more.pop("tell", None)
        more = {key: value for key, value in more.items() if key not in ("paused", "before")}
        definition = self._define(name, message, via, **more)
        opened = self._open()
        if self._host(via) is not None:
            definition = hosted(definition, recipients)
            admitted(opened.directories.current(via), definition, "", self._database_now())
            with opened.read() as connection:
                return Preview(warnings=(COUNTED_LATER,)), forecast_before(connection, definition)
        with rejects_file(rejects, recipients) as opens:
            expander = self._expander(definition, "", self._database_now())
            found = preview(opened, read(recipients), expander, rejects=opens(False), tell=tell or _nobody)
        counted = replace(found.preview, warnings=self._warnings(definition))
        with opened.read() as connection:
            return counted, forecast_of(connection, definition, counted, found.lines)

    def broadcast_test(
        self, name: str, message: Message, recipients: Source, via: str, to: Sequence[str], **more: Any
    ) -> list[Receipt]:
        """Send the first recipient's message to a few of one's own, as ordinary messages, to see what it looks like.

        The same broadcast, message and address again sends nothing new. Takes what `broadcast` takes.
        """
        more = {key: value for key, value in more.items() if key not in ("paused", "before", "rejects", "tell")}
        definition = self._define(name, message, via, **more)
        if self._host(via) is not None:
            raise InvalidMessage("to", OWN_TESTS)
        first: Row = next(read(recipients))
        expander = self._expander(definition, "", self._database_now())
        digest = expander.safe.keyed(definition.digest)
        samples = [expander.sample(first, address) for address in to]
        return [
            self.enqueue(  # type: ignore[attr-defined]  # Client's
                one,
                via=via,
                idempotency_key=f"broadcast-test/{digest}/{number_of(expander, one)}",
                options=definition.options,
                metadata=definition.metadata,
            )
            for one in samples
        ]

    def broadcasts(self, limit: int = 100) -> list[BroadcastView]:
        """The newest broadcasts first."""
        return self._control().all(limit)

    def get_broadcast(self, name: str) -> BroadcastView:
        """The broadcast of that name or id. Raises `BroadcastNotFound`."""
        return self._control().show(name)

    def retry_broadcast(self, name: str, reason: str | None = None) -> int:
        """Queue again those of a broadcast's messages that failed, with this reason if one is given; how many."""
        return self._control().retry(name, reason)

    def broadcast_warnings(self, name: str, message: Message, recipients: Source, via: str, **more: Any) -> list[str]:
        """What somebody should know before it starts, a sentence each. Takes what `broadcast` takes."""
        del recipients
        more = {key: value for key, value in more.items() if key not in ("paused", "before", "rejects", "tell")}
        return list(self._warnings(self._define(name, message, via, **more)))

    def _hosted(self, definition: Definition, before: Before | None, *, paused: bool) -> BroadcastView:
        """Have the account's provider send it."""
        opened = self._open()
        begun = begin(opened, definition)
        if begun.progress is not None:
            try:
                call = admitted(opened.directories.current(definition.via), definition, begun.id, begun.began)
            except InvalidMessage:
                abandon(opened, begun.id)
                raise
            if before is not None:
                before(*self._control().under_way(begun.id))
            if paused:
                opened.write(lambda transaction: hold(transaction, begun.id, definition))
            else:
                opened.write(lambda transaction: begin_job(transaction, begun.id, definition, call))
                self._wake_via(definition.via)
        return self._control().show(begun.id)

    def _host(self, via: str) -> Carrier | None:
        return host_of(self._open().directories.current(via).find(via))

    def _define(self, name: str, message: Message, via: str, **more: Any) -> Definition:
        directory = self._open().directories.current(via)
        directory.find(via)
        # What lay in the future when it was ordered first does not keep it from being taken up again.
        known = isinstance(name, str) and self._open().write(lambda transaction: exists(transaction, name))
        return define(name, message, via, now=-math.inf if known else self._database_now(), **more)

    def _database_now(self) -> float:
        directories = self._open().directories
        return directories.database_now(directories.current())

    def _warnings(self, definition: Definition) -> tuple[str, ...]:
        return warnings_for(definition, self._open().directories.current(definition.via).find(definition.via))

    def _expander(self, definition: Definition, broadcast_id: str, began: float) -> Expander:
        directory = self._open().directories.current(definition.via)
        return Expander(definition, directory.find(definition.via), directory.content, broadcast_id, began)

    def _control(self) -> Control:
        return Control(self._open(), self._wake_via, self.start, self.cancel_job)  # type: ignore[attr-defined]  # Client's

    def _wake_via(self, via: str) -> None:
        with contextlib.suppress(PacelineError):
            opened = self._open()
            opened.wake(opened.directories.current(via).find(via).lanes, False)

    def _open(self) -> Opened:
        raise NotImplementedError


def number_of(expander: Expander, message: Message) -> str:
    """A digest of whom a sample goes to: a key is no place for a number."""
    return expander.key(message.to).rpartition("/")[2]


def _nobody(_preview: Preview) -> None:
    """Nobody wants to know."""
