"""Tasks of a worker that strangers may call: the queue of `paceline.enqueue` is open to every Celery client.

Celery rejects a call of the wrong form, but lets some of them end the worker, and puts them back into the queue for the
next one: a body of two members, headers without an id, a time limit that is none. Here each of them is rejected.
"""

from collections.abc import Callable
from typing import Any

from celery import Task
from celery.exceptions import InvalidTaskError
from celery.worker import strategy

# What Celery stumbles over in a call's form. What its connection raises is none of these, and goes on its way.
_STUMBLED = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)


class CarefulTask(Task):  # type: ignore[misc]  # Celery ships no types
    """A task that no call of a wrong form ends its worker with."""

    abstract = True
    Strategy = f"{__name__}:careful"


def careful(task: Task, app: Any, consumer: Any, **options: Any) -> Callable[..., None]:
    """Celery's own strategy, which rejects what cannot be made a request of, whatever is wrong with it."""
    handle = strategy.default(task, app, consumer, **options)

    def handler(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **more: Any) -> None:
        try:
            handle(message, body, ack, reject, callbacks, **more)
        except _STUMBLED as error:
            raise InvalidTaskError(f"its form is not a call's ({type(error).__name__})") from None

    return handler
