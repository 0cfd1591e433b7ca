"""`paceline worker`, `beat`, `hooks`, `flower` and `sandbox`: one part of the service each."""

import os
from pathlib import Path

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from config.logging import configure
from config.settings import Settings, load
from paceline.broker import redis_client
from paceline.connection import private_directory
from paceline.errors import DatabaseNotReady
from worker import embedded, schema
from worker.app import make_app, topology_of
from worker.commands import children, readiness
from worker.commands.context import check_broker, database, settings_of
from worker.commands.serving import check_addresses, private, public, serve
from worker.commands.supervisor import Child, Supervisor
from worker.hooks.app import make_hooks
from worker.hooks.callbacks import Callbacks
from worker.watch.counters import Tally
from worker.watch.metrics import Metrics
from worker.watch.metrics_app import counting, make_metrics

PATIENCE = 30.0  # seconds that a starting process waits for the database and the broker
SCRAPE = {"socket_timeout": 1.5, "socket_connect_timeout": 1.5}  # seconds for the broker's answer to a scrape


def worker(config: Path | None, *, sandbox: bool) -> None:
    """Run and supervise the worker processes until a signal asks to stop."""
    settings = settings_of(config, sandbox=sandbox)
    installation = wait_for_others(settings)
    with Supervisor() as supervisor:
        for child in children.workers(settings, sandbox=sandbox):
            supervisor.start(child)
        app = make_app(settings, installation)
        if readiness.wait(supervisor, [readiness.workers(app, children.nodes(settings))]):
            supervisor.ready()
            while not supervisor.asked:
                supervisor.turn(60.0)


def beat(config: Path | None, *, sandbox: bool) -> None:
    """Become the clock."""
    settings = settings_of(config, sandbox=sandbox)
    wait_for_others(settings)
    _become(children.beat(settings, sandbox=sandbox))


def flower(config: Path | None, *, sandbox: bool) -> None:
    """Become Flower."""
    settings = settings_of(config, sandbox=sandbox)
    wait_for_others(settings)
    _become(children.flower(settings, sandbox=sandbox))


def hooks(config: Path | None, *, sandbox: bool) -> None:
    """Receive webhooks, and answer scrapes on an address of their own, until a signal asks to stop."""
    settings = settings_of(config, sandbox=sandbox)
    configure()
    addresses = settings.hooks
    check_addresses(settings.file, {"hooks.bind": addresses.bind, "hooks.metrics_bind": addresses.metrics_bind})
    topology, tally = topology_of(settings), Tally()
    with database(settings) as engine:
        schema.check_content(engine)
        callbacks, answered = Callbacks.of(engine, settings.callback_url), counting(topology.senders, tally)
        served = [public(make_hooks(engine, topology, callbacks, answered), addresses.bind)]
        if addresses.metrics_bind is not None:
            redis = redis_client(settings.connection, **SCRAPE)
            metrics = Metrics(engine, redis, schema.installation(engine), topology, lambda: tally.counts)
            served.append(private(make_metrics(metrics), addresses.metrics_bind))
        serve(served)


def sandbox(config: Path | None) -> None:
    """Become the sandbox."""
    settings = load(config, sandbox=True)
    private_directory(settings.connection.root / ".paceline")
    _become(children.sandbox_(settings))


def wait_for_others(settings: Settings) -> str:
    """Return the installation's name once the database and the broker answer, which may start beside us.

    Raises what keeps them from it after 30 seconds, and at once what waiting does not change.
    """
    embedded.check_running(settings.connection)
    retrying = Retrying(
        retry=retry_if_exception_type((SQLAlchemyError, RedisError, DatabaseNotReady)),
        wait=wait_random_exponential(multiplier=0.2, max=2),
        stop=stop_after_delay(PATIENCE),
        reraise=True,
    )
    return retrying(_others, settings)


def _others(settings: Settings) -> str:
    redis = redis_client(settings.connection)
    try:
        check_broker(redis)
        with database(settings) as engine:
            return schema.installation(engine)
    finally:
        redis.close()


def _become(child: Child) -> None:
    """Go on as this process: signals reach it, and what supervises us sees how it ends."""
    os.chdir(child.directory)
    os.execve(child.command[0], list(child.command), dict(child.environment))  # noqa: S606  # a command of ours
