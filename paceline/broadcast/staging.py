"""Staging a broadcast: its messages are stored in chunks, where no claim sees them until the last one has been checked.

A chunk's transaction stores its messages and moves the broadcast's cursor, so an expansion that died is taken up where
it stood; and each message bears a key made of the broadcast and its recipient, so that nobody is written to twice.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from sqlalchemy import Double, String, bindparam, cast, func, null, select, update
from sqlalchemy.dialects import postgresql, sqlite

from paceline import tables
from paceline.broadcast.definition import Definition
from paceline.broadcast.expansion import KINDS, Chunk, Expander, Progress, Staged, Tell, Write
from paceline.broadcast.recipients import BadRecipients, Row, Source, read
from paceline.broadcast.schedule import next_run
from paceline.broadcast.standing import READY
from paceline.broadcast.steps import note
from paceline.broadcast.stored import definition_in, written
from paceline.bulk import CHUNK, Taken, store_entries
from paceline.clock import now
from paceline.content import Content
from paceline.door import Entry
from paceline.errors import IdempotencyConflict, InvalidMessage
from paceline.ids import new_id
from paceline.opened import Opened
from paceline.status import LEVELS
from paceline.transactions import Transaction

BROADCAST = tables.columns(tables.Broadcast)
STREAM = tables.columns(tables.Stream)
MESSAGE = tables.columns(tables.Message)
KEY = tables.columns(tables.IdempotencyKey)

EXPANDING, DISCARDING, SCHEDULED, RUNNING = "expanding", "discarding", "scheduled", "running"

ELSEWHERE = (
    "name: the same broadcast is being staged elsewhere, or was cancelled meanwhile; look at it before you go on"
)


@dataclass(frozen=True, slots=True)
class Begun:
    """A broadcast's row: its id, when it was ordered (Unix seconds), and how far its staging is, None if it is over."""

    id: str
    began: float
    progress: Progress | None
    read_digest: str
    cursor: int


def stage(
    opened: Opened,
    definition: Definition,
    source: Source,
    expander_of: Callable[[str, float], Expander],
    *,
    rejects: Callable[[bool], Write],
    tell: Tell,
) -> str:
    """Stage the broadcast, or go on with one that was interrupted; its id.

    `expander_of` is given the id and when it began; `rejects` whether an earlier call has written some already. Raises
    `BadRecipients` or `InvalidMessage`, and nothing is queued then; `IdempotencyConflict` if the name is another
    broadcast's.
    """
    begun, safe = begin(opened, definition), opened.directories.current().content
    if begun.progress is None:
        _compare(safe, source, begun, definition.name)
        return begun.id
    rows = _Source(source)
    try:
        _skip(safe, rows, begun, definition.name)
        write, progress = rejects(begun.cursor > 0), begun.progress
        expander = expander_of(begun.id, begun.began)
        store = _Store(opened, begun.id, definition, progress)
        for chunk in expander.chunks(rows, CHUNK[opened.dialect], progress):
            store.chunk(chunk)
            write(chunk.rejects)
            tell(progress.preview())
    except Exception as error:
        if isinstance(error, InvalidMessage) or rows.broke:
            abandon(opened, begun.id)
        raise
    return begun.id


class _Source:
    """The recipients; it knows whether it is they that could not be read, as when a query breaks off."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._rows: Iterator[Row] | None = None
        self.broke = False

    def __iter__(self) -> "_Source":
        return self

    def __next__(self) -> Row:
        try:
            self._rows = self._rows or read(self._source)
            return next(self._rows)
        except StopIteration:
            raise
        except Exception:
            self.broke = True
            raise


def exists(transaction: Transaction, name: str) -> bool:
    """Whether a broadcast has this name."""
    return bool(transaction.run(_FIND, {"the_name": name}))


def release(transaction: Transaction, broadcast_id: str, *, paused: bool = False) -> bool:
    """Say that everything is staged. True if it may leave at once: nothing but its own time can hold it then.

    What waits for a time, for hours, for a ramp or for a recurrence is let go by the workers.
    """
    found = transaction.run(_STAGED, {"the_id": broadcast_id})
    if not found:
        return False
    text, was_paused, at = found[0]
    definition = definition_in(transaction.keys, broadcast_id, text)
    held, paused = definition.waits, paused or bool(was_paused)
    values: dict[str, Any] = {"status": SCHEDULED if held else RUNNING, "paused": paused, "updated_at": now()}
    values |= {} if held else {"released_at": now()}
    if definition.cron is not None and definition.timezone is not None:
        values["next_run_at"] = next_run(definition.cron, definition.timezone, at)
    transaction.run(update(BROADCAST).where(BROADCAST.c.id == broadcast_id).values(values))
    lines = {"held": held, "paused": paused} | ({} if held else {"released_at": now()})
    transaction.run(update(STREAM).where(STREAM.c.broadcast == broadcast_id).values(lines))
    note(transaction, broadcast_id, definition.name, definition.via, str(values["status"]))
    return not held and not paused


def abandon(opened: Opened, broadcast_id: str) -> None:
    """Remove everything that was staged, in chunks, and the broadcast: nothing of it was ever seen by a claim."""
    # From here on nobody takes it up where it stood, even if this process dies now.
    gone = update(BROADCAST).where(BROADCAST.c.id == broadcast_id, BROADCAST.c.status == EXPANDING)
    opened.write(lambda transaction: transaction.run(gone.values(status=DISCARDING, updated_at=now())))
    while opened.write(lambda transaction: discard_some(transaction, broadcast_id)):
        pass


def discard_some(transaction: Transaction, broadcast_id: str) -> bool:
    """Remove some of what was staged for a broadcast that is given up, in the end its row; whether there may be more.

    Safe to run by several at once.
    """
    lines = select(STREAM.c.id).where(STREAM.c.broadcast == broadcast_id)
    chunk = select(MESSAGE.c.id, MESSAGE.c.idempotency_key).where(MESSAGE.c.broadcast, MESSAGE.c.stream_id.in_(lines))
    rows = transaction.run(chunk.limit(CHUNK["sqlite"]))
    if rows:
        transaction.run(KEY.delete().where(KEY.c.key.in_([row[1] for row in rows])))
        transaction.run(MESSAGE.delete().where(MESSAGE.c.id.in_([row[0] for row in rows])))
        return True
    transaction.run(STREAM.delete().where(STREAM.c.broadcast == broadcast_id))
    transaction.run(BROADCAST.delete().where(BROADCAST.c.id == broadcast_id, BROADCAST.c.status == DISCARDING))
    return False


def make_stream(transaction: Transaction, broadcast_id: str, definition: Definition, zone: str, day: int = 1) -> int:
    """The line for this broadcast's messages of a zone and day, made if it is missing; held until its time."""
    level = [str(each) for each in LEVELS].index(definition.priority)
    line = {"via": definition.via, "priority": level, "broadcast": broadcast_id, "zone": zone, "day": day}
    waits = select(MESSAGE.c.id).where(MESSAGE.c.stream_id == STREAM.c.id, READY).exists()
    rivals = (STREAM.c.via == definition.via, STREAM.c.priority == level, waits)
    lowest = select(func.min(STREAM.c.passed)).where(*rivals)
    values = line | {
        "weight": definition.weight,
        # A line that comes late must not catch up on what those that wait were given before it was there.
        "passed": func.coalesce(lowest.scalar_subquery(), 0.0),
        "paused": False,
        "cancelled": False,
        "held": True,
    }
    make = postgresql.insert if transaction.dialect == "postgresql" else sqlite.insert
    transaction.run(make(STREAM).values(values).on_conflict_do_nothing())
    found = transaction.run(select(STREAM.c.id).where(*(STREAM.c[name] == value for name, value in line.items())))
    return int(found[0][0])


def begin(opened: Opened, definition: Definition) -> Begun:
    """The broadcast's row, made if it is missing. One whose removal was interrupted is removed first."""
    while True:
        row = opened.write(lambda transaction: _row(transaction, definition))
        if row[2] != DISCARDING:
            break
        abandon(opened, row[0])
    if not opened.directories.current().content.same(row[1], definition.digest):
        raise IdempotencyConflict(
            "name: was used before for a different broadcast; use a new name, or the same definition for the same one"
        )
    counts = dict(zip(_COUNTED, row[5:], strict=True))
    digest, cursor = str(counts.pop("read_digest")), counts["cursor"]
    return Begun(row[0], float(row[4]), Progress(**counts) if row[2] == EXPANDING else None, digest, cursor)


def _row(transaction: Transaction, definition: Definition) -> Sequence[Any]:
    found = transaction.run(_FIND, {"the_name": definition.name})
    if found:
        return found[0]
    id_, safe = new_id(), transaction.content()
    values = {
        "id": id_,
        "name": definition.name,
        "digest": safe.keyed(definition.digest),
        "via": definition.via,
        "priority": [str(level) for level in LEVELS].index(definition.priority),
        "definition": written(safe, id_, definition.as_json()),
        "status": EXPANDING,
        "send_at": definition.send_at,
        "expires_at": definition.expires_at,
    }
    make = postgresql.insert if transaction.dialect == "postgresql" else sqlite.insert
    fresh = {**values, **ZEROS, "created_at": now(), "updated_at": now()}
    transaction.run(make(BROADCAST).values(fresh).on_conflict_do_nothing())
    return transaction.run(_FIND, {"the_name": definition.name})[0]


def _skip(safe: Content, rows: Iterator[Row], begun: Begun, name: str) -> None:
    """Read again, without staging, what an interrupted expansion has staged already."""
    again = Progress()
    for row in itertools.islice(rows, begun.cursor):
        again.read(row)
    if begun.cursor and not _same(safe, again, begun):
        raise IdempotencyConflict(
            f"recipients: are not those with which the broadcast {name!r} was begun; use the same, or a new name"
        )
    if begun.progress is not None:
        begun.progress.rows = again.rows


def _compare(safe: Content, source: Source, begun: Begun, name: str) -> None:
    """Raise `IdempotencyConflict` if a broadcast that is staged was given other recipients than these."""
    if not begun.cursor:
        return  # a run of a recurring one
    again = Progress()
    try:
        for row in itertools.islice(read(source), begun.cursor + 1):
            again.read(row)
    except BadRecipients:
        if isinstance(source, str | PathLike) and not again.cursor:
            return  # the file is there no more: it has been read
        again = Progress()
    if not _same(safe, again, begun):
        raise IdempotencyConflict(
            f"recipients: are not those of the broadcast {name!r}; use a new name for others, or the same for the same"
        )


def _same(safe: Content, again: Progress, begun: Begun) -> bool:
    """Whether what was read now is what was read then."""
    return again.cursor == begun.cursor and safe.same(begun.read_digest, again.digest)


class _Store:
    """Stores chunks, and how far that is, each in one transaction; then counts what was not stored, and why."""

    def __init__(self, opened: Opened, broadcast_id: str, definition: Definition, progress: Progress) -> None:
        self._opened = opened
        self._id = broadcast_id
        self._definition = definition
        self._progress = progress
        self._streams: dict[tuple[str, int], int] = {}

    def chunk(self, chunk: Chunk) -> None:
        """Store it; its rejects are complete afterwards. Raises `IdempotencyConflict` if somebody else goes on."""
        staged = sorted(chunk.staged, key=_key)
        start = _counts(self._progress)
        made: dict[tuple[str, int], int] = {}

        def write(transaction: Transaction) -> Taken:
            row = transaction.run(_LOCKED[transaction.dialect], {"the_id": self._id})
            if not row or row[0][0] not in (chunk.before, self._progress.cursor):
                raise IdempotencyConflict(ELSEWHERE)
            for line in dict.fromkeys((item.zone, item.day) for item in staged):
                if line not in self._streams:  # known only once committed: what was rolled back is no line
                    made[line] = make_stream(transaction, self._id, self._definition, *line)
            known = self._streams | made
            lines = {item.entry.id: known[item.zone, item.day] for item in staged}
            taken = store_entries(transaction, [(item.line, item.entry) for item in staged], lines)
            self._count(start, staged, taken)
            values = _counts(self._progress) | {"read_digest": transaction.content().keyed(self._progress.digest)}
            if row[0][0] == self._progress.cursor:
                # Either this very transaction was kept, though we were not told, or another process was faster.
                if tuple(row[0]) != tuple(values[name] for name in _COUNTED):
                    raise IdempotencyConflict(ELSEWHERE)
                return taken
            transaction.run(update(BROADCAST).where(BROADCAST.c.id == self._id).values(updated_at=now(), **values))
            return taken

        taken = self._opened.write(write)
        self._streams |= made
        for item in staged:
            if item.entry.id in taken:
                kind = "suppressed" if taken[item.entry.id] is None else "duplicate"
                chunk.rejects.append((item.line, kind, KINDS[kind]))
        chunk.rejects.sort()

    def _count(self, start: dict[str, int], staged: Sequence[Staged], taken: Taken) -> None:
        progress, refused = self._progress, list(taken.values())
        progress.suppressed = start["suppressed"] + sum(owner is None for owner in refused)
        progress.duplicates = start["duplicates"] + sum(owner is not None for owner in refused)
        progress.messages = start["messages"] + len(staged) - len(refused)
        progress.parts = start["parts"] + sum(item.parts for item in staged if item.entry.id not in taken)


def _key(item: Staged) -> str:
    entry: Entry = item.entry
    return entry.idempotency_key or ""


def _counts(progress: Progress) -> dict[str, Any]:
    return {name: getattr(progress, name) for name in _COUNTED if name != "read_digest"}


_COUNTED = ("cursor", "read_digest", "recipients", "duplicates", "suppressed", "invalid", "messages", "parts")
ZEROS: dict[str, Any] = dict.fromkeys(_COUNTED, 0) | {
    "read_digest": "",
    "counts": "{}",
    "count_seconds": 0.0,
    "paused": False,
    "reason": null(),
}
_the_id = bindparam("the_id", type_=String())
_FIND = select(
    BROADCAST.c.id,
    BROADCAST.c.digest,
    BROADCAST.c.status,
    BROADCAST.c.job_id,
    BROADCAST.c.created_at,
    *(BROADCAST.c[name] for name in _COUNTED),
).where(BROADCAST.c.name == bindparam("the_name", type_=String()))
_STAGED = select(BROADCAST.c.definition, BROADCAST.c.paused, cast(now(), Double())).where(
    BROADCAST.c.id == _the_id, BROADCAST.c.status == EXPANDING
)
_mine = select(*(BROADCAST.c[name] for name in _COUNTED)).where(
    BROADCAST.c.id == _the_id, BROADCAST.c.status == EXPANDING
)
_LOCKED = {"postgresql": _mine.with_for_update(), "sqlite": _mine}
