"""Flower: every message as a row with a page of its own, and how Flower must be started to show it.

Flower shows what Celery's task events tell. Messages are not tasks, so their attempts are told as events of a task
that never runs, many in one broker message: Celery's dispatcher gathers the events of a group and publishes them as a
list, which Flower and every other event receiver take apart. A row holds ids, the lane, words and numbers of ours:
no recipient, content, credential or provider's answer.
"""

import contextlib
import math
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog
from celery import Celery
from redis.backoff import NoBackoff
from redis.retry import Retry

from paceline import wire
from paceline.status import Status

BACKLOG = 1000  # attempts that wait while the broker is away
BREAKER = 5.0  # seconds without another try after the broker could not be reached
TIMEOUT = 0.5  # seconds for connecting, and for one answer: the pump waits no longer for a row
ROWS_KEPT = 300  # seconds of rows that Flower holds at the full rate
FEWEST_ROWS, MOST_ROWS = 10_000, 100_000  # 100,000 is Flower's own default
COLUMNS = "uuid,args,state,result,received,runtime,retries,name,worker"  # of Flower's page of tasks

_SOON = {"socket_connect_timeout": TIMEOUT, "socket_timeout": TIMEOUT}

# Celery's event for the status that an attempt left its message in; every other status is a failure.
_EVENTS: dict[str, str] = {
    Status.QUEUED: "task-retried",
    Status.ACCEPTED: "task-succeeded",
    Status.SENT: "task-succeeded",
    Status.DELIVERED: "task-succeeded",
    Status.READ: "task-succeeded",
}

log = structlog.get_logger("paceline.flower")


class _Attempt(NamedTuple):
    message_id: str
    lane: str
    outcome: str
    attempt: int
    http_status: int | None
    started_at: float
    runtime: float
    event: str


class MessageRows:
    """Publishes attempts as Celery task events, so that Flower shows each message as a row. Thread-safe.

    `app` is the worker's Celery application, `hostname` its node name: Flower lists the rows under that worker. Of
    more than `rows_per_second` attempts a second (0: none) a sample is shown, the first ones that come; `skipped`
    counts the others. `clock` is monotonic seconds.
    """

    def __init__(
        self,
        app: Celery,
        hostname: str,
        rows_per_second: int = 200,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.skipped = 0
        self._app = app
        self._hostname = hostname
        self._rate = rows_per_second
        self._clock = clock
        self._tokens, self._refilled_at = float(rows_per_second), clock()
        self._waiting: list[_Attempt] = []
        self._noting = threading.Lock()
        self._publishing = threading.Lock()  # held while the connection is used
        self._closed_until = -math.inf  # later than that while the broker is away
        self._connection: Any = None
        self._dispatcher: Any = None

    def add(
        self,
        message_id: str,
        lane: str,
        outcome: str,
        *,
        attempt: int,
        started_at: float,
        runtime: float,
        final: str,
        http_status: int | None = None,
    ) -> None:
        """Note an attempt for the next `flush`, or skip it.

        `outcome` is our word for the answer, `final` the status that the message has now, `attempt` counts from 1.
        `started_at` is Unix seconds, `runtime` seconds.
        """
        with self._noting:
            if len(self._waiting) >= BACKLOG or not self._take_token():
                self.skipped += 1
                return
            event = _EVENTS.get(final, "task-failed")
            self._waiting.append(_Attempt(message_id, lane, outcome, attempt, http_status, started_at, runtime, event))

    def flush(self) -> None:
        """Publish everything noted, as one broker message. Where another thread is publishing, it takes these along.

        Raises nothing. A broker that is away costs the wait of one connection or answer (`TIMEOUT` each), then none for
        `BREAKER` seconds; attempts are kept meanwhile, up to `BACKLOG`.
        """
        # Looked at again after the release: an attempt noted meanwhile is left to nobody else.
        while self._waiting and self._open() and self._publishing.acquire(blocking=False):
            try:
                self._publish_waiting()
            finally:
                self._publishing.release()

    def close(self) -> None:
        """Publish what is left, and close the connection."""
        self.flush()
        with self._publishing:
            self._disconnect()

    def _take_token(self) -> bool:
        now = self._clock()
        self._tokens = min(self._rate, self._tokens + (now - self._refilled_at) * self._rate)
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _open(self) -> bool:
        return self._clock() >= self._closed_until

    def _publish_waiting(self) -> None:
        with self._noting:
            attempts, self._waiting = self._waiting, []
        try:
            self._publish(attempts)
        except Exception as error:  # whatever the broker's client raises: a row is not worth a message
            if self._closed_until == -math.inf:
                log.warning("flower_rows_wait", error=type(error).__name__)
            self._disconnect()
            self._closed_until = self._clock() + BREAKER
            with self._noting:
                self._waiting[:0] = attempts
        else:
            self._closed_until = -math.inf

    def _publish(self, attempts: list[_Attempt]) -> None:
        send = (self._dispatcher or self._connect()).send
        for each in attempts:
            # The events' own time is now: Celery takes a receiver's clock to be wrong if it is more than 16 s old.
            send(
                "task-received",
                uuid=each.message_id,
                name=wire.SEND,
                args=each.lane,
                kwargs=f"{{'attempt': {each.attempt}, 'http_status': {each.http_status}}}",
                retries=each.attempt - 1,
                received=each.started_at,
            )
            send("task-started", uuid=each.message_id, started=each.started_at)
            send(each.event, uuid=each.message_id, result=each.outcome, runtime=each.runtime)
        self._dispatcher.flush(errors=False)

    def _connect(self) -> Any:
        self._connection = self._app.connection_for_write(transport_options=self._options())
        self._dispatcher = self._app.events.Dispatcher(
            self._connection,
            hostname=self._hostname,
            buffer_while_offline=False,  # we keep what could not be published, and must hear of it
            buffer_group={"task"},
            buffer_limit=3 * 2 * BACKLOG + 1,  # never on its own
        )
        return self._dispatcher

    def _options(self) -> dict[str, Any]:
        """What replaces the application's own transport options: an answer soon or none, and a single try."""
        sentinels = self._app.conf.broker_transport_options.get("sentinel_kwargs") or {}
        return {
            **_SOON,
            "retry_on_timeout": False,
            "max_retries": 0,
            # Without a retry of our own, redis-py tries a sentinel that is away for seconds before it asks the next.
            "sentinel_kwargs": {**sentinels, **_SOON, "retry": Retry(NoBackoff(), 0)},
        }

    def _disconnect(self) -> None:
        connection, self._connection, self._dispatcher = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(Exception):  # it may be broken, and was not worth a message before either
                connection.close()


def flower_environment(host: str, port: int, basic_auth: str | None, rows_per_second: int) -> dict[str, str]:
    """The environment in which `celery flower` answers at this address and shows the rows.

    `basic_auth` is "user:password", or several with commas between. It is here and not among the arguments, where
    every user of the host could read it. Without it Flower lets any page in a browser on this host call its API, so
    the API is open for reading only.
    """
    kept = min(max(rows_per_second * ROWS_KEPT, FEWEST_ROWS), MOST_ROWS)
    common = {
        "FLOWER_ADDRESS": host,
        "FLOWER_PORT": str(port),
        "FLOWER_MAX_TASKS": str(kept),
        "FLOWER_TASKS_COLUMNS": COLUMNS,
        "FLOWER_PERSISTENT": "false",
    }
    if basic_auth:
        return common | {"FLOWER_BASIC_AUTH": basic_auth}
    return common | {"FLOWER_UNAUTHENTICATED_API": "true", "FLOWER_READ_ONLY": "true"}
