"""`paceline.enqueue`: a message that came through the broker becomes a row. Until then nothing is promised."""

from collections.abc import Mapping
from typing import Any

from celery.worker.request import Request

from paceline import wire
from worker import intake
from worker.app import app, service


class BlankRequest(Request):
    """Shows Flower and the logs neither arguments nor keyword arguments: here alone they hold recipients."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._argsrepr = self._kwargsrepr = "(…)"


@app.task(name=wire.ENQUEUE, ignore_result=True, Request=f"{__name__}:{BlankRequest.__name__}")
def enqueue(message: Mapping[str, Any], via: str, idempotency_key: str, **extras: Any) -> str | None:
    """Store the message; its id."""
    return intake.store(service().client, message, via, idempotency_key, **extras)
