"""What befalls an installation under siege: each blow by its name, and how many of each a siege deals."""

import time
from collections.abc import Callable, Mapping

from celery import Celery
from redis.exceptions import RedisError

from config.settings import load
from paceline import wire
from paceline.wakeup import FAILURES
from tests.chaos.servers import FAKETIME, PostgreSQL
from tests.chaos.world import GUARD, LEASE, SANDBOX, STORM_WAIT, WINDOW, World
from worker.app import make_app

Blow = Callable[[World], None]
HOURS = (-5, -1, 1, 3)  # by which a clock is turned
AWAY = {"a while": 6.0, "minutes": 120.0}  # seconds for which the broker is gone


def blows() -> Mapping[str, Blow]:
    """Every blow there is, by name."""
    return {
        "kill worker": lambda world: world.kill("worker"),
        "kill beat": lambda world: world.kill("beat"),
        "kill hooks": lambda world: world.kill("hooks"),
        "stop": lambda world: world.put_to_sleep(LEASE + 2.0),
        "pause": lambda world: world.put_to_sleep(world.chance.uniform(0.3, 2.0)),
        "flush": _flush,
        "old file": _old_file,
        "broker away": lambda world: _away(world, "a while"),
        "broker away for minutes": lambda world: _away(world, "minutes"),
        "database": _database,
        "storm": _storm,
        "webhooks": _webhooks,
        "duplicates": _duplicates,
        "broker's clock": _brokers_clock,
        "database's clock": _databases_clock,
        "worker's clock": lambda world: world.turn("worker", world.chance.choice(HOURS) * 3600),
        "beat's clock": lambda world: world.turn("beat", world.chance.choice(HOURS) * 3600),
    }


def _flush(world: World) -> None:
    world.built.redis.flushall()


def _old_file(world: World) -> None:
    """The broker dies and comes back with what it knew when this last happened."""
    world.valkey.kill()
    world.valkey.revive()
    world.valkey.keep()


def _away(world: World, how_long: str) -> None:
    world.valkey.kill()
    time.sleep(AWAY[how_long])  # the fault itself
    world.valkey.start()


def _database(world: World) -> None:
    """PostgreSQL dies or drops everybody; of SQLite another writer has the lock, now and then for too long."""
    if isinstance(world.database, PostgreSQL):
        world.chance.choice((world.database.restart, world.database.cut))()
    else:
        world.database.hold(world.chance.choice((1.0, 3.0, 6.0, 17.0)))


def _storm(world: World) -> None:
    """Some answers of one provider are lost, late, broken, or refusals."""
    faults = (
        {"kind": "close", "accept": True, "count": 2},
        {"kind": "close", "accept": False, "count": 1},
        {"kind": "drop", "count": 1},
        {"kind": "half", "accept": True, "count": 1},
        {"kind": "silence", "accept": True, "count": 1},
        {"kind": "refuse", "count": 2},
        {"kind": "status", "status": 503, "count": 3},
        {"kind": "status", "status": 503, "retry_after": 2, "count": 2},
        {"kind": "status", "status": 429, "retry_after": STORM_WAIT, "retry_after_form": "http-date", "count": 3},
        {"kind": "status", "status": 429, "retry_after": STORM_WAIT, "count": 2},
        {"kind": "delay", "seconds": 1.5, "count": 10},
        {"kind": "delay", "seconds": 6.0, "count": 2},
    )
    fault = dict(world.chance.choice(faults))
    world.resets += int(str(fault["count"])) * (fault["kind"] == "refuse")
    world.sandbox.fault(world.chance.choice(list(SANDBOX.values())), str(fault.pop("kind")), **fault)


def _webhooks(world: World) -> None:
    """Some webhooks come twice, in another order, or late."""
    for provider in SANDBOX.values():
        world.sandbox.fault(provider, "webhook_duplicate", copies=3, count=20)
        world.sandbox.fault(provider, "webhook_reorder", hold=2.0, count=20)
        world.sandbox.fault(provider, "webhook_delay", seconds=3.0, count=10, skip=20)


def _duplicates(world: World) -> None:
    """Celery delivers what nobody asked for, several times."""
    settings = load(world.built.settings_file)
    celery: Celery = make_app(settings, world.built.name)
    try:
        for name, queue in (
            (wire.PUMP, wire.pump_queue),
            (wire.TICK, wire.system_queue),
            (wire.SWEEP, wire.system_queue),
        ):
            for _ in range(5):
                celery.send_task(name, queue=queue(world.built.name), ignore_result=True, retry=False)
    except FAILURES:
        pass  # nothing is promised of a broker that is busy dying
    finally:
        celery.close()


def _brokers_clock(world: World) -> None:
    """The broker's wall clock is turned by hours, there or back."""
    if FAKETIME is not None:
        world.valkey.clock.turn(world.chance.choice(HOURS) * 3600)


def _databases_clock(world: World) -> None:
    """PostgreSQL's wall clock is turned on by hours: all leases end, all waits are over.

    Not back: what waits would wait for hours. And neither a window before nor after Redis loses what it knows, which is
    filled from the ledger by that clock: both together are more than is promised.
    """
    if FAKETIME is not None and isinstance(world.database, PostgreSQL):
        time.sleep(WINDOW + GUARD)
        world.hold()
        world.database.clock.turn(max(HOURS) * 3600)
        world.hold()
        time.sleep(WINDOW + GUARD)


def strike(world: World, name: str) -> None:
    """Deal one blow. What it finds dying already it leaves alone."""
    world.dealt.append((time.monotonic(), name))
    try:
        blows()[name](world)
    except RedisError:
        world.refused += 1
