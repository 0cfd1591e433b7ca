"""How many rows a second `Client.enqueue_many` stores on PostgreSQL, validated and with keys or without.

`python -m benchmarks.enqueue` measures it alone.
"""

import argparse
import dataclasses
import time
from collections.abc import Iterable, Iterator

from benchmarks.paceline_side import Installation, installation, messages
from benchmarks.report import Line, closing, say
from benchmarks.world import BenchmarkFailed, servers
from paceline import Outgoing

ROWS = 100_000


def keyed(items: Iterable[Outgoing]) -> Iterator[Outgoing]:
    """The same, each with an idempotency key."""
    for number, item in enumerate(items):
        yield dataclasses.replace(item, idempotency_key=f"order-{number}-shipped")


def rate(installed: Installation, items: Iterable[Outgoing], count: int) -> float:
    """Rows a second, from the first item to the last commit."""
    with installed.client() as client:
        client.enqueue_many([])  # connects
        began = time.perf_counter()
        receipt = client.enqueue_many(items)
        took = time.perf_counter() - began
    if receipt.enqueued != count:
        raise BenchmarkFailed(f"{receipt.enqueued} of {count} rows were stored: {receipt.rejected[:1]}")
    return count / took


def lines(installed: Installation, count: int = ROWS) -> list[Line]:
    """Both rates, for the table."""
    plain = rate(installed, messages(count), count)
    say(f"enqueue_many: {plain:,.0f} rows/s")
    with_keys = rate(installed, keyed(messages(count)), count)
    say(f"enqueue_many with idempotency keys: {with_keys:,.0f} rows/s")
    return [
        Line("enqueue_many, rows/s", f"{plain:,.0f}"),
        Line("enqueue_many with idempotency keys, rows/s", f"{with_keys:,.0f}"),
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.enqueue", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    count = parser.parse_args().rows
    with servers() as at, installation(at) as installed:
        closing("enqueue_many", lines(installed, count))


if __name__ == "__main__":
    main()
