"""How many recipients a second a broadcast stages on PostgreSQL, from a CSV file, beside `Client.enqueue_many`.

Each row is read, its merge fields are filled in, its address is checked and looked for among those who opted out; the
promise is at least half the speed of `enqueue_many` with keys. `python -m benchmarks.expansion` measures it alone.
"""

import argparse
import resource
import time
from pathlib import Path

from benchmarks.enqueue import keyed, rate
from benchmarks.paceline_side import ACCOUNT, Installation, installation, messages
from benchmarks.report import Line, closing, say
from benchmarks.world import BenchmarkFailed, servers
from paceline import Text

ROWS = 100_000
PROMISE = 0.5  # of enqueue_many's speed
GREETING = Text(to="{id}", text="Hi {first_name}, 20 % off until {until}. Show {code} at the till.")


def people(file: Path, count: int) -> Path:
    """A file of so many recipients."""
    with file.open("w", encoding="utf-8") as out:
        out.write("id,first_name,until,code\n")
        out.writelines(f"auro_usr_{number:010d},Ada {number},Sunday,C{number:06d}\n" for number in range(count))
    return file


def staged(installed: Installation, file: Path, count: int) -> float:
    """Rows a second, from the first line to the last commit."""
    with installed.client() as client:
        client.broadcasts()  # connects
        began = time.perf_counter()
        view = client.broadcast(f"benchmark-{count}", GREETING, file, ACCOUNT, paused=True)
        took = time.perf_counter() - began
    if view.counts["messages"] != count:
        raise BenchmarkFailed(f"{view.counts['messages']} of {count} rows were staged")
    return count / took


def lines(installed: Installation, count: int = ROWS) -> list[Line]:
    """Both rates, for the table."""
    file = people(installed.directory / "people.csv", count)
    stream = rate(installed, keyed(messages(count)), count)
    say(f"enqueue_many with idempotency keys: {stream:,.0f} rows/s")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    broadcast = staged(installed, file, count)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    say(f"broadcast from a CSV file: {broadcast:,.0f} rows/s, {grown:.0f} MB more memory at its peak")
    if broadcast < PROMISE * stream:
        raise BenchmarkFailed(f"a broadcast is staged at {broadcast / stream:.0%} of enqueue_many's speed")
    return [
        Line("enqueue_many with idempotency keys, rows/s", f"{stream:,.0f}"),
        Line("broadcast from a CSV file, rows/s", f"{broadcast:,.0f}"),
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.expansion", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    count = parser.parse_args().rows
    with servers() as at, installation(at) as installed:
        closing("expansion", lines(installed, count))


if __name__ == "__main__":
    main()
