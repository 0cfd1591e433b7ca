"""Waiting for a job's end: as often as helps, no longer than asked, and with a sentence when it did not come."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from paceline import CallFailed, CallTimeout, JobStatus, JobView
from paceline.asking import LONGEST_PAUSE, until_ended

NOW = datetime(2026, 3, 1, tzinfo=UTC)
JOB = JobView(
    id="job-1",
    account="main",
    operation="profile",
    status=JobStatus.QUEUED,
    reason=None,
    waiting_for="It waits for its turn on lane main/profile.",
    step="",
    progress=None,
    result=None,
    idempotency_key=None,
    created_at=NOW,
    updated_at=NOW,
    expires_at=None,
)


class Clock:
    """Seconds that pass when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def wait(*views: JobView, timeout: float = 60.0) -> tuple[object, Clock]:
    """What comes of looking at these one after the other, the last one for ever."""
    clock, looks = Clock(), iter(views)
    last = views[-1]
    found = until_ended(lambda: next(looks, last), timeout, sleep=clock.sleep, monotonic=lambda: clock.now)
    return found, clock


def test_a_job_that_is_done_answers_at_once() -> None:
    found, clock = wait(replace(JOB, status=JobStatus.DONE, result=7))

    assert (found, clock.pauses) == (7, [])


def test_looks_grow_apart_to_half_a_second() -> None:
    found, clock = wait(*[JOB] * 30, replace(JOB, status=JobStatus.DONE))

    assert found is None
    assert clock.pauses[:3] == pytest.approx([0.02, 0.03, 0.045])
    assert max(clock.pauses) == LONGEST_PAUSE


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.UNKNOWN, JobStatus.CANCELLED])
def test_any_other_end_is_an_error_with_its_reason(status: JobStatus) -> None:
    with pytest.raises(CallFailed, match=f"profile ended {status}: not_found") as failed:
        wait(replace(JOB, status=status, reason="not_found"))

    assert (failed.value.job, failed.value.status, failed.value.reason) == ("job-1", status, "not_found")


def test_nobody_waits_longer_than_asked() -> None:
    clock = Clock()
    with pytest.raises(CallTimeout) as late:
        until_ended(lambda: JOB, 1.0, sleep=clock.sleep, monotonic=lambda: clock.now)

    assert clock.now == pytest.approx(1.0)
    assert late.value.job == "job-1"
    assert str(late.value) == (
        "main did not answer profile within 1 s. It waits for its turn on lane main/profile. "
        "No worker has asked yet: see that one runs, and what `paceline lanes` says."
    )


def test_of_a_job_that_has_begun_it_says_where_to_look() -> None:
    begun = replace(JOB, updated_at=NOW + timedelta(seconds=1), waiting_for=None, status=JobStatus.SENDING)

    with pytest.raises(CallTimeout, match=r"on the wire\. `paceline jobs show job-1` says how it goes on\.") as late:
        wait(begun, timeout=0.0)

    assert "No worker" not in str(late.value)


@pytest.mark.parametrize("status", list(JobStatus))
def test_each_status_has_a_meaning(status: JobStatus) -> None:
    assert status.meaning.endswith(".")
    assert status.final is (status not in (JobStatus.QUEUED, JobStatus.SENDING))
