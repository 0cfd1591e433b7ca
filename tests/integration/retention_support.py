"""Retention as the tests have it: the defaults but for what a test says."""

from config.settings import RetentionSettings
from tests.support.installation import Installation
from worker.retention import Ages, Retention


def made(built: Installation, *, told: bool = False, **ages: float) -> Retention:
    """Retention as it is by default, but for these ages, in seconds."""
    return Retention(built.engine, built.topology, Ages(**RetentionSettings().model_dump() | ages), told=told)


def purge(built: Installation, *, told: bool = False, **ages: float) -> dict[str, int]:
    """Purge; the kinds of which anything went, after a dry run has said the same."""
    retention = made(built, told=told, **ages)
    foreseen = retention.count()
    counts = retention.purge()
    events = foreseen.pop("events")  # also those that go with their message
    assert {name: count for name, count in counts.items() if name != "events"} == foreseen
    assert events >= counts["events"]
    return {name: count for name, count in counts.items() if count}


def left(built: Installation) -> dict[str, int]:
    """How many rows there are of each kind that has any."""
    names = ("message", "attempt", "event", "idempotency_key", "webhook", "job", "grant")
    counts = {name: built.rows(f"SELECT count(*) AS n FROM paceline_{name}")[0]["n"] for name in names}
    return {name: count for name, count in counts.items() if count}
