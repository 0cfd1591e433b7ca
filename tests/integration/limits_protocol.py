"""The protocol between ledger and limiter, step by step, so that a test can interleave, kill and stop who runs it.

The database is a model, with the row lock and the transactions the protocol needs; the limiter is the real script.
"""

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from redis import Redis

from tests.integration.limits_world import RuledLimiter, World, dump, lane_of, most_in_any_window, restore
from worker.limits import SCRIPT, Grant, Image, Spent, Unseeded, signature_of

LANE = lane_of("5/10s")
LEASE = 20.0
WIRE_MARGIN = 3.0
WINDOW = 10.0
COUNT = 5

Steps = Generator[None, None, None]


@dataclass
class Attempt:
    """One request of a grant: without an outcome until it is recorded."""

    sent: float | None = None
    outcome: bool = False


@dataclass
class GrantRow:
    """The ledger's row for one claim."""

    asked: int
    claimed: float
    granted: list[Attempt] | None = None

    def spent(self, now: float) -> list[Spent]:
        """What the ledger says was spent: what is open counts as now, and once its lease is over, as of then."""
        open_age = max(0.0, now - self.claimed - LEASE)
        if self.granted is None:
            return [Spent("send", open_age, self.asked, self.asked)]
        ages = [
            now - it.sent if it.outcome and it.sent else open_age for it in self.granted if it.sent or not it.outcome
        ]
        return [Spent("send", age, 1, 1) for age in ages]


@dataclass
class Database:
    """The key's row, with its lock, and the grants."""

    nonce: str = ""
    grants: list[GrantRow] = field(default_factory=list)
    shared: set[object] = field(default_factory=set)
    exclusive: object | None = None

    def release(self, who: object) -> None:
        """End of a transaction, or of the process that held it."""
        self.shared.discard(who)
        if self.exclusive is who:
            self.exclusive = None


class Universe:
    """Processes on two hosts, one server, one database; `chance` decides what happens next."""

    def __init__(self, redis: Redis, seed: int, script: str = SCRIPT, *, clock_steps: bool = False) -> None:
        self.redis, self.chance, self.script = redis, random.Random(seed), script
        self.world = World(latency=iter(self._latency, None))
        self.database = Database()
        self.limiters = [RuledLimiter(redis, self.world, host, script) for host in ("one", "two")]
        self.signature = signature_of([LANE])
        self.arrivals: list[float] = []
        self.in_flight: list[Callable[[], object]] = []
        self.names = 0
        self.dumps: list[dict[bytes, bytes]] = []
        self.clock_steps = clock_steps
        redis.flushdb()

    def _latency(self) -> float:
        return self.chance.choice((0.0, 0.001, 0.001, 0.02))

    def _pause(self) -> float:
        fate = self.chance.random()
        if fate < 0.05:
            return self.chance.choice((0.3, 2.0, 5.0, 9.7, 10.6))
        return self.chance.choice((0.0, 0.001, 0.005, 0.02))

    def name(self) -> str:
        self.names += 1
        return f"x{self.names}"

    def run(self, steps: int) -> int:
        """Let things happen; returns the most arrivals in any window."""
        processes: dict[int, Steps] = {}
        stopped: dict[int, float] = {}
        for _ in range(steps):
            self.world.now += self._pause()
            slot = self.chance.randrange(3)
            fate = self.chance.random()
            if fate < 0.01:
                self._kill(processes, slot)
            elif fate < 0.02:
                stopped[slot] = self.world.now + self.chance.choice((0.4, 9.9, 10.6, 25.0))
            elif fate < 0.05:
                self._disturb()
            elif stopped.get(slot, 0.0) <= self.world.now:
                if slot not in processes:
                    processes[slot] = Pump(self, self.chance.choice(self.limiters)).work()
                next(processes[slot])
        return most_in_any_window(self.arrivals, WINDOW)

    def _kill(self, processes: dict[int, Steps], slot: int) -> None:
        if slot in processes:
            processes.pop(slot).close()

    def _disturb(self) -> None:
        what = self.chance.random()
        if what < 0.3:
            self.redis.flushdb()
            if self.in_flight and self.chance.random() < 0.5:
                self.in_flight.pop(0)()
        elif what < 0.5:
            self.dumps.append(dump(self.redis))
        elif what < 0.7 and self.dumps:
            restore(self.redis, self.chance.choice(self.dumps))
            self.world.run_id = self.name()
        elif what < 0.9 and self.in_flight:
            self.in_flight.pop()()
        elif self.clock_steps:
            self.world.server_ahead += self.chance.choice((-100.0, -9.0, -0.3, 0.3, 5.0, 10.0, 11.0, 1000.0))


class Pump:
    """Claims, acquires, sends, records; seeds when it must. At every `yield` it may be killed or stopped."""

    def __init__(self, universe: Universe, limiter: RuledLimiter) -> None:
        self.universe, self.limiter = universe, limiter
        self.world, self.database = universe.world, universe.database
        self.caller = universe.name()

    def work(self) -> Steps:
        try:
            while True:
                yield from self._slice()
        finally:
            self.database.release(self)

    def _slice(self) -> Steps:
        # claim: one transaction that writes the grant row and reads the nonce under a shared lock
        while self.database.exclusive:
            yield
        self.database.shared.add(self)
        nonce = self.database.nonce
        yield
        grant = GrantRow(self.universe.chance.choice((1, 2, 5, 9)), self.world.now)
        self.database.grants.append(grant)
        self.database.release(self)
        yield
        # acquire, with the nonce that was read; the command may reach the server after its sender is gone
        operation = self.universe.name()
        if self.universe.chance.random() < 0.02:
            self.universe.in_flight.append(lambda: self._acquire(grant.asked, nonce, operation))
            yield
        answer = self._acquire(grant.asked, nonce, operation)
        yield
        tokens = 0 if isinstance(answer, Unseeded) else answer.rest
        grant.granted = [Attempt() for _ in range(tokens)]
        yield
        if isinstance(answer, Unseeded):
            yield from self._seed()
            return
        for attempt in grant.granted:
            yield from self._send(grant, attempt, answer.since, nonce)

    def _acquire(self, asked: int, nonce: str, operation: str) -> Grant | Unseeded:
        return self.limiter.acquire(
            LANE,
            signature=self.universe.signature,
            nonce=nonce,
            caller=self.caller,
            operation_id=operation,
            high=0,
            rest=asked,
            probe_hold=30,
        )

    def _send(self, grant: GrantRow, attempt: Attempt, since: float, nonce: str) -> Steps:
        yield
        signature = self.universe.signature
        if self.world.now > self.limiter.true_time(since) + LANE.token_life:
            stamped = self.world.now
            young = stamped < self.limiter.true_time(since) + LANE.restamp_life
            if not young or not self.limiter.stamp(LANE, signature=signature, nonce=nonce, high=0, rest=1):
                attempt.outcome = True
                return
            yield
            if self.world.now > stamped + LANE.token_life:
                attempt.outcome = True
                return
        if self.world.now > grant.claimed + LEASE - WIRE_MARGIN:
            attempt.outcome = True
            return
        self.universe.arrivals.append(self.world.now)
        sent = self.world.now
        yield
        attempt.sent, attempt.outcome = sent, True

    def _seed(self) -> Steps:
        expected = self.limiter.seeded("k", signature=self.universe.signature).nonce
        yield
        while self.database.exclusive or self.database.shared:
            yield
        self.database.exclusive = self
        yield
        found = self.limiter.seeded("k", signature=self.universe.signature)
        if found.current and found.nonce == self.database.nonce:
            self.database.release(self)
            return
        yield
        nonce = self.universe.name()
        image = Image(tuple(spent for row in self.database.grants for spent in row.spent(self.world.now)))
        yield

        def send() -> bool:
            return self.limiter.seed(
                [LANE], signature=self.universe.signature, expected=expected, nonce=nonce, image=image
            )

        # it may die here, or hear nothing: the command is on its way, and the row rolls back
        if self.universe.chance.random() < 0.3:
            self.universe.in_flight.append(send)
            self.database.release(self)
            return
        seeded = send()
        yield
        if seeded:
            self.database.nonce = nonce
        self.database.release(self)
