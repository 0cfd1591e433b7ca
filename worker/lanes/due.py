"""Which lane next: the due set, a Redis sorted set of lanes by the time they may next go.

It may be forgotten at any time: the tick refills it from the database. A lane that was taken is in nobody else's hands
until it is filed again, so two slices never claim for the same opening.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import cast

from redis import Redis

from paceline import wire

# KEYS[1] the due set; ARGV the lanes that hold their share. Takes the first due lane that does not, else the first.
# Answers: lane or '', seconds to the earliest or -1, how many other lanes are due that do not hold their share.
_TAKE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local skipped = {}
for _, lane in ipairs(ARGV) do skipped[lane] = true end
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 64)
local taken, others = nil, 0
for _, lane in ipairs(due) do
  if not skipped[lane] then
    if taken then others = others + 1 else taken = lane end
  end
end
taken = taken or due[1]
if taken then
  redis.call('ZREM', KEYS[1], taken)
  return {taken, '0', others}
end
local first = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
if not first[2] then return {'', '-1', 0} end
return {'', tostring(tonumber(first[2]) - now), 0}
"""

# KEYS[1] the due set; ARGV: pairs of lane and seconds from now. A lane keeps the earlier of two times.
_FILE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
for i = 1, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], 'LT', now + tonumber(ARGV[i + 1]), ARGV[i])
end
return 0
"""

# KEYS[1] the due set; ARGV: seconds, then lanes. What is not filed is due now; what is filed, at the latest then.
_REFILL = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
for i = 2, #ARGV do
  redis.call('ZADD', KEYS[1], 'NX', now, ARGV[i])
  redis.call('ZADD', KEYS[1], 'LT', now + tonumber(ARGV[1]), ARGV[i])
end
return 0
"""

# What a lane was filed for may be true no more: its limits were changed, a provider's clock was set, or it was opened.
LOOK_AGAIN = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Next:
    """What the due set answered: a lane that is now ours, or the seconds until the earliest (None if it is empty).

    `others`: a lane that does not hold its share of the slots is due too.
    """

    lane: str | None
    wait: float | None
    others: bool


class Due:
    """The due set and the wake-up flags of one installation."""

    def __init__(self, redis: Redis, installation: str) -> None:
        self._redis = redis
        self._key = wire.due_key(installation)
        self._flags = (wire.wake_key(installation, high=False), wire.wake_key(installation, high=True))
        self._take = redis.register_script(_TAKE)
        self._file = redis.register_script(_FILE)
        self._refill = redis.register_script(_REFILL)

    def take(self, crowded: Collection[str] = ()) -> Next:
        """Take the most overdue lane out of the set, one that is not in `crowded` if there is one."""
        lane, wait, others = self._take(keys=[self._key], args=list(crowded))
        seconds = float(wait)
        return Next(lane.decode() or None, None if seconds < 0 else seconds, int(others) > 0)

    def file(self, lanes: Mapping[str, float]) -> None:
        """File lanes under so many seconds from now; a lane that is filed already keeps the earlier time."""
        if lanes:
            self._file(keys=[self._key], args=[item for pair in lanes.items() for item in pair])

    def peek(self) -> Next:
        """What `take` would find, without taking it."""
        first = cast("list[tuple[bytes, float]]", self._redis.zrange(self._key, 0, 0, withscores=True))
        if not first:
            return Next(None, None, others=False)
        lane, score = first[0]
        return Next(lane.decode(), max(0.0, score - self._now()), others=False)

    def refill(self, lanes: Collection[str]) -> None:
        """File lanes as due at once, unless they are filed: those go when their limits let them, or in a minute."""
        if lanes:
            self._refill(keys=[self._key], args=[LOOK_AGAIN, *lanes])

    def lower_flags(self) -> None:
        """Let the next enqueue wake a slice: called before the last look, so that nothing falls between the two."""
        self._redis.delete(*self._flags)

    def _now(self) -> float:
        seconds, micro = self._redis.time()
        return seconds + micro / 1e6
