"""`python -m benchmarks`: every benchmark, and one closing table. Takes a few minutes.

Targets are shown beside what was measured; a missed one is for a person to judge, so the exit code stays 0. It is 1 if
a message was lost or doubled, or a process did not do its work.
"""

import sys
import time

from benchmarks import compare, enqueue, expansion, latency, memory
from benchmarks.paceline_side import installation
from benchmarks.report import closing, say
from benchmarks.world import BenchmarkFailed, servers


def main() -> None:
    """The command."""
    began = time.monotonic()
    try:
        with servers() as at:
            found = compare.lines(at)
            with installation(at) as installed:
                found += latency.lines(at, installed)
                found += enqueue.lines(installed)
            with installation(at) as installed:
                found += expansion.lines(installed)
            with installation(at) as installed:
                found += memory.lines(at, installed)
    except BenchmarkFailed as failure:
        sys.exit(f"benchmarks: {failure}")
    closing("Benchmarks", found)
    say(f"took {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
