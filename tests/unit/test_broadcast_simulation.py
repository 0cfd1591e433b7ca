"""A lane shared by several lines: what a forecast says of each, beside what the store's own claims give them."""

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unittest.mock import Mock

import pytest

from paceline.broadcast.simulation import DEBT, Bound, Queue, simulate
from paceline.limit import Limit
from worker import store
from worker.store import STRIDE_DEBT, Store, _Rival

WINDOW, GUARD = 5.0, 0.5
CYCLE = WINDOW + GUARD  # seconds after which a token may be spent again


@dataclass(frozen=True)
class Line:
    """What waits in one line, its weight, and its place when it begins."""

    count: int
    weight: float = 1.0
    passed: float = 0.0


class Paper(Store):
    """The store's own sharing, of lines that stand on paper."""

    def __init__(self, lines: Mapping[str, Line]) -> None:
        self.left = {number: line.count for number, line in enumerate(lines.values())}
        self.rivals = [
            _Rival(number, "v", line.passed, line.weight, 1, None) for number, line in enumerate(lines.values())
        ]

    def claim(self, budget: int) -> None:
        """Take so many from those that wait."""
        waiting = [rival for rival in self.rivals if self.left[rival.id]]
        self._share(Mock(), Mock(), waiting, budget)

    def _claim_stream(self, connection: object, order: object, rival: _Rival, count: int) -> list[Any]:
        del connection, order
        take = min(count, self.left[rival.id])
        self.left[rival.id] -= take
        return [None] * take


def happens(lines: Mapping[str, Line], limit: int, chance: random.Random) -> dict[str, float]:
    """When each line's last message leaves, in claims as large as chance wants them, on a lane of `limit` in 5 s."""
    paper, out, at, ends = Paper(lines), deque[tuple[float, int]](), 0.0, dict[str, float]()
    while any(paper.left.values()):
        while out and out[0][0] <= at:
            out.popleft()
        room = limit - sum(count for _, count in out)
        if not room:
            at = out[0][0]
            continue
        size = min(room, chance.randint(1, 32), sum(paper.left.values()))
        paper.claim(size)
        out.append((at + CYCLE, size))
        for name, left in zip(lines, paper.left.values(), strict=True):
            if not left:
                ends.setdefault(name, at)
    return ends


def foretold(lines: Mapping[str, Line], limit: int) -> dict[str, float]:
    queues = [Queue(name, line.count, 1, line.weight, passed=line.passed) for name, line in lines.items()]
    found = simulate(0.0, [Bound(Limit.parse(f"{limit}/5s"), GUARD)], queues)
    return {name: each.finish_at or 0.0 for name, each in found.items()}


LINES = {
    "half of the lane": {"theirs": Line(1000), "mine": Line(40)},
    "two parts of three": {"theirs": Line(1000), "mine": Line(40, 2.0)},
    "one part of four": {"theirs": Line(1000, 3.0), "mine": Line(25)},
    "a third of each": {"theirs": Line(1000), "others": Line(1000), "mine": Line(40)},
    "one that comes behind in its turn": {"theirs": Line(1000, passed=500.0), "mine": Line(40)},
    "one that had its turn": {"theirs": Line(1000, 1.0, 30.0), "mine": Line(40, 1.0, 70.0)},
    "what another cannot use": {"theirs": Line(10), "others": Line(1000), "mine": Line(45)},
}


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("seed", range(5))
def test_lines_that_share_a_lane_end_in_the_window_that_was_foretold(name: str, seed: int) -> None:
    """Given counts that are whole multiples of each line's share, when the store's claims share 20 in 5 seconds, then
    no forecast is a window off."""
    lines = LINES[name]
    assert foretold(lines, 20)["mine"] == pytest.approx(happens(lines, 20, random.Random(seed))["mine"], abs=0.1)


@pytest.mark.parametrize("seed", range(40))
def test_any_lines_end_within_a_window_of_what_was_foretold(seed: int) -> None:
    chance = random.Random(seed)
    lines = {
        str(number): Line(
            chance.randint(1, 400),
            chance.choice((0.25, 0.5, 1.0, 1.0, 3.0, 7.5)),
            chance.choice((0.0, 0.0, 50.0, 900.0)),
        )
        for number in range(chance.randint(2, 6))
    }
    limit = chance.choice((7, 20, 100))
    seen, said = happens(lines, limit, chance), foretold(lines, limit)
    for line in lines:
        assert said[line] == pytest.approx(seen[line], abs=CYCLE + 0.1), line


@pytest.mark.parametrize("limits", [("20/10s", "60/minute"), ("60/minute", "20/10s")])
def test_of_two_limits_that_are_used_up_the_one_that_takes_the_time_is_named(limits: tuple[str, str]) -> None:
    """Without 60 a minute 150 would be gone in 74 seconds, without 20 in 10 in 121; with both it takes 132."""
    found = simulate(0.0, [Bound(Limit.parse(text), GUARD) for text in limits], [Queue("mine", 150, 2)])["mine"]
    assert found.finish_at == pytest.approx(131.5, abs=0.1)
    assert found.limited_by == "60/minute"


def test_the_debt_is_the_stores() -> None:
    assert DEBT == STRIDE_DEBT == store.STRIDE_DEBT
