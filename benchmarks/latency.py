"""How long a message takes from the call of `enqueue` to the stub while nothing else is going on.

One at a time, with random gaps; both instants are read from the host's monotonic clock. `python -m benchmarks.latency`
measures it alone.
"""

import argparse
import random
import statistics
import time

from benchmarks.measure import quantile
from benchmarks.paceline_side import ACCOUNT, Installation, installation
from benchmarks.report import Line, closing, say
from benchmarks.world import Servers, servers
from paceline import Text

MESSAGES = 100
WARM_UP = 5  # messages that are not counted: the first ones open connections
GAPS = (0.1, 0.7)  # seconds between two messages
TARGET = 20.0  # milliseconds
PATIENCE = 60.0  # seconds for all to arrive


def measure(at: Servers, installed: Installation, count: int = MESSAGES) -> list[float]:
    """Milliseconds of each message, call to arrival."""
    at.stub.clear()
    gaps = random.Random(7)
    called: dict[str, float] = {}
    with installed.working(), installed.client() as client:
        for number in range(WARM_UP + count):
            name = f"latency-{number}"
            text = Text(to="auro_usr_5m2q70x1ck", text="Your code is 1234.")
            called[name] = time.monotonic()
            client.enqueue(text, via=ACCOUNT, metadata={"dispatch_id": name})
            if number < WARM_UP:
                at.stub.wait(number + 1, seconds=PATIENCE)
            time.sleep(gaps.uniform(*GAPS))
        at.stub.wait(WARM_UP + count, seconds=PATIENCE)
    arrivals = at.stub.arrivals()
    arrived = dict(zip(arrivals.names, arrivals.times, strict=True))
    return [(arrived[name] - called[name]) * 1000 for name in list(called)[WARM_UP:]]


def lines(at: Servers, installed: Installation, count: int = MESSAGES) -> list[Line]:
    """Median and tail, for the table."""
    values = measure(at, installed, count)
    median, p95, p99 = statistics.median(values), quantile(values, 0.95), quantile(values, 0.99)
    say(f"idle latency: p50 {median:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms, longest {max(values):.1f} ms")
    return [
        Line("enqueue to wire when idle, ms, p50", f"{median:.1f}", f"< {TARGET:.0f}", median < TARGET),
        Line("enqueue to wire when idle, ms, p95 / p99", f"{p95:.1f} / {p99:.1f}"),
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    count = parser.parse_args().messages
    with servers() as at, installation(at) as installed:
        closing("Idle latency", lines(at, installed, count))


if __name__ == "__main__":
    main()
