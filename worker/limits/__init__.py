"""The limiter of a key's lanes: Python's side of `token_bucket.lua`, which holds the state and the reasons.

Durations are float seconds; `math.inf` is for ever. Nothing here sleeps; without Redis, redis-py's errors pass through.
"""

import hashlib
import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from redis import Redis

from paceline.limit import day_bounds
from worker.host import boot_id
from worker.limits.image import payload
from worker.limits.values import (
    KEY,
    Bucket,
    Closure,
    Grant,
    Image,
    LaneLimits,
    Level,
    Levels,
    Seeded,
    Spent,
    Unseeded,
)

__all__ = [
    "KEY",
    "SCRIPT",
    "Bucket",
    "Closure",
    "Grant",
    "Image",
    "LaneLimits",
    "Level",
    "Levels",
    "Limiter",
    "Seeded",
    "Spent",
    "Unseeded",
    "UnsuitableServer",
    "check_server",
    "host_id",
    "signature_of",
]

SCRIPT = (Path(__file__).parent / "token_bucket.lua").read_text(encoding="utf-8")

_CLOCK_TRIES = 4
_PER_LIMIT = 10  # what the script is told of a limit; last, how late this call's tokens are logged
_FOREVER = "-1"

Argument = str | int


class UnsuitableServer(Exception):
    """This Redis cannot keep limits; the message says what to use instead."""


class Limiter:
    """Grants tokens of any key's limits. Safe to share between threads.

    `prefix` begins every name in Redis. `host` names the machine whose `monotonic` clock is passed along: processes
    that share one share the other. `wall` only guesses the day that the server is asked about. `chance` answers numbers
    from 0 to 1, by which the pace of a lane with jitter varies.
    """

    def __init__(
        self,
        redis: Redis,
        prefix: str,
        *,
        host: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
        script: str = SCRIPT,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._host = host or host_id()
        self._monotonic = monotonic
        self._chance = chance
        self._server_now = wall()
        self._source = script
        self._script = redis.register_script(script)

    def acquire(
        self,
        lane: LaneLimits,
        *,
        signature: str,
        nonce: str,
        caller: str,
        operation_id: str,
        high: int,
        rest: int,
        probe_hold: float,
    ) -> Grant | Unseeded:
        """Take up to `high` and `rest` tokens of all the lane's limits at once, in one round trip.

        The same `caller` asking again with the same `operation_id` gets the tokens it got before, and spends none.
        After a closure that wants a probe one token is granted, and the lane is closed for `probe_hold` seconds more.
        """
        asked: tuple[Argument, ...] = (lane.lane_class, caller, operation_id, high, rest, _us(probe_hold))
        answer = self._call(lane, "acquire", signature, nonce, asked)
        if answer[0] != "OK":
            return Unseeded()
        return Grant(
            high=int(answer[2]),
            rest=int(answer[3]),
            room_high=int(answer[4]),
            room_rest=int(answer[5]),
            wait_high=_seconds(answer[6]),
            wait_rest=_seconds(answer[7]),
            closed_for=_seconds(answer[8]),
            closed_reason=answer[9],
            probe=answer[10] == "1",
            since=int(answer[11]) / 1e6,
            binds=answer[12],
        )

    def stamp(self, lane: LaneLimits, *, signature: str, nonce: str, high: int, rest: int) -> bool:
        """Spend tokens again, now, room or not. False if the key is unseeded: then the request must not leave."""
        return self._call(lane, "stamp", signature, nonce, (lane.lane_class, high, rest))[0] == "OK"

    def levels(self, lane: LaneLimits, *, signature: str, nonce: str) -> Levels | Unseeded:
        """How full each limit is. Changes nothing."""
        answer = self._call(lane, "levels", signature, nonce, (lane.lane_class,))
        if answer[0] != "OK":
            return Unseeded()
        rows = [answer[at : at + 7] for at in range(4, len(answer), 7)]
        return Levels(_seconds(answer[2]), answer[3], tuple(map(_level, rows)))

    def within(self, lane: LaneLimits, seconds: float, *, signature: str, nonce: str) -> tuple[int, int] | Unseeded:
        """How many tokens can go in so many seconds from now: if all are for priority high, and if none is.

        Closures are not looked at, nor what else may be waiting. Changes nothing.
        """
        answer = self._call(lane, "within", signature, nonce, (lane.lane_class, _us(max(0.0, seconds))))
        return (int(answer[2]), int(answer[3])) if answer[0] == "OK" else Unseeded()

    def close(
        self,
        lane: LaneLimits,
        seconds: float | None,
        reason: str,
        *,
        signature: str,
        nonce: str,
        whole_key: bool = False,
        probe: bool = False,
        probed: bool = False,
        force: bool = False,
    ) -> bool:
        """Close the lane, or the whole key, for `seconds` (None: until an operator opens it). The later end wins.

        `probe` lets one request at a time through afterwards, until `open`. `probed` says that the probe itself was
        refused. `force` replaces the closure there is. False if the key is unseeded.
        """
        name = KEY if whole_key else lane.lane_class
        length: Argument = "operator" if seconds is None else _us(seconds)
        return self._plain(
            lane,
            "close",
            signature,
            nonce,
            (name, length, " ".join(reason.split()), int(probe), int(force), int(probed)),
        )

    def open(self, lane: LaneLimits, *, signature: str, nonce: str, whole_key: bool = False) -> bool:
        """Open the lane, or lift the whole key's closure; after a probe's success too. False if the key is unseeded."""
        return self._plain(lane, "open", signature, nonce, (KEY if whole_key else lane.lane_class,))

    def cap(
        self,
        lane: LaneLimits,
        bucket: Bucket,
        *,
        signature: str,
        nonce: str,
        remaining: int,
        reset_in: float,
        age: float,
    ) -> bool:
        """Heed a provider's `remaining` until `reset_in` seconds from now; for days and windows from an hour up.

        `age` is how many seconds ago the request left whose answer said so: what was granted since is taken off.
        A later request's answer replaces an earlier one's; none ever adds to the limit's own room. False if the key is
        unseeded.
        """
        if bucket.limit.window is not None and bucket.limit.window < 3600:
            return True
        name, span = lane.name_of(bucket), _us(bucket.span)
        return self._plain(lane, "cap", signature, nonce, (name, span, max(0, remaining), _us(reset_in), _us(age)))

    def seeded(self, key: str, *, signature: str) -> Seeded:
        """What is in Redis for `key`; the nonce is what `seed` expects to replace."""
        answer = self._run(self._base(key), self._header("seeded", "", signature, 0, confirm=False))
        return Seeded(answer[1] or None, answer[2] == "1")

    def seed(
        self, lanes: Sequence[LaneLimits], *, signature: str, expected: str | None, nonce: str, image: Image
    ) -> bool:
        """Replace all of a key's state by the ledger's `image`. False if the stored nonce is no longer `expected`.

        Sent at most once, without any retry: a copy that arrived after another loss would revive an old image.
        """
        for _ in range(_CLOCK_TRIES):
            known = payload(lanes, image, self._server_now)
            header = self._header("seed", nonce, signature, _tolerance(lanes), confirm=True)
            answer = self._once(self._base(lanes[0].key), [*header, expected or "", known])
            if answer[0] != "DAY":
                break
            self._server_now = int(answer[1]) / 1e6  # nothing happened; the same image may be sent for the right day
        return bool(answer[0] == "OK")

    def _plain(self, lane: LaneLimits, op: str, signature: str, nonce: str, arguments: Iterable[Argument]) -> bool:
        header = self._header(op, nonce, signature, _tolerance([lane]), confirm=True)
        return bool(self._run(self._base(lane.key), [*header, *arguments])[0] == "OK")

    def _call(
        self, lane: LaneLimits, op: str, signature: str, nonce: str, arguments: tuple[Argument, ...]
    ) -> list[str]:
        """Run an operation on the lane's limits; ask again with better days, or once a step of the clock is certain."""
        tolerance = _tolerance([lane])
        confirm, tries = False, 0
        while True:
            header = self._header(op, nonce, signature, tolerance, confirm=confirm)
            limits = self._late(lane, _limit_arguments(lane, self._server_now))
            answer = self._run(self._base(lane.key), [*header, *arguments, *limits])
            if answer[0] not in ("CLOCK", "DAY"):
                return answer
            tries += 1
            self._server_now = int(answer[1]) / 1e6
            if answer[0] == "CLOCK":
                confirm = tries >= _CLOCK_TRIES or _certain(answer, header, _us(self._monotonic()), tolerance)

    def _late(self, lane: LaneLimits, limits: tuple[Argument, ...]) -> Sequence[Argument]:
        """The limits with how much later than now this call's tokens are logged, where a pace varies by chance."""
        delays = [bucket.jitter * (bucket.limit.window or 0.0) for bucket in lane.limits]
        if not any(delays):
            return limits
        late = list(limits)
        late[_PER_LIMIT - 1 :: _PER_LIMIT] = [_us(delay * self._chance()) for delay in delays]
        return late

    def _run(self, base: str, arguments: Sequence[Argument]) -> list[str]:
        return fields_of(self._script(keys=[base], args=[tabbed(arguments)]))

    def _once(self, base: str, arguments: Sequence[Argument]) -> list[str]:
        pool = self._redis.connection_pool
        connection = pool.get_connection()
        try:
            connection.send_command("EVAL", self._source, 1, base, tabbed(arguments))  # type: ignore[no-untyped-call]
            return fields_of(connection.read_response())
        except BaseException:
            connection.disconnect()  # type: ignore[no-untyped-call]  # a late answer must not meet the next command
            raise
        finally:
            pool.release(connection)

    def _header(self, op: str, nonce: str, signature: str, tolerance: int, *, confirm: bool) -> list[Argument]:
        return [op, nonce, signature, self._host, _us(self._monotonic()), tolerance, int(confirm)]

    def _base(self, key: str) -> str:
        return f"{self._prefix}{{{key}}}"


def signature_of(lanes: Iterable[LaneLimits]) -> str:
    """A short name for a key's whole set of limits, guards and reserves: state kept under another set is not used."""
    parts = sorted(
        f"{lane.lane_class}|{lane.name_of(bucket)}|{bucket.guard}|{bucket.reserve}"
        for lane in lanes
        for bucket in lane.limits
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def host_id() -> str:
    """The kernel's boot id, which processes with one monotonic clock share; elsewhere a name for this process alone."""
    return boot_id() or uuid4().hex


def check_server(redis: Redis) -> None:
    """Raise UnsuitableServer if `redis` is a cluster: a key's limits must be checked in one place, in one step."""
    info = redis.info("cluster")
    if int(info.get("cluster_enabled", 0)):
        raise UnsuitableServer(
            "broker.url names a Redis Cluster, which cannot keep limits: use one Redis or Valkey server, or Sentinel."
        )


def tabbed(fields: Iterable[Argument]) -> str:
    """Fields as the script takes them."""
    return "".join(f"{field}\t" for field in fields)


def fields_of(answer: Any) -> list[str]:
    """Fields of the script's answer, whether or not the client decodes."""
    return (answer.decode() if isinstance(answer, bytes) else str(answer)).split("\t")


def _level(row: list[str]) -> Level:
    used, used_rest, room_high, room_rest = map(int, row[1:5])
    return Level(row[0], used, used_rest, room_high, room_rest, _seconds(row[5]), _seconds(row[6]))


def _us(seconds: float) -> int:
    return round(seconds * 1e6)


def _seconds(us: str) -> float:
    return math.inf if us == _FOREVER else int(us) / 1e6


def _tolerance(lanes: Sequence[LaneLimits]) -> int:
    """How far the server's clock may run ahead of ours unnoticed: a fifth of the smallest guard (docs/limits.md)."""
    return _us(min(bucket.guard for lane in lanes for bucket in lane.limits) / 5)


def _certain(answer: Sequence[str], header: Sequence[Argument], after: int, tolerance: int) -> bool:
    """Whether a CLOCK answer means what it says: its doubt may come from the time the command was on its way."""
    server_now, anchor, before = int(answer[1]), answer[2], int(header[4])
    if not anchor:
        return after - before <= tolerance
    return server_now - after > int(anchor)  # more than the anchor although the server was read before this clock


@lru_cache(maxsize=4096)
def _limit_arguments(lane: LaneLimits, server_now: float) -> tuple[Argument, ...]:
    arguments: list[Argument] = []
    for bucket in lane.limits:
        days = (0.0, 0.0, 0.0, 0.0) if bucket.limit.zone is None else day_bounds(server_now, bucket.limit.zone)
        numbers = (bucket.limit.count, bucket.reserve, _us(bucket.span), _us(bucket.guard))
        arguments += [lane.name_of(bucket), *numbers, *map(_us, days), 0]
    return tuple(arguments)
