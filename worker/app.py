"""The Celery application and the composition root: `python -m celery -A worker.app worker|beat|flower`.

Reads the configuration, once; everything else is given values.
"""

import functools
import os
import sys
from dataclasses import replace
from typing import Any

import structlog
from celery import Celery, signals
from redis.exceptions import RedisError
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from config.celery import celery_settings, forget_environment
from config.logging import configure
from config.settings import Settings, load
from paceline import Client, wire
from paceline.broker import redis_client
from paceline.connection import celery_transport_options, celery_url
from paceline.database import engine
from paceline.errors import PacelineError
from paceline.explain import explain
from paceline.wakeup import FAILURES, KombuPublisher
from worker import schema
from worker.careful import CarefulTask
from worker.downloads import Downloads
from worker.hooks.callbacks import Callbacks
from worker.lanes.topology import Sender, Topology, build
from worker.limits import UnsuitableServer, check_server
from worker.notify import Relay, Target
from worker.planning import by_index
from worker.retention import Ages, Retention
from worker.service import Service
from worker.watch.flower import MessageRows, flower_environment

SANDBOX = "PACELINE_SANDBOX"  # set: every account points at the sandbox
TASKS = ("tasks.pump", "tasks.tick", "tasks.sweep", "tasks.broadcast", "tasks.purge", "tasks.enqueue")

log = structlog.get_logger("paceline.app")


def topology_of(settings: Settings) -> Topology:
    """The lanes and senders that these settings describe."""
    key_of = {name: key.name for key in settings.keys.values() for name in key.accounts}
    senders = [
        Sender(
            account=each.account,
            provider=each.provider,
            capabilities=each.capabilities,
            key=key_of[each.name],
            fingerprint=each.key_fingerprint,
            timeout=each.timeout,
            on_unknown=each.on_unknown,
            retry_schedule=each.retry_schedule,
            poll_schedule=each.poll_schedule,
            give_up_after=each.give_up_after,
        )
        for each in settings.accounts.values()
    ]
    return build(
        senders,
        limits={key.name: key.limits for key in settings.keys.values()},
        paces={key.name: key.paces for key in settings.keys.values()},
        reserves={key.name: key.reserve for key in settings.keys.values()},
        routes=settings.routes,
        guard=settings.limiter.guard,
    )


def make_app(settings: Settings, installation: str) -> Celery:
    """The Celery application of an installation."""
    made = Celery("paceline", broker=celery_url(settings.connection), include=TASKS, task_cls=CarefulTask)
    made.conf.update(celery_settings(settings, installation))
    return made


def make_service(settings: Settings, installation: str, celery: Celery, hostname: str) -> Service:
    """What one worker process runs with."""
    topology = topology_of(settings)
    opened = by_index(engine(settings.connection))
    schema.publish(opened, topology)
    redis = redis_client(settings.connection)
    check_server(redis)
    return Service(
        opened,
        redis,
        installation,
        topology,
        client=client_of(settings),
        in_flight=settings.worker.in_flight,
        wake=functools.partial(_wake, celery, installation),
        rows=MessageRows(celery, hostname, _share(settings.flower.rows_per_second, settings.worker.processes)),
        relay=Relay(opened, target_of(settings)),
        retention=retention_of(settings, opened, topology),
        callbacks=Callbacks.of(opened, settings.callback_url),
        downloads=Downloads(settings.connection.root / settings.worker.downloads),
        in_hand=settings.connection.root / settings.worker.in_hand,
    )


def retention_of(settings: Settings, engine: Engine, topology: Topology) -> Retention:
    """What forgets the old."""
    ages = Ages(**settings.retention.model_dump())
    return Retention(engine, topology, ages, told=settings.events.task is not None)


def target_of(settings: Settings) -> Target | None:
    """The application's task that is told of events, if there is one; on its own broker, or else ours."""
    events, at = settings.events, settings.connection
    if events.task is None:
        return None
    if events.broker is not None:
        at = replace(at, broker_url=events.broker.get_secret_value())
    return Target(events.task, events.queue, KombuPublisher(celery_url(at), celery_transport_options(at)))


def flower_settings(settings: Settings) -> dict[str, str]:
    """What Flower must be told, as its environment."""
    flower = settings.flower
    login = flower.basic_auth.get_secret_value() if flower.basic_auth else None
    return flower_environment(flower.bind.host, flower.bind.port, login, flower.rows_per_second)


def client_of(settings: Settings) -> Client:
    """A producer's client on the same database and broker."""
    at = settings.connection
    return Client(settings.file, database_url=at.database_url, broker_url=at.broker_url)


def service() -> Service:
    """This process' service, made when its worker starts."""
    if _running is None:
        raise RuntimeError("tasks run in a Celery worker; start one with `paceline worker`")
    return _running


def _share(rate: int, processes: int) -> int:
    return max(1, rate // processes) if rate else 0


def _wake(celery: Celery, installation: str) -> None:
    try:
        celery.send_task(wire.PUMP, queue=wire.pump_queue(installation), ignore_result=True, retry=False)
    except FAILURES as error:  # who asks may have requests on the wire; the next tick calls a slice
        log.warning("wake_up_lost", error=type(error).__name__)


@functools.cache
def composed() -> tuple[Settings, str, Celery]:
    """The settings in force, the installation's name and its Celery application, read and made once.

    Ends the process with a sentence if the configuration or the database cannot be used.
    """
    try:
        forget_environment(os.environ)
        settings = load(sandbox=bool(os.environ.get(SANDBOX)))
        configure()
        opened = engine(settings.connection)
        try:
            name = schema.installation(opened)
        finally:
            opened.dispose()
    except (PacelineError, SQLAlchemyError) as error:
        sys.exit(explain(error))
    for variable, value in flower_settings(settings).items():
        os.environ.setdefault(variable, value)  # a plain `celery flower` shows the messages too
    return settings, name, make_app(settings, name)


def __getattr__(name: str) -> Celery:
    # Celery and the tasks ask for `app`, and so compose it; those who want a function of this module compose nothing.
    if name == "app":
        return composed()[2]
    raise AttributeError(name)


_running: Service | None = None


# Seconds a thread may hold the interpreter while another waits for it: with Python's own 5 ms the thread that does HTTP
# waits long behind those that talk to the database.
SWITCH_INTERVAL = 0.0005


@signals.worker_init.connect
def _start(sender: Any = None, **_: Any) -> None:
    """Make the service; and none of Celery's chatter between workers, also for a plain `celery worker`."""
    global _running
    sys.setswitchinterval(SWITCH_INTERVAL)
    sender.options.update(without_gossip=True, without_mingle=True)
    settings, installation, app = composed()
    try:
        _running = make_service(settings, installation, app, sender.hostname)
    except UnsuitableServer as error:
        sys.exit(f"{error}")
    except (PacelineError, SQLAlchemyError, RedisError) as error:
        sys.exit(explain(error))
    except Exception as error:  # Celery would log it, and go on without a service
        log.exception("not_started")
        sys.exit(explain(error))


@signals.worker_shutting_down.connect
def _drain(**_: Any) -> None:
    """Claim nothing more: Celery waits for the slices, and they for what is on the wire."""
    if _running is not None:
        _running.pump.stop()


@signals.worker_shutdown.connect
def _stop(**_: Any) -> None:
    if _running is not None:
        _running.close()
