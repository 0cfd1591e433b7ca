"""Waiting for a job's end, and saying why it did not come."""

import time
from collections.abc import Callable
from typing import Any

from paceline.errors import CallFailed, CallTimeout
from paceline.views import JobStatus, JobView

FIRST_LOOK, GROWTH, LONGEST_PAUSE = 0.02, 1.5, 0.5  # seconds, what each is longer than the one before, seconds


def until_ended(
    look: Callable[[], JobView],
    timeout: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Any:
    """The job's result, once it is done; `look` tells where it stands. `timeout` in seconds.

    Raises `CallFailed` if it ended otherwise, `CallTimeout` if it did not end in time.
    """
    until, pause = monotonic() + timeout, FIRST_LOOK
    while True:
        view = look()
        if view.status.final:
            return outcome(view)
        left = until - monotonic()
        if left <= 0:
            raise CallTimeout(view.id, _late(view, timeout))
        sleep(min(pause, left))
        pause = min(pause * GROWTH, LONGEST_PAUSE)


def outcome(view: JobView) -> Any:
    """The result of a job that has ended; raises `CallFailed` unless it is done."""
    if view.status is not JobStatus.DONE:
        raise CallFailed(view.id, view.operation, str(view.status), view.reason)
    return view.result


def _late(view: JobView, timeout: float) -> str:
    why = view.waiting_for or view.status.meaning
    sentence = f"{view.account} did not answer {view.operation} within {timeout:g} s. {why}"
    if view.status is JobStatus.QUEUED and view.updated_at == view.created_at:
        return f"{sentence} No worker has asked yet: see that one runs, and what `paceline lanes` says."
    return f"{sentence} `paceline jobs show {view.id}` says how it goes on."
