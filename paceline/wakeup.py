"""Wake-ups: telling the workers that a lane has something to send.

A wake-up may be lost at no cost but time: the workers' own tick finds within about a second what nobody announced.
That is why nothing here raises for a broker that is away, and why a producer without Celery installed still works:
it files the lanes and leaves the rest to the tick.
"""

import importlib
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from paceline import wire
from paceline.broker import celery_transport_options, celery_url, redis_client

if TYPE_CHECKING:
    from paceline.connection import Connection

try:
    kombu: Any = importlib.import_module("kombu")
    FAILURES: tuple[type[Exception], ...] = (
        RedisError,
        OSError,
        importlib.import_module("kombu.exceptions").OperationalError,
    )
except ImportError:  # the extra `celery` installs it
    kombu = None
    FAILURES = (RedisError, OSError)

CONNECT_TIMEOUT = 0.25  # seconds: nobody's enqueue waits longer for a broker that is away
ANSWER_TIMEOUT = 0.5  # seconds
REST = 5.0  # seconds without another try after a failure
FLAG = 1000  # milliseconds for which a wake-up counts as on its way

# KEYS: the due set (lanes by the Unix time at which they may next go), the wake-up flag.
# ARGV: how long the flag stands in milliseconds, 1 if something is of priority `high`, then the lanes.
# Answers 1 if no wake-up was on its way yet.
# A lane that is filed already has work waiting, and goes when its limits let it: more work does not change that, except
# that `high` may use what is reserved for it.
WAKE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
for i = 3, #ARGV do
  redis.call('ZADD', KEYS[1], ARGV[2] == '1' and 'LT' or 'NX', now, ARGV[i])
end
return redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[1]) and 1 or 0
"""


SHORT = {"socket_connect_timeout": CONNECT_TIMEOUT, "socket_timeout": ANSWER_TIMEOUT}


class Publisher(Protocol):
    """Puts one pump task on a queue of the broker."""

    def publish(self, queue: str) -> None:
        """Raises `OSError` or kombu's `OperationalError` if the broker is away."""
        ...

    def close(self) -> None:
        """Give the connection up."""
        ...


class Waker:
    """Wakes the workers of one installation. Thread-safe; `wake` never raises for broker trouble.

    `redis` needs short socket timeouts; `publisher` is None where Celery is not installed; `monotonic` is in seconds.
    """

    def __init__(
        self,
        redis: Redis,
        publisher: Publisher | None,
        installation: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._script = redis.register_script(WAKE)
        self._publisher = publisher
        self._installation = installation
        self._monotonic = monotonic
        self._quiet_until = float("-inf")

    def wake(self, lanes: Sequence[str], *, high: bool) -> bool:
        """File the lanes as due, and call a pump unless a call is on its way; True if the broker took it.

        After a failure the broker is left alone for five seconds.
        """
        if not lanes or self._monotonic() < self._quiet_until:
            return False
        try:
            self._wake(lanes, high)
        except FAILURES:
            self._quiet_until = self._monotonic() + REST
            return False
        return True

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
        if self._publisher is not None:
            self._publisher.close()

    def _wake(self, lanes: Sequence[str], high: bool) -> None:
        keys = [wire.due_key(self._installation), wire.wake_key(self._installation, high)]
        free = self._script(keys=keys, args=[FLAG, int(high), *lanes])
        if free and self._publisher is not None:
            queue = wire.high_queue if high else wire.pump_queue
            self._publisher.publish(queue(self._installation))


def open_waker(connection: "Connection", installation: str) -> Waker:
    """The waker of this broker. It connects when it first wakes; without Celery installed it only files lanes."""
    publisher = KombuPublisher(celery_url(connection), celery_transport_options(connection)) if kombu else None
    redis = redis_client(connection, retry=Retry(NoBackoff(), 0), **SHORT)
    return Waker(redis, publisher, installation)


class KombuPublisher:
    """Publishes calls of tasks in Celery's message protocol 2, without a Celery application of our own.

    `url` is the broker's, as kombu reads it. One connection, opened when first needed, used by one thread at a time.
    """

    def __init__(self, url: str, transport_options: dict[str, Any] | None = None) -> None:
        self._url = url
        self._options = {
            **(transport_options or {}),
            **SHORT,
            "max_retries": 0,
        }
        self._lock = threading.Lock()
        self._producer: Any = None

    def publish(self, queue: str, task: str = wire.PUMP, args: Sequence[Any] = ()) -> None:
        """Call the task. Its arguments are seen by whoever watches: names, ids and numbers, and nothing else."""
        call = str(uuid.uuid4())
        with self._lock:
            # After a failure kombu opens the connection again by itself, the next time it is asked.
            self._open().publish(
                [list(args), {}, {}],
                routing_key=queue,
                serializer="json",
                headers=_headers(call, task, args),
                correlation_id=call,
                retry=False,
            )

    def close(self) -> None:
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            producer.connection.release()

    def _open(self) -> Any:
        if self._producer is None:
            connection = kombu.Connection(
                self._url, connect_timeout=CONNECT_TIMEOUT, transport_options=dict(self._options)
            )
            self._producer = connection.Producer(auto_declare=False)
        return self._producer


def _headers(call: str, task: str, args: Sequence[Any]) -> dict[str, Any]:
    return {
        "lang": "py",
        "task": task,
        "id": call,
        "root_id": call,
        "parent_id": None,
        "group": None,
        "argsrepr": repr(tuple(args)),
        "kwargsrepr": "{}",
        "eta": None,
        "expires": None,
        "retries": 0,
        "timelimit": [None, None],
        "ignore_result": True,
    }
