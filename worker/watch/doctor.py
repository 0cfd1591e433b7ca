"""What may be wrong with an installation, and what to do about it. Looks, and changes nothing."""

import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any, cast

from packaging.specifiers import SpecifierSet
from redis import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from paceline import tables
from paceline.clock import now
from paceline.content import SAID, key_ids, keyring_of
from paceline.database import read
from paceline.directory import check_present, check_version
from paceline.errors import ContentLocked, PacelineError
from paceline.explain import explain
from worker.lanes.topology import Topology
from worker.limits import UnsuitableServer, check_server
from worker.watch.lanes import LaneView

APART = 2.0  # seconds between two clocks that are worth a word; nothing breaks, but times mislead
NEARLY_FULL = 0.8  # of the broker's memory


# What the service was tried with; other versions of these have changed under us before.
SUPPORTED = {"celery": ">=5.7,<5.8", "kombu": ">=5.7", "redis": ">=6.4,<9"}
PYTHON = ">=3.11"


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


def software(version_of: Callable[[str], str] = metadata.version) -> Iterator[Finding]:
    """That Python and the libraries on which limits and delivery rest are of versions that were tried."""
    versions = {"python": platform.python_version()} | {name: version_of(name) for name in SUPPORTED}
    wrong = {
        name: rule
        for name, rule in {"python": PYTHON, **SUPPORTED}.items()
        if not SpecifierSet(rule).contains(versions[name], prereleases=True)
    }
    found = ", ".join(f"{name} {version}" for name, version in versions.items())
    advice = "install " + ", ".join(f"{name}{rule}" for name, rule in wrong.items()) if wrong else ""
    yield Finding("software", not wrong, found, advice)


def database(engine: Engine, wall: Callable[[], float] = time.time) -> Iterator[Finding]:
    """That it answers, stands at our version, and agrees with this host about the time."""
    try:
        check_present(engine.url.render_as_string(hide_password=False))
        with read(engine) as connection:
            check_version(connection)
            before = wall()
            theirs, after = connection.scalar(select(now())) or 0.0, wall()
            server = ".".join(map(str, connection.dialect.server_version_info or ()))
    except (SQLAlchemyError, PacelineError) as error:
        yield Finding("database", ok=False, found="cannot be used", advice=explain(error))
        return
    yield Finding("database", ok=True, found=f"{engine.dialect.name} {server}, version {tables.SCHEMA_VERSION}")
    yield _clock("database's clock", theirs, before, after)


def content(engine: Engine) -> Iterator[Finding]:
    """Whether recipients and bodies are encrypted, and that every key is here that they may be encrypted under."""
    with read(engine) as connection:
        said, keys = connection.scalar(select(SAID)) or "", keyring_of(connection)
        try:
            keys.check(said)
        except ContentLocked as locked:
            yield Finding("content", ok=False, found="cannot be read or written", advice=str(locked))
            return
    known = key_ids(said)
    if not known:
        yield Finding("content", ok=True, found="in the clear")
        return
    old = f"; {', '.join(known[1:])} for what is older" if known[1:] else ""
    yield Finding("content", ok=True, found=f"encrypted under the key {known[0]}{old}")


def events(redis: Redis, task: str) -> Iterator[Finding]:
    """That the broker of the application's task answers, where it is another than ours."""
    subject = f"events to {task}"
    try:
        redis.ping()
    except RedisError as error:
        advice = f"{explain(error)}; events wait in the database until it answers"
        yield Finding(subject, ok=False, found="its broker (events.broker) cannot be used", advice=advice)
        return
    yield Finding(subject, ok=True, found="its broker (events.broker) answers")


def broker(redis: Redis, wall: Callable[[], float] = time.time) -> Iterator[Finding]:
    """That it answers, is no cluster, evicts nothing, has memory left, takes writes, and agrees about the time."""
    try:
        check_server(redis)
        info = redis.info()
        before = wall()
        (seconds, micro), after = redis.time(), wall()
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
    yield _persistence(redis, info)
    yield _clock("broker's clock", seconds + micro / 1e6, before, after)


def lanes(views: list[LaneView], topology: Topology, published: set[str]) -> Iterator[Finding]:
    """That every account is published, and no lane is closed until somebody opens it; and what waits for a verdict."""
    for name in topology.senders:
        here = name in published
        found = "published" if here else "not published"
        yield Finding(f"account {name}", here, found, "" if here else "run `paceline migrate`, which publishes it")
    for view in views:
        if view.unready:
            advice = "its provider is asked until it says that it can; look at the account there"
            yield Finding(f"lane {view.lane}", ok=False, found=f"not ready: {view.closed_reason}", advice=advice)
        elif not view.open and view.closed_until is None:
            advice = f"mend what it says, then run `paceline open {view.lane}`"
            yield Finding(f"lane {view.lane}", ok=False, found=f"closed: {view.closed_reason}", advice=advice)
        if view.unknown:
            advice = (
                "`paceline list` or `jobs list --status unknown` shows them; `paceline resolve ID --as …` settles one"
            )
            found = f"{view.unknown} messages or jobs are unknown"
            yield Finding(f"lane {view.lane}", ok=True, found=found, advice=advice)


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


def _persistence(redis: Redis, info: dict[str, Any]) -> Finding:
    """Nothing in the broker must outlive it; but what fails to be saved may keep it from taking writes."""
    kept = [name for name, on in (("RDB", _saves(redis)), ("AOF", bool(info.get("aof_enabled")))) if on]
    failed = [name for name in ("rdb_last_bgsave_status", "aof_last_write_status") if info.get(name, "ok") != "ok"]
    if failed:
        advice = "free its disk or switch persistence off: a broker that cannot save refuses writes"
        return Finding("broker's persistence", ok=False, found=f"{', '.join(failed)} is not ok", advice=advice)
    advice = "Paceline needs none: it only costs forks and disk" if kept else ""
    return Finding("broker's persistence", ok=True, found=" and ".join(kept) or "none", advice=advice)


def _saves(redis: Redis) -> bool:
    try:
        found = cast("dict[str, str]", redis.config_get("save"))
    except ResponseError:  # hosted ones keep their configuration to themselves
        return False
    return bool(found.get("save", ""))


def _clock(subject: str, theirs: float, before: float, after: float) -> Finding:
    """What it said at some moment between these two of ours: that a host is slow to ask is no fault of a clock."""
    ahead = theirs - (before + after) / 2
    fine = abs(ahead) <= APART + (after - before) / 2
    found = f"{abs(ahead):.2f} s {'ahead of' if ahead > 0 else 'behind'} this host's"
    return Finding(subject, fine, found, "" if fine else "synchronise both hosts with NTP")
