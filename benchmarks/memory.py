"""How much memory a worker process and Valkey hold while a million messages wait and the workers send at full speed.

`python -m benchmarks.memory` measures it alone; storing the million takes most of the time.
"""

import argparse
import time

from benchmarks.measure import resident
from benchmarks.paceline_side import Installation, installation, messages, workers_of
from benchmarks.report import Line, closing, say
from benchmarks.world import BenchmarkFailed, Servers, servers

MESSAGES = 1_000_000
SECONDS = 15.0  # of sending, after the first messages have arrived
WORKER_TARGET = 150.0  # MB
VALKEY_TARGET = 10.0  # MB
PATIENCE = 60.0  # seconds for the first messages to arrive
MEGABYTE = 1_000_000


def lines(at: Servers, installed: Installation, count: int = MESSAGES) -> list[Line]:
    """Store `count` messages, let the workers send for a while, and take the most that was held meanwhile."""
    with installed.client() as client:
        began = time.perf_counter()
        stored = client.enqueue_many(messages(count)).enqueued
        say(f"{stored:,} messages stored in {time.perf_counter() - began:.0f} s")
    at.stub.clear()
    worker = broker = 0
    with installed.working() as (command, _):
        at.stub.wait(1, seconds=PATIENCE)
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            worker = max(worker, *map(resident, workers_of(command)))
            broker = max(broker, resident(_pid(installed)))
            time.sleep(0.25)
    sent = at.stub.count()
    if sent >= stored:
        raise BenchmarkFailed(f"all {stored} messages were sent before the measurement ended: store more of them")
    workers, valkey = worker / MEGABYTE, broker / MEGABYTE
    say(f"with {stored - sent:,} messages still waiting: worker {workers:.0f} MB, Valkey {valkey:.1f} MB")
    return [
        Line("memory of a worker process, MB", f"{workers:.0f}", f"< {WORKER_TARGET:.0f}", workers < WORKER_TARGET),
        Line("memory of Valkey, MB", f"{valkey:.1f}", f"< {VALKEY_TARGET:.0f}", valkey < VALKEY_TARGET),
    ]


def _pid(installed: Installation) -> int:
    from redis import Redis

    with Redis.from_url(installed.broker.connection_url) as redis:
        return int(redis.info("server")["process_id"])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    count = parser.parse_args().messages
    with servers() as at, installation(at) as installed:
        closing("Memory", lines(at, installed, count))


if __name__ == "__main__":
    main()
