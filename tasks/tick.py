"""`paceline.tick`: every second, what nobody announced is found."""

from paceline import wire
from worker.app import app, service


@app.task(name=wire.TICK, ignore_result=True)
def tick() -> dict[str, int]:
    """Stage what is due, refill the due set, call a slice."""
    return service().tick()
