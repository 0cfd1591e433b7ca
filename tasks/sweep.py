"""`paceline.sweep`: every few seconds, what time does to messages."""

from paceline import wire
from worker.app import app, service


@app.task(name=wire.SWEEP, ignore_result=True)
def sweep() -> dict[str, int]:
    """End leases, expire, give up."""
    return service().sweep()
