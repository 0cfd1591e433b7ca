"""`paceline.pump`: one slice of the pump. It carries no message and no argument; the database knows what to do."""

from paceline import wire
from worker.app import app, service


@app.task(name=wire.PUMP, ignore_result=True)
def pump() -> dict[str, int]:
    """Run a slice; the counts are what Flower shows of it."""
    return service().pump.run_slice()
