"""`paceline.purge`: every night, what is old enough is forgotten."""

from paceline import wire
from worker.app import app, service


@app.task(name=wire.PURGE, ignore_result=True)
def purge() -> dict[str, int]:
    """Forget; the counts are what Flower shows of it."""
    return service().purge()
