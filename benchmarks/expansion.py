"""How many recipients a second a broadcast stages from a CSV file, in how much memory, beside `Client.enqueue_many`.

Each row is read, its merge fields are filled in, its address is checked and looked for among those who opted out; the
promise is at least half the speed of `enqueue_many` with keys on PostgreSQL, and memory that does not grow with the
rows. `python -m benchmarks.expansion --rows 1000000` measures a million alone, with `--database sqlite` on SQLite.
"""

import argparse
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.enqueue import keyed, rate
from benchmarks.measure import resident
from benchmarks.paceline_side import ACCOUNT, Installation, installation, messages
from benchmarks.report import Line, closing, say
from benchmarks.world import BenchmarkFailed, servers
from paceline import Text
from paceline.broadcast.definition import Preview

ROWS = 100_000
PROMISE = 0.5  # of enqueue_many's speed, on PostgreSQL
SETTLED = 0.1  # of the rows: what is held by then is what a chunk needs
GROWTH = 32.0  # MB by which it may still grow: what an allocator keeps back, not rows
MEGABYTE = 1_000_000
GREETING = Text(to="{id}", text="Hi {first_name}, 20 % off until {until}. Show {code} at the till.")


@dataclass(slots=True)
class Memory:
    """What this process holds while the recipients are read, in MB: once it has settled, and at most."""

    rows: int
    settled: float = field(default=0.0)
    most: float = field(default=0.0)

    def look(self, found: Preview) -> None:
        """After each chunk."""
        held = resident(os.getpid()) / MEGABYTE
        self.most = max(self.most, held)
        if found.recipients <= max(self.rows * SETTLED, 1) or not self.settled:
            self.settled = self.most


def people(file: Path, count: int) -> Path:
    """A file of so many recipients."""
    with file.open("w", encoding="utf-8") as out:
        out.write("id,first_name,until,code\n")
        out.writelines(f"auro_usr_{number:010d},Ada {number},Sunday,C{number:06d}\n" for number in range(count))
    return file


def staged(installed: Installation, file: Path, count: int) -> tuple[float, Memory]:
    """Rows a second, from the first line to the last commit, and the memory that took."""
    memory = Memory(count)
    with installed.client() as client:
        client.broadcasts()  # connects
        began = time.perf_counter()
        view = client.broadcast(f"benchmark-{count}", GREETING, file, ACCOUNT, paused=True, tell=memory.look)
        took = time.perf_counter() - began
    if view.counts["messages"] != count:
        raise BenchmarkFailed(f"{view.counts['messages']} of {count} rows were staged")
    return count / took, memory


def lines(installed: Installation, count: int = ROWS, *, promise: float = PROMISE) -> list[Line]:
    """Both rates, for the table; the broadcast goes first, so that the memory is its own."""
    file = people(installed.directory / "people.csv", count)
    broadcast, memory = staged(installed, file, count)
    grown = memory.most - memory.settled
    say(
        f"broadcast from a CSV file: {broadcast:,.0f} rows/s; resident {memory.settled:.0f} MB after a tenth of the "
        f"{count:,} rows, {memory.most:.0f} MB at most"
    )
    stream = rate(installed, keyed(messages(count)), count)
    say(f"enqueue_many with idempotency keys: {stream:,.0f} rows/s")
    if broadcast < promise * stream:
        raise BenchmarkFailed(f"a broadcast is staged at {broadcast / stream:.0%} of enqueue_many's speed")
    if grown > GROWTH:
        raise BenchmarkFailed(f"memory grew by {grown:.0f} MB while the rows after the first tenth were staged")
    return [
        Line("enqueue_many with idempotency keys, rows/s", f"{stream:,.0f}"),
        Line("broadcast from a CSV file, rows/s", f"{broadcast:,.0f}"),
        Line("its part of enqueue_many's speed", f"{broadcast / stream:.0%}", f"> {promise:.0%}" if promise else ""),
        Line("memory it grew by after a tenth of its rows, MB", f"{grown:.0f}", f"< {GROWTH:.0f}", grown < GROWTH),
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.expansion", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    given = parser.parse_args()
    with servers() as at:
        sqlite = given.database == "sqlite"
        url = f"sqlite:///{at.directory / 'expansion.db'}" if sqlite else ""
        with installation(at, database=url) as installed:
            closing(f"expansion, {given.database}", lines(installed, given.rows, promise=0.0 if sqlite else PROMISE))


if __name__ == "__main__":
    main()
