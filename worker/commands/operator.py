"""`paceline retry`, `resolve`, `open` and `close`: what an operator does by hand."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from redis.exceptions import RedisError
from sqlalchemy import Engine, select

from config.settings import Settings
from paceline import wire
from paceline.broker import redis_client
from paceline.database import read
from paceline.errors import BrokerNotReady
from paceline.wakeup import open_waker
from worker import operate, schema
from worker.app import topology_of
from worker.commands.context import database, say, settings_of
from worker.lanes.topology import Lane
from worker.limits import Limiter
from worker.statements import key_row

Tell = Callable[[Limiter, Lane, str], object]


def retry(config: Path | None, message_id: str, *, sandbox: bool) -> None:
    """Queue a message again; the workers' next tick finds it."""
    with database(settings_of(config, sandbox=sandbox)) as engine:
        operate.retry(engine, message_id)
    say(f"{message_id} is queued again.")


def resolve(config: Path | None, message_id: str, verdict: str, *, sandbox: bool) -> None:
    """Settle an unknown message."""
    with database(settings_of(config, sandbox=sandbox)) as engine:
        operate.resolve(engine, message_id, verdict)
    say(f"{message_id} is {'queued again' if verdict == 'resend' else verdict}.")


def open_(config: Path | None, place: str, *, sandbox: bool) -> None:
    """Open a lane; or all lanes of an account, and its key."""
    settings = settings_of(config, sandbox=sandbox)
    lanes, whole_key = operate.lanes_named(topology_of(settings), place), "/" not in place
    with database(settings) as engine:
        operate.open_(engine, lanes, whole_key=whole_key)

        def tell(limiter: Limiter, lane: Lane, nonce: str) -> None:
            limiter.open(lane.limits, signature=lane.signature, nonce=nonce)
            if whole_key:
                limiter.open(lane.limits, signature=lane.signature, nonce=nonce, whole_key=True)

        _tell(settings, engine, lanes, tell)
        _wake(settings, engine, lanes)
        say(f"Open: {_names(lanes)}.")
        reason = _key_closed(engine, lanes[0].key)
        if reason is not None:
            say(f"Their key is still closed ({reason}), so nothing leaves; `paceline open {lanes[0].key}` opens it.")


def close(config: Path | None, place: str, *, sandbox: bool) -> None:
    """Close a lane, or a whole key, until it is opened again."""
    settings = settings_of(config, sandbox=sandbox)
    lanes, whole_key = operate.lanes_named(topology_of(settings), place), "/" not in place
    with database(settings) as engine:
        operate.close(engine, lanes, whole_key=whole_key)

        def tell(limiter: Limiter, lane: Lane, nonce: str) -> None:
            limiter.close(
                lane.limits,
                None,
                operate.CLOSED_BY_HAND,
                signature=lane.signature,
                nonce=nonce,
                whole_key=whole_key,
                force=True,
            )

        _tell(settings, engine, lanes, tell)
    say(f"Closed until `paceline open {place}`: {_names(lanes)}.")


def _tell(settings: Settings, engine: Engine, lanes: Sequence[Lane], tell: Tell) -> None:
    """Tell the limiter too. One that has no valid state answers False: it will be seeded from the database."""
    with read(engine) as connection:
        nonce = connection.scalar(select(key_row.c.nonce).where(key_row.c.name == lanes[0].key)) or ""
    with closing(redis_client(settings.connection)) as redis:
        limiter = Limiter(redis, wire.limiter_prefix(schema.installation(engine)))
        try:
            for lane in lanes:
                tell(limiter, lane, nonce)
        except RedisError:
            raise BrokerNotReady(
                "It stands in the database, but the broker does not answer and still knows the old state: repeat this "
                "command when the broker is back, unless it lost its data meanwhile."
            ) from None


def _wake(settings: Settings, engine: Engine, lanes: Sequence[Lane]) -> None:
    with closing(open_waker(settings.connection, schema.installation(engine))) as waker:
        waker.wake([lane.name for lane in lanes], high=True)  # as for `high`, a lane that is filed for later is due now


def _key_closed(engine: Engine, key: str) -> str | None:
    with read(engine) as connection:
        reason: str | None = connection.scalar(select(key_row.c.closed_reason).where(key_row.c.name == key))
    return reason


def _names(lanes: Sequence[Lane]) -> str:
    return ", ".join(lane.name for lane in lanes)
