"""What arrived: one entry for every request, in the order in which they were judged.

Rows are kept as plain tuples, which Python's garbage collector stops visiting, so that a million of them are no burden.
"""

import asyncio
import sys
from bisect import bisect_right
from collections.abc import Iterator
from operator import itemgetter
from typing import Any, Literal, NamedTuple

from sandbox.call import Call, Trace
from sandbox.journal import Journal

CLOSED: Literal["closed"] = "closed"


class Entry(NamedTuple):
    """One request. Its place among the entries is when it was judged; `at` and `monotonic` are when it arrived."""

    seq: int
    at: float  # Unix seconds
    monotonic: float  # seconds of the host's monotonic clock (plus what the sandbox's clock was advanced by)
    provider: str
    key: str  # the credential's fingerprint
    method: str
    path: str  # below the provider's prefix, without the query
    group: str  # the endpoint group whose limit it counts against
    recipient: str
    dispatch_id: str
    message_id: str  # of the message it created
    status: int | Literal["closed"]  # as answered; "closed": the whole answer never left
    accepted: bool  # it created a message
    body_sha: str
    fault: str  # the kind of the fault that struck it
    body: str | None  # only where the settings keep bodies
    lag: float | None  # seconds from its arrival until it was read; None where the kernel stamps none: `at` is later


_FIELDS = frozenset(Entry._fields)


class Ledger:
    """The entries of one provider."""

    def __init__(self, provider: str, journal: Journal) -> None:
        self.provider = provider
        self._journal = journal
        self._rows: list[tuple[Any, ...]] = []
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def record(
        self,
        call: Call,
        trace: Trace,
        *,
        status: int | Literal["closed"],
        message_id: str = "",
        accepted: bool = False,
        fault: str = "",
        keep_body: bool = False,
    ) -> int:
        """Enters one request, durably where there is a file, and returns its number."""
        seq = self._journal.next_seq()
        row = (
            seq,
            call.at,
            call.monotonic,
            self.provider,
            trace.key,
            sys.intern(call.method),
            sys.intern(call.path),
            trace.group,
            trace.recipient,
            trace.dispatch_id,
            message_id,
            status,
            accepted,
            call.body_sha,
            fault,
            call.body.decode("utf-8", "replace") if keep_body else None,
            call.lag,
        )
        if self._journal.durable:
            self._journal.append(dict(zip(Entry._fields, row, strict=True)))
        self._rows.append(row)
        if self._waiting:
            self._wake()
        return seq

    def mark_closed(self, seq: int) -> None:
        """Notes that the answer never left whole: the client was gone before."""
        if self._close_row(seq):
            self._journal.append({"provider": self.provider, "closed": seq})

    def __iter__(self) -> Iterator[Entry]:
        return (Entry(*row) for row in self._rows)

    def entries(self, after: int = 0, limit: int | None = None) -> list[Entry]:
        """The entries whose number is above `after`, at most `limit` of them."""
        start = bisect_right(self._rows, after, key=itemgetter(0)) if after else 0
        stop = None if limit is None else start + limit
        return [Entry(*row) for row in self._rows[start:stop]]

    def rows(self) -> list[tuple[Any, ...]]:
        """A copy of all rows, each with `Entry`'s fields, for counting elsewhere."""
        return self._rows.copy()

    def clear(self) -> None:
        """Forgets all entries, in the file too."""
        self._rows.clear()
        self._journal.append({"provider": self.provider, "cleared": True})

    async def wait_for(self, count: int) -> None:
        """Returns once there are at least `count` entries."""
        if len(self._rows) < count:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append((count, waiter))
            await waiter

    def restore(self, record: dict[str, Any]) -> None:
        """Takes over one line that an earlier run wrote for this provider.

        Raises:
            ValueError: it lacks a field.
        """
        if "cleared" in record:
            self._rows.clear()
        elif "closed" in record:
            self._close_row(record["closed"])
        elif record.keys() >= _FIELDS:
            self._rows.append(tuple(_shared(record[name]) for name in Entry._fields))
        else:
            raise ValueError("The ledger file was written by another version of the sandbox: give another file.")

    def _close_row(self, seq: int) -> bool:
        index = bisect_right(self._rows, seq, key=itemgetter(0)) - 1
        if index < 0 or self._rows[index][0] != seq:
            return False  # cleared meanwhile
        self._rows[index] = tuple(Entry(*self._rows[index])._replace(status=CLOSED))
        return True

    def _wake(self) -> None:
        ready = [waiter for count, waiter in self._waiting if count <= len(self._rows)]
        self._waiting = [pair for pair in self._waiting if pair[0] > len(self._rows)]
        for waiter in ready:
            if not waiter.done():
                waiter.set_result(None)


def _shared(value: Any) -> Any:
    """The same string object for the same text: most columns repeat themselves."""
    return sys.intern(value) if type(value) is str else value
