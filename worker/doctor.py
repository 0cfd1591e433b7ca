"""What may be wrong with an installation, and what to do about it. Looks, and changes nothing."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from paceline import tables
from paceline.clock import now
from paceline.database import read
from paceline.directory import check_version
from paceline.errors import PacelineError
from paceline.explain import explain
from worker.lanes_view import LaneView
from worker.limits import UnsuitableServer, check_server
from worker.topology import Topology

APART = 2.0  # seconds between two clocks that are worth a word; nothing breaks, but times mislead
NEARLY_FULL = 0.8  # of the broker's memory


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `ok`, or not, and then `advice` says what to do."""

    subject: str
    ok: bool
    found: str
    advice: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"subject": self.subject, "ok": self.ok, "found": self.found, "advice": self.advice}


def database(engine: Engine, wall: Callable[[], float] = time.time) -> Iterator[Finding]:
    """That it answers, stands at our version, and agrees with this host about the time."""
    try:
        with read(engine) as connection:
            check_version(connection)
            before = wall()
            ahead = (connection.scalar(select(now())) or 0.0) - (before + wall()) / 2
            server = ".".join(map(str, connection.dialect.server_version_info or ()))
    except (SQLAlchemyError, PacelineError) as error:
        yield Finding("database", ok=False, found="cannot be used", advice=explain(error))
        return
    yield Finding("database", ok=True, found=f"{engine.dialect.name} {server}, version {tables.SCHEMA_VERSION}")
    yield _clock("database's clock", ahead)


def broker(redis: Redis, wall: Callable[[], float] = time.time) -> Iterator[Finding]:
    """That it answers, is no cluster, evicts nothing, has memory left, and agrees with this host about the time."""
    try:
        check_server(redis)
        info = redis.info()
        before = wall()
        seconds, micro = redis.time()
        ahead = seconds + micro / 1e6 - (before + wall()) / 2
    except UnsuitableServer as error:
        yield Finding("broker", ok=False, found="cannot keep limits", advice=str(error))
        return
    except RedisError as error:
        yield Finding("broker", ok=False, found="cannot be used", advice=explain(error))
        return
    name, version = ("Valkey", info["valkey_version"]) if "valkey_version" in info else ("Redis", info["redis_version"])
    yield Finding("broker", ok=True, found=f"{name} {version}, {info['used_memory_human']} in use")
    yield _eviction(info)
    yield _memory(info)
    yield _clock("broker's clock", ahead)


def lanes(views: list[LaneView], topology: Topology, published: set[str]) -> Iterator[Finding]:
    """That every account is published, and no lane is closed until somebody opens it; and what waits for a verdict."""
    for name in topology.senders:
        here = name in published
        found = "published" if here else "not published"
        yield Finding(f"account {name}", here, found, "" if here else "run `paceline migrate`, which publishes it")
    for view in views:
        if not view.open and view.closed_until is None:
            advice = f"mend what it says, then run `paceline open {view.lane}`"
            yield Finding(f"lane {view.lane}", ok=False, found=f"closed: {view.closed_reason}", advice=advice)
        if view.unknown:
            advice = "`paceline list --status unknown` shows them; `paceline resolve ID --as …` settles one"
            yield Finding(f"lane {view.lane}", ok=True, found=f"{view.unknown} messages are unknown", advice=advice)


def _eviction(info: dict[str, Any]) -> Finding:
    policy = str(info.get("maxmemory_policy", "noeviction"))
    advice = "set maxmemory-policy noeviction: a lost token log is read back from the database, but a queue is not"
    return Finding("broker's eviction", policy == "noeviction", policy, "" if policy == "noeviction" else advice)


def _memory(info: dict[str, Any]) -> Finding:
    most = int(info.get("maxmemory", 0))
    share = int(info["used_memory"]) / most if most else 0.0
    found = f"{share:.0%} of maxmemory" if most else "no maxmemory"
    full = share > NEARLY_FULL
    return Finding("broker's memory", not full, found, "raise maxmemory, or find who else fills it" if full else "")


def _clock(subject: str, ahead: float) -> Finding:
    fine = abs(ahead) <= APART
    found = f"{abs(ahead):.2f} s {'ahead of' if ahead > 0 else 'behind'} this host's"
    return Finding(subject, fine, found, "" if fine else "synchronise both hosts with NTP")
