"""What encryption at rest costs: `enqueue_many` with keys, and a message's whole way, each beside the same in clear.

The two are measured in turn, pair by pair, and by the processor's time, so that a machine which is busy for a while
spoils neither; what is told is the middle of the pairs' ratios. `python -m benchmarks.content` measures it alone.
"""

import argparse
import base64
import os
import time
from statistics import median

from benchmarks import paceline_side
from benchmarks.enqueue import keyed
from benchmarks.paceline_side import installation, messages
from benchmarks.report import Line, closing, say
from benchmarks.world import BenchmarkFailed, Servers, servers

ROWS = 50_000
MESSAGES = 10_000
PAIRS = 3


def encrypted() -> str:
    """The section of a configuration whose content is encrypted under a key of its own."""
    return f'[content]\nkey = "{base64.b64encode(os.urandom(32)).decode()}"\n'


def stored(at: Servers, count: int, more: str) -> float:
    """Microseconds of the producer's CPU that `enqueue_many` takes for a row with an idempotency key."""
    with installation(at, more=more) as installed, installed.client() as client:
        client.enqueue_many([])  # connects
        began = time.process_time()
        receipt = client.enqueue_many(keyed(messages(count)))
        took = time.process_time() - began
    if receipt.enqueued != count:
        raise BenchmarkFailed(f"{receipt.enqueued} of {count} rows were stored: {receipt.rejected[:1]}")
    return took / count * 1e6


def lines(at: Servers, rows: int = ROWS, count: int = MESSAGES, pairs: int = PAIRS) -> list[Line]:
    """The ratios, for the table."""
    rows_cpus, cpus = [], []
    for _ in range(pairs):
        clear, sealed = stored(at, rows, ""), stored(at, rows, encrypted())
        say(f"a row of enqueue_many: {clear:.1f} µs of CPU in the clear, {sealed:.1f} encrypted")
        rows_cpus.append(sealed / clear)
    for _ in range(pairs if count else 0):
        plain, hidden = paceline_side.run(at, count), paceline_side.run(at, count, more=encrypted())
        say(f"a message: {plain.cpu:,.0f} µs of CPU in the clear, {hidden.cpu:,.0f} encrypted")
        cpus.append(hidden.cpu / plain.cpu)
    told = [Line("CPU of a row of enqueue_many, encrypted, of that in the clear", f"{median(rows_cpus):.0%}")]
    return told + ([Line("CPU of a message, encrypted, of that in the clear", f"{median(cpus):.0%}")] if cpus else [])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.content", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--messages", type=int, default=MESSAGES, help="0: enqueue_many alone")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    given = parser.parse_args()
    with servers() as at:
        closing("Encryption at rest", lines(at, given.rows, given.messages, given.pairs))


if __name__ == "__main__":
    main()
