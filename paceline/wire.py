"""Names that cross the wire between producers, workers and Redis. A change of meaning gets a new name."""

from collections.abc import Sequence

PUMP = "paceline.pump"
TICK = "paceline.tick"
SWEEP = "paceline.sweep"
BROADCAST = "paceline.broadcast"
PURGE = "paceline.purge"
ENQUEUE = "paceline.enqueue"
SEND = "paceline.send"  # the name under which Flower shows messages; never executed

ENQUEUE_QUEUE = "paceline.enqueue"  # not prefixed, so that any Celery client reaches it


def pump_queue(installation: str) -> str:
    """The queue of wake-ups."""
    return f"paceline.{installation}.pump"


def high_queue(installation: str) -> str:
    """The queue of wake-ups for `high` messages."""
    return f"paceline.{installation}.high"


def system_queue(installation: str) -> str:
    """The queue of ticks, sweeps, broadcasts and purges."""
    return f"paceline.{installation}.system"


def queues(installation: str) -> Sequence[str]:
    """Every queue a worker listens to, the most urgent first."""
    return (high_queue(installation), pump_queue(installation), system_queue(installation), ENQUEUE_QUEUE)


def due_key(installation: str) -> str:
    """The Redis sorted set of lanes by the time they may next go."""
    return f"paceline:{installation}:due"


def wake_key(installation: str, high: bool) -> str:
    """The Redis flag that says a wake-up is already on its way."""
    return f"paceline:{installation}:wake:{'high' if high else 'any'}"


def limiter_prefix(installation: str) -> str:
    """What the limiter's Redis keys begin with."""
    return f"paceline:{installation}:limit"


def tick_key(installation: str) -> str:
    """The Redis flag of a tick that ran just now."""
    return f"paceline:{installation}:tick"


def counters_key(installation: str) -> str:
    """The Redis hash of what the workers have counted for metrics."""
    return f"paceline:{installation}:counters"


def purge_key(installation: str) -> str:
    """The Redis flag of a nightly purge that has begun."""
    return f"paceline:{installation}:purge"
