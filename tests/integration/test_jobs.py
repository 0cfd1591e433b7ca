"""Jobs on a real installation: each step is asked once, whatever dies in between, and sends go first."""

import functools
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from paceline import CallFailed, CallTimeout, IdempotencyConflict, InvalidMessage, JobNotFound, UnknownAccount, wire
from paceline.ids import new_id
from providers.base import Account, Job, Request
from sandbox.background import SandboxServer
from tests.support.installation import ACCOUNT, Installation, until
from tests.support.operations import PROVIDERS_OFFERING
from tests.support.tokens import KEEPING
from worker.delivery import Delivery
from worker.jobs import steps as rooms
from worker.lanes.topology import Sender, Work
from worker.limits import Limiter
from worker.operate import resolve
from worker.service import Service
from worker.watch.lanes import lane_views
from worker.work import Batch, Order

Build = Callable[..., Installation]
PROFILE, CONVERSATIONS, SEND = f"{ACCOUNT}/profile", f"{ACCOUNT}/conversations", f"{ACCOUNT}/send"


@pytest.fixture(name="build")
def _build(build: Build) -> Build:
    """Builds an installation whose Aurogy has more operations."""
    return functools.partial(build, providers=PROVIDERS_OFFERING, accounts=KEEPING)


def work(service: Service, seconds: float = 0.3) -> dict[str, int]:
    """What a process does in a while."""
    service.tick()
    service.sweep()
    return service.pump.run_slice(seconds)


def finish(built: Installation, service: Service, job: str, seconds: float = 60.0) -> str:
    """Work until the job has ended; how."""
    until(lambda: (work(service), built.client.job(job).status.final)[1], seconds)
    return str(built.client.job(job).status)


def row(built: Installation, job: str) -> dict[str, Any]:
    """The job's row."""
    [found] = built.rows("SELECT * FROM paceline_job WHERE id = :id", id=job)
    return dict(found)


def claim(service: Service, lane: str = CONVERSATIONS) -> Any:
    """Claim what is on a lane, as a process that dies before it sends."""
    order = Order(new_id(), service.topology.lanes[lane], 10, 10, 10)
    return service.pump.store.cycle(Batch(), order)


def test_a_job_takes_its_steps_in_order_once_each(build: Build, sandbox: SandboxServer) -> None:
    """Given a job of three steps, when a worker carries it out, then each is asked once and hands on what it found."""
    built = build()
    service = built.service()
    job = built.client.start(ACCOUNT, "walk")

    assert finish(built, service, job) == "done"

    view = built.client.job(job)
    assert view.result == ["", "second", "third"]
    assert view.progress == 2
    assert [entry.path for entry in sandbox.ledger("aurogy")] == ["/v1/profile", "/v1/conversations", "/v1/profile"]
    found = row(built, job)
    assert (found["attempt"], found["failures"], found["lease_until"]) == (1, 0, None)
    grants = built.rows("SELECT lane, rest, granted_rest, closed FROM paceline_grant")
    assert [dict(grant) for grant in grants] == [
        {"lane": CONVERSATIONS, "rest": 1, "granted_rest": 1, "closed": 1} for _ in range(3)
    ]


def test_a_step_that_need_not_wait_follows_without_a_tick(build: Build, sandbox: SandboxServer) -> None:
    """Given nobody but one slice, when a step is answered, then the same slice asks for the next one."""
    built = build()
    service = built.service()
    job = built.client.start(ACCOUNT, "walk", wait=0.1)
    service.tick()  # so that the first step is found, whether or not its announcement came

    service.pump.run_slice(60)  # which ends when nothing follows soon

    assert built.client.job(job).status == "done"
    assert len(sandbox.ledger("aurogy")) == 3


def test_the_next_step_of_each_job_follows_without_a_tick(build: Build, sandbox: SandboxServer) -> None:
    """Given two jobs of one lane whose next steps fall due one after the other, when nothing is found in between, then
    the same slice asks for both."""
    built = build()
    service = built.service()
    jobs = [built.client.start(ACCOUNT, "walk", wait=wait) for wait in (0.1, 0.6)]
    service.tick()

    service.pump.run_slice(60)

    assert [built.client.job(job).status for job in jobs] == ["done", "done"]
    assert len(sandbox.ledger("aurogy")) == 6


def test_a_step_that_falls_due_while_a_slice_looks_follows_without_a_tick(
    build: Build, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given two jobs whose steps fall due one after the other, when the look that finds the last one of the first takes
    until the second is due, then the same slice asks for that too."""
    built = build()
    service = built.service()
    jobs = [built.client.start(ACCOUNT, "walk", wait=wait) for wait in (0.1, 0.6)]
    cycle = service.pump.store.cycle

    def slow(*given: Any, **named: Any) -> Any:
        claim = cycle(*given, **named)
        if claim is not None and any(item.step == "third" for item in claim.messages):
            waiting = "SELECT id FROM paceline_job WHERE status = 'queued' AND due_at >= :at"
            until(lambda: not built.rows(waiting, at=time.time() - 0.2))  # due a while ago, by anybody's clock
        return claim

    monkeypatch.setattr(service.pump.store, "cycle", slow)
    service.tick()

    service.pump.run_slice(60)

    assert [built.client.job(job).status for job in jobs] == ["done", "done"]


def test_a_tick_files_the_lane_of_a_step_that_redis_forgot(build: Build) -> None:
    built = build()
    service = built.service()
    built.client.start(ACCOUNT, "walk")
    built.redis.flushall()

    assert service.tick()["lanes"] == 1
    assert service.due.take().lane == CONVERSATIONS


def test_events_tell_of_progress_and_of_the_end_by_ids_alone(build: Build, sandbox: SandboxServer) -> None:
    built = build()
    service = built.service()
    job = built.client.start(ACCOUNT, "walk")
    finish(built, service, job)
    service.relay.run()

    told = [event for event in built.client.events() if event.kind == "job"]

    assert [(event.source, event.account, event.status, event.message_id) for event in told] == [
        ("response", ACCOUNT, None, None)
    ] * 3
    assert [event.data for event in told] == [
        {"job": job, "operation": "walk", "status": status} for status in ("queued", "queued", "done")
    ]


def test_a_step_that_waits_long_keeps_nobody_waiting(build: Build, sandbox: SandboxServer) -> None:
    """Given a job whose next step is a minute away, when another question comes to its lane, then that goes at once."""
    built = build()
    service = built.service()
    built.client.start(ACCOUNT, "walk", wait=60)
    until(lambda: (service.tick(), service.pump.run_slice(0.2), len(sandbox.ledger("aurogy")) == 1)[-1])

    job = built.client.start(ACCOUNT, "walk")
    service.pump.run_slice(60)

    assert built.client.job(job).status == "done"


def test_a_step_that_waits_is_asked_when_its_time_has_come(build: Build, sandbox: SandboxServer) -> None:
    built = build()
    service = built.service()
    job = built.client.start(ACCOUNT, "walk", wait=1)

    assert finish(built, service, job) == "done"

    first, second, third = (entry.monotonic for entry in sandbox.ledger("aurogy"))
    assert second - first >= 0.99
    assert third - second >= 0.99


def test_a_worker_that_dies_between_two_steps_repeats_none(build: Build, sandbox: SandboxServer) -> None:
    """Given a worker that is gone after each step, when others go on, then nothing is asked twice."""
    built = build()
    job = built.client.start(ACCOUNT, "walk", wait=0.2)
    for steps in (1, 2, 3):
        service = built.service()
        until(lambda: (work(service, 0.1), len(sandbox.ledger("aurogy")) >= steps)[1])  # noqa: B023
        service.pump.stop()

    assert finish(built, built.service(), job) == "done"
    assert len(sandbox.ledger("aurogy")) == 3


def test_a_question_under_a_dead_workers_claim_is_asked_again(build: Build, sandbox: SandboxServer) -> None:
    """Given a claim whose worker died, when its lease ends, then the step waits by the schedule and is asked."""
    built = build(retry={"schedule": [0.1]})
    service = built.service()
    job = built.client.start(ACCOUNT, "walk")
    assert [item.work for item in claim(service).messages] == [Work.JOB]
    built.run("UPDATE paceline_job SET lease_until = 1")

    assert service.sweeper.end_leases() == 1
    found = row(built, job)
    assert (found["status"], found["failures"], bool(found["unresolved"])) == ("queued", 1, True)

    assert finish(built, service, job) == "done"
    assert row(built, job)["failures"] == 0


def test_a_change_under_a_dead_workers_claim_is_unknown(build: Build, sandbox: SandboxServer) -> None:
    built = build()
    service = built.service()
    job = built.client.start(ACCOUNT, "change")
    claim(service, PROFILE)
    built.run("UPDATE paceline_job SET lease_until = 1")

    work(service)

    view = built.client.job(job)
    assert (view.status, view.reason) == ("unknown", "no answer before its lease ended")
    assert sandbox.ledger("aurogy") == []


def test_a_late_answer_of_an_older_claim_moves_nothing(build: Build, sandbox: SandboxServer) -> None:
    """Given a step that was asked again after its lease ended, when the first answer comes, then it is not heard."""
    built = build(retry={"schedule": [0.0]})
    service = built.service()
    job = built.client.start(ACCOUNT, "walk")
    old = claim(service)
    built.run("UPDATE paceline_job SET lease_until = 1")
    service.sweeper.end_leases()
    finish(built, service, job)
    before = row(built, job)

    lane = service.topology.lanes[CONVERSATIONS]
    late = Delivery(old.operation_id, lane, lane.callers[ACCOUNT], old.messages[0], time.monotonic())
    service.pump.store.cycle(Batch(jobs=[rooms.put_back(late, granted=True)]))

    assert row(built, job) == before


def test_a_record_that_is_written_again_does_not_disturb_the_next_claim(build: Build) -> None:
    """Given a step that was put back and claimed again, when the first record is repeated after a lost commit, then
    the second claim, whose step and attempt bear the same numbers, stands."""
    built = build()
    service = built.service()
    job = built.client.start(ACCOUNT, "walk")
    first, lane = claim(service), service.topology.lanes[CONVERSATIONS]
    back = rooms.put_back(
        Delivery(first.operation_id, lane, lane.callers[ACCOUNT], first.messages[0], time.monotonic()), granted=False
    )
    service.pump.store.cycle(Batch(jobs=[back]))
    second = claim(service)
    assert (second.messages[0].attempt, second.messages[0].step) == (back.attempt, back.step)

    service.pump.store.cycle(Batch(jobs=[back]), repeated=True)

    found = row(built, job)
    assert (found["status"], found["grant_id"]) == ("sending", second.operation_id)


@pytest.mark.parametrize("fault", [{"kind": "close"}, {"kind": "status", "status": 500}])
def test_a_lost_answer_is_asked_for_again(build: Build, sandbox: SandboxServer, fault: dict[str, Any]) -> None:
    """Given a question whose answer is lost, when the schedule says so, then it is asked again and answered."""
    built = build(retry={"schedule": [0.1]})
    service = built.service()
    sandbox.fault("aurogy", count=1, **fault)
    job = built.client.start(ACCOUNT, "walk")

    assert finish(built, service, job) == "done"
    assert len(sandbox.ledger("aurogy")) == 4


def test_a_change_whose_answer_is_lost_is_unknown_and_not_repeated(build: Build, sandbox: SandboxServer) -> None:
    built = build(retry={"schedule": [0.05]})
    service = built.service()
    sandbox.fault("aurogy", "close", accept=True)
    job = built.client.start(ACCOUNT, "change")

    assert finish(built, service, job) == "unknown"
    sandbox.clear_faults("aurogy")
    work(service)

    assert len(sandbox.ledger("aurogy")) == 1
    assert row(built, job)["unresolved"]


def test_a_recognised_change_is_repeated_until_the_budget_is_spent(build: Build, sandbox: SandboxServer) -> None:
    """Given answers that are lost for ever, when the retry budget is spent, then nobody knows, and nobody guesses."""
    built = build(retry={"schedule": [0.05, 0.05]})
    service = built.service()
    sandbox.fault("aurogy", "close", accept=True)
    job = built.client.start(ACCOUNT, "recognised")

    assert finish(built, service, job) == "unknown"
    assert "retry budget of 2 is spent" in str(built.client.job(job).reason)
    assert len(sandbox.ledger("aurogy")) == 3


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_change_is_not_repeated_once_its_key_is_forgotten(
    build: Build, sandbox: SandboxServer, forgotten: bool
) -> None:
    """Given a change whose answer was lost, when it can go again, then it does as long as it would be recognised."""
    built = build(retry={"schedule": [1.0, 1.0]})
    known = built.topology.senders[ACCOUNT].provider
    operations = {**known.operations, "recognised": replace(known.operations["recognised"], build=_keyed)}
    for sender in {id(sender): sender for sender in _senders(built)}.values():
        object.__setattr__(sender, "provider", replace(known, operations=operations, deduplicates_for=3600.0))
    service = built.service()
    sandbox.fault("aurogy", "close", accept=True, count=1)
    job = built.client.start(ACCOUNT, "recognised")
    until(lambda: (service.tick(), service.pump.run_slice(0.1), row(built, job)["unresolved"])[-1])
    built.run("UPDATE paceline_job SET first_sent_at = first_sent_at - :age", age=3400.0 if forgotten else 3200.0)

    assert finish(built, service, job) == ("unknown" if forgotten else "done")

    assert len(sandbox.ledger("aurogy")) == (1 if forgotten else 2)
    if forgotten:
        assert "longer than its provider recognises" in str(built.client.job(job).reason)
        resolve(built.engine, job, "resend")
        assert finish(built, service, job) == "done"


def _keyed(account: Account, job: Job) -> Request:
    request = PROVIDERS_OFFERING["aurogy"].operations["recognised"].build(account, job)
    return replace(request, keyed=True)


def _senders(built: Installation) -> list[Sender]:
    lanes = built.topology.lanes.values()
    return [*built.topology.senders.values(), *(sender for lane in lanes for sender in lane.callers.values())]


def test_a_refusal_of_a_repeated_change_is_definite(build: Build, sandbox: SandboxServer) -> None:
    """Given a recognised change whose first answer was lost, when its repetition is refused, then it has failed."""
    built = build(retry={"schedule": [0.05]})
    service = built.service()
    sandbox.fault("aurogy", "close", count=1)
    sandbox.fault("aurogy", "status", status=400)
    job = built.client.start(ACCOUNT, "recognised")

    assert finish(built, service, job) == "failed"


def test_429_closes_its_lane_alone_and_costs_nothing(build: Build, sandbox: SandboxServer) -> None:
    """Given Retry-After on the profile's lane, when others have work, then only that lane waits until then."""
    built = build(retry={"schedule": []})
    service = built.service()
    sandbox.fault("aurogy", "status", status=429, retry_after=300, path="/v1/profile", method="PUT", count=1)
    slow = built.client.start(ACCOUNT, "change")
    until(lambda: (work(service), len(sandbox.ledger("aurogy")) == 1)[1])
    quick = built.client.start(ACCOUNT, "walk")

    assert finish(built, service, quick) == "done"
    assert not built.client.job(slow).status.final
    assert f"Lane {PROFILE} is closed" in str(built.client.job(slow).waiting_for)
    [refused] = [entry for entry in sandbox.ledger("aurogy") if entry.method == "PUT"]
    closed = built.rows("SELECT name, closed_until FROM paceline_lane WHERE closed_reason IS NOT NULL")
    assert [lane["name"] for lane in closed] == [PROFILE]
    assert closed[0]["closed_until"] > refused.at + 299.9

    # and when that time has come, it goes
    built.run("UPDATE paceline_lane SET closed_until = 1 WHERE name = :name", name=PROFILE)
    built.redis.flushall()
    assert finish(built, built.service(), slow) == "done"
    assert [entry.status for entry in sandbox.ledger("aurogy") if entry.method == "PUT"] == [429, 200]
    assert row(built, slow)["failures"] == 0


def test_sends_go_before_jobs_on_a_lane_they_share(build: Build, sandbox: SandboxServer) -> None:
    """Given a lane of few tokens with jobs that wait longer, when bulk messages come, then these leave first."""
    built = build(limits={"send": ["4/minute"]})
    service = built.service()
    jobs = [built.client.start(ACCOUNT, "aside") for _ in range(3)]
    for number in range(3):
        built.text(number, priority="bulk")

    until(lambda: (work(service), len(sandbox.ledger("aurogy")) == 4)[1])
    work(service)

    assert Counter(entry.method for entry in sandbox.ledger("aurogy")) == {"POST": 3, "GET": 1}
    assert built.statuses() == {"accepted": 3}
    assert sorted(str(built.client.job(job).status) for job in jobs) == ["done", "queued", "queued"]
    assert built.rows("SELECT sum(granted_rest) AS granted FROM paceline_grant") == [{"granted": 4}]


def test_what_did_not_begin_in_time_is_not_asked(build: Build, sandbox: SandboxServer) -> None:
    """Given a job whose time is over, whether a sweep or a claim finds it first, then it has failed, unasked."""
    built = build()
    service = built.service()
    swept = built.client.start(ACCOUNT, "walk", expires_in=60)
    built.run("UPDATE paceline_job SET expires_at = 1")
    assert service.sweeper.expire() == 1
    claimed = built.client.start(ACCOUNT, "walk", expires_in=60)
    built.run("UPDATE paceline_job SET expires_at = 1 WHERE id = :id", id=claimed)
    until(lambda: (service.tick(), service.pump.run_slice(0.2), built.client.job(claimed).status.final)[2])

    for job in (swept, claimed):
        assert (built.client.job(job).status, built.client.job(job).reason) == ("failed", "expires_at passed")
    assert sandbox.ledger("aurogy") == []
    service.relay.run()
    assert [event.data["job"] for event in built.client.events()] == [swept, claimed]
    # and the lane shows nothing on the wire, though the claim's tokens are kept for it until its lease ends
    with built.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM paceline_grant WHERE closed = 0").scalar_one() == 1
    limiter = Limiter(built.redis, wire.limiter_prefix(built.name))
    assert {view.in_flight for view in lane_views(built.engine, limiter, built.topology)} == {0}


def test_what_has_begun_goes_on_past_its_time(build: Build, sandbox: SandboxServer) -> None:
    built = build()
    service = built.service()
    job = built.client.start(ACCOUNT, "walk", expires_in=60, wait=0.3)
    until(lambda: (service.tick(), service.pump.run_slice(0.1), row(built, job)["step"] == "second")[-1])
    built.run("UPDATE paceline_job SET expires_at = 1")

    assert service.sweeper.expire() == 0
    assert finish(built, service, job) == "done"


@pytest.mark.parametrize(
    ("operation", "status", "arrived"),
    [
        ("unbuildable", "failed", 0),
        ("unreadable", "failed", 1),
        ("unreadable_change", "unknown", 1),
        ("unwritable", "failed", 1),
    ],
)
def test_a_bug_stops_one_job_alone(
    build: Build, sandbox: SandboxServer, operation: str, status: str, arrived: int
) -> None:
    """Given a provider that trips over one job, when its neighbour goes, then the one has ended, and says nothing of
    what it was asked."""
    built = build()
    service = built.service()
    arguments: dict[str, Any] = {} if operation == "unwritable" else {"secret": "hunter2"}
    job = built.client.start(ACCOUNT, operation, **arguments)
    neighbour = built.client.start(ACCOUNT, "change")

    assert finish(built, service, job) == status
    assert finish(built, service, neighbour) == "done"
    assert len(sandbox.ledger("aurogy")) == arrived + 1
    assert "hunter2" not in str(built.client.job(job).reason)
    assert "Error" in str(built.client.job(job).reason)


def test_an_operation_that_this_worker_does_not_know_fails(build: Build, sandbox: SandboxServer) -> None:
    built = build()
    service = built.service()
    job = built.client.start(ACCOUNT, "walk")
    built.run("UPDATE paceline_job SET operation = 'teleport'")

    assert finish(built, service, job) == "failed"
    assert "has no operation teleport" in str(built.client.job(job).reason)


def test_jobs_of_an_account_that_is_gone_stand_in_nobodys_way(build: Build, sandbox: SandboxServer) -> None:
    built = build()
    service = built.service()
    gone, kept = built.client.start(ACCOUNT, "walk"), built.client.start(ACCOUNT, "walk")
    built.run("UPDATE paceline_job SET account = 'gone' WHERE id = :id", id=gone)

    assert finish(built, service, kept) == "done"
    assert built.client.job(gone).status == "queued"


def test_not_connected_waits_with_its_lane(build: Build) -> None:
    """Given nobody listens, when a step is due, then its lane backs off, and the job waits at no cost."""
    built = build(base_url="http://127.0.0.1:9/aurogy/v1", retry={"schedule": [0.1]})
    service = built.service()
    job = built.client.start(ACCOUNT, "walk")

    until(lambda: (work(service), row(built, job)["attempt"] >= 1)[1])

    found = row(built, job)
    assert (found["status"], found["failures"], bool(found["unresolved"])) == ("queued", 0, False)
    [lane] = built.rows("SELECT closed_reason FROM paceline_lane WHERE name = :name", name=CONVERSATIONS)
    assert lane["closed_reason"] == "not connected"


# What the client says


@pytest.mark.parametrize(
    ("operation", "arguments", "field", "said"),
    [
        ("teleport", {}, "operation", "must be one that account aurogy-main has; it has aside, "),
        ("conversations", {"size": 3}, "size", "is not an argument of conversations; it takes limit, cursor, status"),
        ("conversations", {"limit": 0}, "limit", "must be at least 1"),
        ("conversations", {"limit": 101}, "limit", "must be at most 100"),
        ("conversations", {"limit": 2.5}, "limit", "must be a whole number"),
        ("conversations", {"limit": True}, "limit", "must be a number"),
        ("conversations", {"status": "lost"}, "status", "must be one of active, archived, all"),
        ("message_status", {}, "message_id", "is required"),
        ("message_status", {"message_id": "../profile"}, "message_id", "must be the id that Aurogy gave a message"),
        ("message_status", {"message_id": b"x"}, "message_id", "must be text, a finite number"),
        ("update_profile", {"avatar_url": "http://x.example/a.png"}, "avatar_url", "must be an https:// URL"),
    ],
)
def test_bad_arguments_are_refused_at_the_door(
    build: Build, operation: str, arguments: dict[str, Any], field: str, said: str
) -> None:
    built = build()

    with pytest.raises(InvalidMessage) as refused:
        built.client.start(ACCOUNT, operation, **arguments)

    assert refused.value.field == field
    assert said in refused.value.rule
    assert built.rows("SELECT id FROM paceline_job") == []


def test_what_is_no_account_is_said_so(build: Build) -> None:
    built = build(accounts=KEEPING + '[routes]\nboth = ["aurogy-main"]\n')

    for name in ("nobody", "both", 7):
        with pytest.raises(UnknownAccount, match="account: must name an account, not a route; there are aurogy-main"):
            built.client.start(name, "profile")  # type: ignore[arg-type]


def test_an_idempotency_key_starts_one_job(build: Build) -> None:
    built = build()
    first = built.client.start(ACCOUNT, "conversations", limit=5, idempotency_key="once")

    assert built.client.start(ACCOUNT, "conversations", limit=5, status=None, idempotency_key="once") == first
    with pytest.raises(IdempotencyConflict):
        built.client.start(ACCOUNT, "conversations", limit=6, idempotency_key="once")
    assert len(built.rows("SELECT id FROM paceline_job")) == 1


def test_a_job_that_waits_can_be_cancelled(build: Build, sandbox: SandboxServer) -> None:
    built = build()
    service = built.service()
    job, tried = built.client.start(ACCOUNT, "walk"), built.client.start(ACCOUNT, "change")
    built.run("UPDATE paceline_job SET unresolved = :yes WHERE id = :id", id=tried, yes=True)

    assert built.client.cancel_job(job)
    assert built.client.cancel_job(job)
    assert not built.client.cancel_job(tried)
    work(service)

    assert [built.client.job(each).status for each in (job, tried)] == ["cancelled", "unknown"]
    assert sandbox.ledger("aurogy") == []
    service.relay.run()
    assert [event.data["status"] for event in built.client.events()] == ["cancelled", "unknown"]
    with pytest.raises(JobNotFound):
        built.client.cancel_job("nobody")


def test_a_job_on_the_wire_is_not_cancelled(build: Build) -> None:
    built = build()
    job = built.client.start(ACCOUNT, "walk")
    claim(built.service())

    assert not built.client.cancel_job(job)
    assert built.client.job(job).status == "sending"
    assert "on the wire" in str(built.client.job(job).waiting_for)


def test_jobs_are_listed_the_newest_first(build: Build) -> None:
    built = build()
    first, second = built.client.start(ACCOUNT, "profile"), built.client.start(ACCOUNT, "walk")
    built.client.cancel_job(first)

    assert [view.id for view in built.client.jobs()] == [second, first]
    assert [view.id for view in built.client.jobs(after=second)] == [first]
    assert [view.id for view in built.client.jobs(operation="walk", account=ACCOUNT)] == [second]
    assert [view.id for view in built.client.jobs(status="cancelled", limit=1)] == [first]
    with pytest.raises(InvalidMessage, match="status: must be one of queued, sending"):
        built.client.jobs(status="lost")
    with pytest.raises(InvalidMessage, match="limit"):
        built.client.jobs(limit=0)
    with pytest.raises(JobNotFound):
        built.client.job("nobody")


def test_a_view_shows_nothing_of_what_was_asked_or_found(build: Build, sandbox: SandboxServer) -> None:
    built = build()
    service = built.service()
    job = built.client.start(ACCOUNT, "message_status", message_id="msg_hunter2")
    finish(built, service, job)
    built.run(
        "UPDATE paceline_job SET result = '\"hunter2\"', memory = '{\"progress\": \"hunter2\"}', reason = 'hunter2'"
    )

    view = built.client.job(job)

    assert view.result == view.progress == "hunter2"
    assert "hunter2" not in repr(view)


def test_a_call_says_when_no_worker_has_asked(build: Build) -> None:
    """Given no worker, when a question is asked, then the caller hears so, and it is not asked later."""
    built = build()

    with pytest.raises(CallTimeout, match="No worker has asked yet") as late:
        built.client.call(ACCOUNT, "profile", timeout=0.2)

    until(lambda: built.service().sweeper.expire())
    assert built.client.job(late.value.job).status == "failed"


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "60", True])
def test_what_is_no_time_to_wait_starts_nothing(build: Build, seconds: Any) -> None:
    built = build()
    for name, ask in (
        ("timeout", lambda: built.client.call(ACCOUNT, "profile", timeout=seconds)),
        ("fresh_for", lambda: built.client.call(ACCOUNT, "profile", fresh_for=seconds)),
        ("expires_in", lambda: built.client.start(ACCOUNT, "profile", expires_in=seconds)),
    ):
        with pytest.raises(InvalidMessage, match=f"^{name}: must be a number of seconds"):
            ask()
    assert built.client.jobs() == []


def test_a_call_says_what_keeps_its_lane_closed(build: Build) -> None:
    built = build()
    built.run("UPDATE paceline_lane SET closed_reason = 'by hand' WHERE name = :name", name=PROFILE)

    with pytest.raises(CallTimeout, match="closed until an operator opens it: by hand"):
        built.client.call(ACCOUNT, "profile", timeout=0.1)


def test_a_call_that_fails_says_why(build: Build, sandbox: SandboxServer, working: Callable[[Service], None]) -> None:
    built = build()
    working(built.service())

    with pytest.raises(CallFailed, match="message_status ended failed: not_found") as failed:
        built.client.call(ACCOUNT, "message_status", message_id="msg_nobody", timeout=60)

    assert (failed.value.status, failed.value.reason) == ("failed", "not_found")
    assert built.client.job(failed.value.job).operation == "message_status"


def test_a_fresh_answer_serves_again(build: Build, sandbox: SandboxServer, working: Callable[[Service], None]) -> None:
    """Given an answer that the provider lets serve for a minute, when the same is asked, then nothing leaves."""
    built = build()
    working(built.service())
    ask = functools.partial(built.client.call, ACCOUNT, "kept", timeout=60)
    first = ask()

    assert ask() == first
    assert len(sandbox.ledger("aurogy")) == 1
    assert ask(fresh_for=0) != first
    built.run("UPDATE paceline_job SET updated_at = updated_at - 100")
    assert ask() != first
    assert len(sandbox.ledger("aurogy")) == 3


def test_only_the_same_question_is_served_again(
    build: Build, sandbox: SandboxServer, working: Callable[[Service], None]
) -> None:
    built = build()
    working(built.service())
    pages = functools.partial(built.client.call, ACCOUNT, "conversations", timeout=60, fresh_for=600)

    pages(limit=5)
    pages(limit=6)
    pages(limit=5)

    assert len(sandbox.ledger("aurogy")) == 2
