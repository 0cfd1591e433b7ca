"""A lane's future, played through with the limiter's own rules: when each of its lines will be empty.

A window gives its tokens back as it took them, W + guard later; a day's quota comes back at midnight; what is reserved
is not ours; what is more important goes first, and what is as important shares by weight; and nothing leaves outside
of its sending hours. Played in blocks, not messages: a million cost some thousand steps.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from paceline.limit import Limit, day_bounds

HORIZON = 400 * 86_400.0  # seconds: what takes longer than a year has no end that anybody plans by
STEPS = 1_000_000
SOON = 0.001  # seconds: what is so near is now
BLOCK = 1.0  # seconds of a fast lane that are one block
DEBT = 64.0  # how far a line's place may lie behind its rivals': the store's own number
FINE = 2_000  # parts into which the time it will take is cut: windows shorter than one are played together

WORKERS, HOURS, RAMP = "the workers' own speed", "sending hours", "the ramp-up"


@dataclass(frozen=True, slots=True)
class Bound:
    """One limit of the lane. `reserve` tokens are for `high` alone, `guard` is in seconds, `spent` are pairs of age and
    count: of a day's quota those of today."""

    limit: Limit
    guard: float = 0.0
    reserve: int = 0
    spent: tuple[tuple[float, int], ...] = ()

    @property
    def pace(self) -> float:
        """The most a second that it lets through in the long run, of what is not `high`."""
        return (self.limit.count - self.reserve) / ((self.limit.window or 86_400.0) + self.guard)


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits in one line: `level` 0 goes first; of one level they share by weight.

    `windows` are the instants, Unix seconds, between which it may leave, in order; none: always. It begins when those
    that it `follows` are empty, and `gap` seconds after they began. `start`, Unix seconds, is when it was ordered to
    begin: what it waits until then is nobody's limit.
    """

    name: str
    count: int
    level: int
    weight: float = 1.0
    windows: tuple[tuple[float, float], ...] = ()
    follows: tuple[str, ...] = ()
    gap: float = 0.0
    start: float = 0.0
    passed: float = 0.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """When a line's last message leaves, Unix seconds (None: not in a year, with so many `left`), and what stood in its
    way longest."""

    finish_at: float | None
    left: int
    limited_by: str


def simulate(
    start: float,
    bounds: Sequence[Bound],
    queues: Sequence[Queue],
    *,
    opens_at: float | None = None,
    rate: float = math.inf,
    busy: float = 0.0,
) -> dict[str, Outlook]:
    """Play the lane from `start` (Unix seconds) until every line is empty; by line, when that is.

    `opens_at` is when a closed lane opens; `rate` the most messages a second that the workers can send; `busy` how many
    a second of priority `high` are expected to come meanwhile.
    """
    waiting = sum(queue.count for queue in queues)
    grain = waiting / max(min([rate, *(bound.pace for bound in bounds)]), 1e-9) / FINE
    lane = _Lane([_log(bound, start, grain) for bound in bounds], rate, max(BLOCK, grain), busy)
    play = _Play(start, queues)
    at = max(start, opens_at or start)
    if at > start:
        play.blame(play.left, "the lane is closed", at - start)
    for _ in range(STEPS):
        if not play.left or at - start > HORIZON:
            break
        ready, soonest = play.ready(at)
        if not ready:
            if not math.isfinite(soonest):
                break
            at = soonest
            continue
        level = min(queue.level for queue in ready)
        room, binds, wait = lane.room(at, high=level == 0)
        if room <= 0:
            until = max(min(wait, soonest), at + SOON)
            play.blame([queue.name for queue in ready], binds, until - at)
            at = until
            continue
        sent = play.send([queue for queue in ready if queue.level == level], room)
        lane.spend(at, sent)
        took = lane.takes(sent)
        if binds == WORKERS:
            play.blame([queue.name for queue in ready], binds, took)
        at += took
        play.end(at)
    return play.outlooks()


@dataclass(slots=True)
class _Log:
    """A rolling limit's tokens that are out: when they come back, oldest first. `times` windows are played as one."""

    bound: Bound
    times: int = 1
    out: deque[tuple[float, int]] = field(default_factory=deque)
    total: int = 0

    def spend(self, at: float, count: int, *, times: int | None = None) -> None:
        span = (self.bound.limit.window or 0.0) + self.bound.guard
        self.out.append((at + span * (times or self.times), count))
        self.total += count

    def room(self, at: float, *, high: bool) -> int:
        while self.out and self.out[0][0] <= at + SOON:
            self.total -= self.out.popleft()[1]
        return (self.bound.limit.count - (0 if high else self.bound.reserve)) * self.times - self.total

    def next(self, at: float) -> float:
        return self.out[0][0] if self.out else at


@dataclass(slots=True)
class _Day:
    """A day's quota."""

    bound: Bound
    ends: float = 0.0
    used: int = 0

    def spend(self, at: float, count: int) -> None:
        self._turn(at)
        self.used += count

    def room(self, at: float, *, high: bool) -> int:
        self._turn(at)
        return self.bound.limit.count - (0 if high else self.bound.reserve) - self.used

    def next(self, at: float) -> float:
        self._turn(at)
        return self.ends

    def _turn(self, at: float) -> None:
        if at + SOON >= self.ends:
            guard = self.bound.guard
            _, _, tomorrow, after = day_bounds(at - guard, self.bound.limit.zone or "UTC")
            self.ends = (tomorrow if tomorrow + guard > at + SOON else after) + guard
            self.used = 0


class _Lane:
    """The lane's limits, with the workers' own speed as one more."""

    def __init__(self, logs: list[_Log | _Day], rate: float, block: float, busy: float) -> None:
        self._logs = logs
        self._rate = rate
        self._most = max(1, int(rate * block)) if math.isfinite(rate) else 1 << 40
        self._busy = busy
        self._owed = 0.0
        self._seen: float | None = None

    def room(self, at: float, *, high: bool) -> tuple[int, str, float]:
        """How many may go now; what binds, and until when."""
        self._others(at)
        least, binds, wait, slowest = self._most, WORKERS, at, math.inf
        for log in self._logs:
            room, until, pace = max(0, log.room(at, high=high)), log.next(at), log.bound.pace
            # Of several that are used up it is the one that stays so longest, and then the one that gives least.
            if room < least or (room == least == 0 and (-until, pace) < (-wait, slowest)):
                least, binds, wait, slowest = room, log.bound.limit.text, until, pace
        return least, binds, wait

    def spend(self, at: float, count: int) -> None:
        """Take the tokens."""
        for log in self._logs:
            log.spend(at, count)

    def takes(self, count: int) -> float:
        """Seconds in which the workers put so many on the wire."""
        return count / self._rate if math.isfinite(self._rate) else 0.0

    def _others(self, at: float) -> None:
        """What comes meanwhile and is more important takes its tokens first."""
        if self._busy > 0 and self._seen is not None:
            self._owed += self._busy * (at - self._seen)
            room = min((log.room(at, high=True) for log in self._logs), default=0)
            taken = max(0, min(int(self._owed), room))
            if taken:
                self.spend(at, taken)
                self._owed = min(self._owed - taken, self._busy * 60)
        self._seen = at


class _Play:
    """The lines, as they empty."""

    def __init__(self, start: float, queues: Sequence[Queue]) -> None:
        self._start = start
        self._queues = {queue.name: queue for queue in queues}
        self.left = {queue.name: queue.count for queue in queues if queue.count > 0}
        self._passed = {queue.name: queue.passed for queue in queues}
        self._began: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._gone: list[str] = []
        self._blamed: dict[str, dict[str, float]] = {name: {} for name in self.left}
        self._next_window = dict.fromkeys(self.left, 0)

    def ready(self, at: float) -> tuple[list[Queue], float]:
        """The lines that may send now, and when the next one may."""
        ready, soonest = [], math.inf
        for name in self.left:
            queue = self._queues[name]
            begins = self._begins(queue, at)
            opens = begins if begins > at + SOON else self._opens(queue, at)
            if opens <= at + SOON:
                self._began.setdefault(name, at)
                ready.append(queue)
            else:
                soonest = min(soonest, opens)
                self.blame([name], RAMP if begins > at + SOON else HOURS, opens - max(at, queue.start))
        return ready, soonest

    def send(self, going: Sequence[Queue], room: int) -> int:
        """Give `room` to lines of one level as claims do: the one that has had least for its weight goes next, and what
        one cannot use the others get. How many went."""
        floor = max(self._passed[queue.name] for queue in going) - DEBT
        for queue in going:
            self._passed[queue.name] = max(self._passed[queue.name], floor)
        rest, active = room, list(going)
        while rest and active:
            taken = sum(self._take(queue, count) for queue, count in self._shares(active, rest))
            rest -= taken
            active = [queue for queue in active if self.left[queue.name]]
            if not taken and active:  # less than one for each: one by one
                rest -= self._take(min(active, key=lambda queue: self._passed[queue.name]), 1)
                active = [queue for queue in active if self.left[queue.name]]
        self._gone = [queue.name for queue in going if not self.left[queue.name]]
        return room - rest

    def _shares(self, active: Sequence[Queue], room: int) -> list[tuple[Queue, int]]:
        """The whole numbers that bring lines, as far as `room` goes, to the same place."""
        place, weights, level = 0.0, 0.0, math.inf
        for queue in sorted(active, key=lambda each: self._passed[each.name]):
            if self._passed[queue.name] >= level:
                break  # it and those behind it had more than all the others will have
            weights += queue.weight
            place += queue.weight * self._passed[queue.name]
            level = (room + place) / weights
        return [(queue, max(0, int((level - self._passed[queue.name]) * queue.weight + 1e-9))) for queue in active]

    def _take(self, queue: Queue, count: int) -> int:
        take = min(count, self.left[queue.name])
        self.left[queue.name] -= take
        self._passed[queue.name] += take / queue.weight
        return take

    def end(self, at: float) -> None:
        """What the last block emptied is empty by then."""
        for name in self._gone:
            self._ended[name] = at
            del self.left[name]

    def blame(self, names: Sequence[str] | Mapping[str, int], what: str, seconds: float) -> None:
        """Write down what these wait for."""
        for name in names if math.isfinite(seconds) and seconds > SOON else ():
            self._blamed[name][what] = self._blamed[name].get(what, 0.0) + seconds

    def outlooks(self) -> dict[str, Outlook]:
        """What became of each."""
        return {
            name: Outlook(
                self._ended.get(name, self._start if queue.count <= 0 else None),
                self.left.get(name, 0),
                max(self._blamed.get(name, {}).items(), key=lambda item: item[1], default=("", 0.0))[0],
            )
            for name, queue in self._queues.items()
        }

    def _begins(self, queue: Queue, at: float) -> float:
        if not queue.follows:
            return at
        if any(name in self.left for name in queue.follows):
            return math.inf
        return max((self._began.get(name, self._start) for name in queue.follows), default=at) + queue.gap

    def _opens(self, queue: Queue, at: float) -> float:
        if not queue.windows:
            return at
        for place in range(self._next_window[queue.name], len(queue.windows)):
            begins, ends = queue.windows[place]
            if at < ends - SOON:
                self._next_window[queue.name] = place
                return max(at, begins)
        return math.inf


def _log(bound: Bound, start: float, grain: float) -> _Log | _Day:
    if bound.limit.window is None:
        day = _Day(bound)
        day.room(start, high=True)
        day.used = sum(count for _, count in bound.spent)
        return day
    log = _Log(bound, max(1, int(grain / (bound.limit.window + bound.guard))))
    for age, count in sorted(bound.spent, reverse=True):
        log.spend(start - age, count, times=1)
    return log


__all__ = ["HOURS", "RAMP", "WORKERS", "Bound", "Outlook", "Queue", "simulate"]
