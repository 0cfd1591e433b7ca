"""The values that `worker.limits` takes and gives: what limits a lane, what was granted, what the ledger knows."""

import math
from dataclasses import dataclass

from paceline.limit import Limit, guard_for

KEY = "*"
"""The class under which the whole key is closed and opened."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """One limit as the limiter holds it: `guard` in seconds, `reserve` in tokens that only priority `high` may use.

    Lanes of one key that name the same `scope` (default: the lane's class) and limit share its tokens. `jitter`: a
    token of a rolling window returns up to this fraction of the window later than it would, by chance.
    """

    limit: Limit
    guard: float
    reserve: int = 0
    scope: str | None = None
    jitter: float = 0.0

    @classmethod
    def of(
        cls,
        limit: Limit,
        *,
        reserve: float = 0.0,
        guard: float | None = None,
        scope: str | None = None,
        jitter: float = 0.0,
    ) -> "Bucket":
        """A bucket whose reserve is a fraction of the limit, in whole tokens: see `reserved`."""
        return cls(limit, guard_for(limit, guard), reserved(limit.count, reserve), scope, jitter)

    @property
    def span(self) -> float:
        """Seconds after which a spent token returns; 0 for a calendar day."""
        return 0.0 if self.limit.window is None else self.limit.window + self.guard


def reserved(count: int, fraction: float) -> int:
    """The whole tokens that a reserve keeps of `count`: rounded up, unless that would leave the others none at all.

    A limit of one has no reserve, whatever fraction is asked for: `normal` and `bulk` could never go.
    """
    up = math.ceil(fraction * count - 1e-9)
    return up if up < count or fraction >= 1 else math.floor(fraction * count + 1e-9)


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """Everything that limits one lane: the key's name, the lane's own among the key's (for most its class of
    endpoint), and its buckets."""

    key: str
    lane_class: str
    limits: tuple[Bucket, ...]

    def __post_init__(self) -> None:
        if not self.limits:
            raise ValueError(f"lane {self.key}/{self.lane_class} has no limit: give it at least one.")

    def name_of(self, bucket: Bucket) -> str:
        """The bucket's name within its key."""
        return f"{bucket.scope or self.lane_class}/{bucket.limit.text}"

    @property
    def token_life(self) -> float:
        """Seconds from `Grant.since` within which a request must be on the wire: half of the smallest guard."""
        return min(bucket.guard for bucket in self.limits) / 2

    @property
    def restamp_life(self) -> float:
        """Seconds from `Grant.since` in which a token may be stamped again: the shortest rolling window, else a day."""
        return min((bucket.limit.window or 86400.0) for bucket in self.limits)


@dataclass(frozen=True, slots=True)
class Grant:
    """What `acquire` answered: tokens granted, then room and seconds to wait for each class of priority after them.

    `since` is the monotonic time from which the tokens age. `binds` names the limit that is, or will be, in the way.
    """

    high: int
    rest: int
    room_high: int
    room_rest: int
    wait_high: float
    wait_rest: float
    binds: str
    closed_for: float
    closed_reason: str
    probe: bool
    since: float


@dataclass(frozen=True, slots=True)
class Unseeded:
    """The key's state in Redis is missing, old or in doubt: seed it from the ledger, then claim again."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens of a lane's class spent `age` seconds ago (of an aggregate, the youngest), `rest` of them not for high."""

    lane_class: str
    age: float
    total: int
    rest: int


@dataclass(frozen=True, slots=True)
class Closure:
    """A closed lane, or a closed key (`KEY`): `remaining` seconds, None until an operator opens it."""

    lane_class: str
    remaining: float | None
    reason: str
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """A key as the database knows it; ages by the database's clock."""

    spent: tuple[Spent, ...] = ()
    closures: tuple[Closure, ...] = ()


@dataclass(frozen=True, slots=True)
class Seeded:
    """The nonce of the state in Redis, and whether that state is good for this host, this run and these limits."""

    nonce: str | None
    current: bool


@dataclass(frozen=True, slots=True)
class Level:
    """One limit of a lane: tokens out, room left and seconds to the next token, for priority high and for the rest."""

    name: str
    used: int
    used_rest: int
    room_high: int
    room_rest: int
    wait_high: float
    wait_rest: float


@dataclass(frozen=True, slots=True)
class Levels:
    """A lane at a glance."""

    closed_for: float
    closed_reason: str
    limits: tuple[Level, ...]
