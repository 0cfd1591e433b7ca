"""`paceline.broadcast`: every few seconds, what of broadcasts takes longer than a tick may."""

from paceline import wire
from worker.app import app, service


@app.task(name=wire.BROADCAST, ignore_result=True)
def broadcast() -> dict[str, int]:
    """Copy runs, end what was cancelled, count."""
    return service().broadcast()
