"""A lane's gate in this process: tokens, closings and openings, with what is remembered between claims.

Redis holds the state that all processes share; the gate knows a closing at once, before Redis or the database do.
"""

import math
from dataclasses import replace

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from providers.base import Remaining
from worker.lanes.memory import Budget, LaneMemory, Recovery
from worker.lanes.topology import Lane, Topology
from worker.ledger import DAY, Ledger, SeedRefused
from worker.limits import Grant, Limiter, Unseeded
from worker.retry import Closure, Reach, backoff
from worker.work import Claim, LaneNews

AWAY = 1.0  # seconds until the limiter is asked again when it could not answer

log = structlog.get_logger("paceline.gate")


class Gate:
    """One lane's gate. Thread-safe."""

    def __init__(self, lane: Lane, limiter: Limiter, ledger: Ledger) -> None:
        self.lane = lane
        self._limiter = limiter
        self._ledger = ledger
        self._memory = LaneMemory()
        self._nonce = ""
        self._probing_since = math.inf  # when the token of a probe was granted here; infinity: never

    def budget(self) -> Budget:
        """How much to claim now."""
        return self._memory.budget()

    def claimed(self, claim: Claim) -> None:
        """Learn from a claim what the database knows of the lane."""
        self._nonce = claim.nonce
        self._memory.refused_before(claim.refusals)
        if claim.closed:
            self._memory.shut(claim.closed_for)

    def acquire(self, claim: Claim, caller: str, high: int, rest: int) -> Grant:
        """Tokens for what was just claimed; none if the limiter is away or its state cannot be made valid now."""
        try:
            grant = self._ask(claim, claim.nonce, caller, high, rest)
            if isinstance(grant, Unseeded):
                self._nonce = self._ledger.seed(self.lane.key, own=claim.operation_id)
                grant = self._ask(claim, self._nonce, caller, high, rest)
        except (RedisError, SeedRefused, SQLAlchemyError) as error:  # what was claimed goes back to its place
            log.warning("limiter_away", lane=self.lane.name, error=type(error).__name__)
            grant = Unseeded()
        if isinstance(grant, Unseeded):
            return Grant(0, 0, 0, 0, AWAY, AWAY, "", 0.0, "", probe=False, since=-math.inf)
        if grant.probe:
            self._probing_since = grant.since
            self._memory.probes()
        if grant.closed_for and not grant.probe:
            self._memory.shut(grant.closed_for)
        else:
            # Behind a probe the lane is closed to all others until its answer comes.
            held = grant.closed_for if grant.probe else 0.0
            waits = (max(grant.wait_high, held), max(grant.wait_rest, held))
            self._memory.answered(grant.since, (grant.room_high, grant.room_rest), waits)
        return grant

    def _ask(self, claim: Claim, nonce: str, caller: str, high: int, rest: int) -> Grant | Unseeded:
        return self._limiter.acquire(
            self.lane.limits,
            signature=self.lane.signature,
            nonce=nonce,
            caller=caller,
            operation_id=claim.operation_id,
            high=high,
            rest=rest,
            probe_hold=self.lane.lease,
        )

    def stamp(self, *, high: bool) -> bool:
        """Spend a token again, now, for a connection that took long to come. False if the request must not leave."""
        try:
            return self._limiter.stamp(
                self.lane.limits,
                signature=self.lane.signature,
                nonce=self._nonce,
                high=int(high),
                rest=int(not high),
            )
        except RedisError:
            return False

    def closed(self) -> bool:
        """True while nothing may leave."""
        return self._memory.closed()

    def refusals(self, sent_at: float | None) -> int:
        """Refusals in a row, counting one of a request that left at that instant."""
        return self._memory.refusals_for(sent_at)

    def succeeded_since(self, instant: float) -> bool:
        """True if a message got through since."""
        return self._memory.succeeded_at > instant

    def shut(self, closure: Closure, sent_at: float | None) -> LaneNews:
        """Close at once, here and for everybody; what the database must hear of it."""
        whole_key = closure.reach is not Reach.LANE
        refusals = self._memory.refusals_for(sent_at) if closure.probe else 0
        # Whether its provider is ready is in the database alone, which every claim asks.
        if closure.seconds is not None or not closure.unready:
            self._tell(closure, sent_at, whole_key=whole_key)
        self._memory.close(closure.seconds, refusals)
        key = self.lane.key if whole_key else None
        return LaneNews(self.lane.name, key, closure.reason, closure.seconds, refusals, unready=closure.unready)

    def _tell(self, closure: Closure, sent_at: float | None, *, whole_key: bool) -> None:
        try:
            self._limiter.close(
                self.lane.limits,
                closure.seconds,
                closure.reason,
                signature=self.lane.signature,
                nonce=self._nonce,
                whole_key=whole_key,
                # A lane's success opens that lane, not its key: a key that wanted a probe would want one for ever.
                probe=closure.probe and not whole_key,
                probed=sent_at is not None and sent_at >= self._probing_since,
            )
        except RedisError:
            # With Redis away nothing is granted, and the database will hold the closing when it returns.
            log.warning("limiter_away", lane=self.lane.name, error="close")

    def follow(self, closure: Closure) -> None:
        """Close here because the whole key did."""
        self._memory.close(closure.seconds, 0)

    def worked(self) -> LaneNews | None:
        """Note that a message got through, which ends a backoff; what the database must hear of it, if anything."""
        recovery = self._memory.success()
        if recovery is Recovery.NOTHING_NEW:
            return None
        if recovery is Recovery.OPENS:
            try:
                self._limiter.open(self.lane.limits, signature=self.lane.signature, nonce=self._nonce)
            except RedisError:
                log.warning("limiter_away", lane=self.lane.name, error="open")
        return LaneNews(self.lane.name, succeeded=True)

    def heed(self, left: Remaining, age: float) -> None:
        """Let the provider's own count of a long window tighten ours. `age`: seconds since the request left."""
        if not math.isfinite(left.reset_in):
            return
        for bucket in self.lane.limits.limits:
            if (bucket.limit.window or 86400.0) == left.window:
                try:
                    self._limiter.cap(
                        self.lane.limits,
                        bucket,
                        signature=self.lane.signature,
                        nonce=self._nonce,
                        remaining=left.left,
                        # No window resets later than it is long: a lie must not stop a lane for ever.
                        reset_in=min(left.reset_in, bucket.span or DAY),
                        age=age,
                    )
                except RedisError:
                    log.warning("limiter_away", lane=self.lane.name, error="cap")


def _asked(lane: Lane) -> bool:
    """True if it is a lane of sends whose provider can be asked whether it can send."""
    return any(sender.provider.build_probe is not None for sender in lane.senders.values())


class Gates:
    """The gates of one process, by lane."""

    def __init__(self, topology: Topology, limiter: Limiter, ledger: Ledger) -> None:
        self._gates = {name: Gate(lane, limiter, ledger) for name, lane in topology.lanes.items()}

    def get(self, lane: str) -> Gate | None:
        """The lane's gate, if this process has the lane."""
        return self._gates.get(lane)

    def of(self, lane: Lane) -> Gate:
        """The lane's gate."""
        return self._gates[lane.name]

    def shut(self, lane: Lane, closure: Closure, sent_at: float | None) -> list[LaneNews]:
        """Close a lane, all lanes of its key, or all keys of its provider."""
        if closure.unready and not _asked(lane):
            # That nothing can be sent is no reason to ask nothing, least of all whether it can again.
            seconds = backoff(self._gates[lane.name].refusals(sent_at)) if closure.seconds is None else closure.seconds
            closure = replace(closure, seconds=seconds, unready=False, probe=closure.seconds is None)
        news = [self._gates[lane.name].shut(closure, sent_at)]
        if closure.reach is Reach.LANE:
            return news
        told = {lane.key}
        for gate in self._gates.values():
            if gate.lane is lane or not self._reached(gate.lane, lane, closure.reach):
                continue
            if gate.lane.key in told:
                gate.follow(closure)
            else:
                told.add(gate.lane.key)
                news.append(gate.shut(closure, None))
        return news

    def _reached(self, other: Lane, lane: Lane, reach: Reach) -> bool:
        return other.key == lane.key or (reach is Reach.ADDRESS and other.provider == lane.provider)
