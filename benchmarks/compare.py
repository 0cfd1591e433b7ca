"""Paceline beside plain Celery: paired runs, A B A B, against the same stub, PostgreSQL and kind of broker.

Machines are noisy, and whatever slows one run of a pair is likely to slow the other: the ratio is taken pair by pair,
and its median counts. `python -m benchmarks.compare` measures it alone.
"""

import argparse
import statistics

from benchmarks import paceline_side, plain_celery
from benchmarks.measure import Run, spread
from benchmarks.report import Line, closing, say
from benchmarks.world import Servers, servers

PAIRS = 3
TARGET = 8.0


def pairs(at: Servers, count: int = PAIRS) -> list[tuple[Run, Run]]:
    """Runs of plain Celery and Paceline in turn, after the baseline has found its best pool."""
    pool = plain_celery.best(at)
    found = []
    for number in range(1, count + 1):
        plain, ours = plain_celery.run(at, pool), paceline_side.run(at)
        found.append((plain, ours))
        say(
            f"pair {number}: plain Celery ({pool}) {plain.rate:,.0f}/s at {plain.cpu:,.0f} µs of CPU a message, "
            f"Paceline {ours.rate:,.0f}/s at {ours.cpu:,.0f} µs: {ours.rate / plain.rate:.1f} x"
        )
    return found


def lines(at: Servers, count: int = PAIRS) -> list[Line]:
    """Both sides and their ratio, for the table."""
    found = pairs(at, count)
    ratios = [ours.rate / plain.rate for plain, ours in found]
    return [
        Line("plain Celery, messages/s, min / median / max", spread([plain.rate for plain, _ in found])),
        Line("Paceline, messages/s, min / median / max", spread([ours.rate for _, ours in found])),
        Line(
            "ratio, pair by pair, min / median / max",
            spread(ratios),
            f">= {TARGET:.0f}",
            statistics.median(ratios) >= TARGET,
        ),
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    count = parser.parse_args().pairs
    with servers() as at:
        closing("Paceline beside plain Celery", lines(at, count))


if __name__ == "__main__":
    main()
