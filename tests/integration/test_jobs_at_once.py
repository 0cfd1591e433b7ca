"""Many jobs and several processes: each is asked once, by index, also when the answer of a commit is lost."""

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from config.settings import load
from paceline import Client
from paceline.broker import redis_client
from paceline.database import engine
from paceline.ids import new_id
from sandbox.background import SandboxServer
from tests.support.cost import cost
from tests.support.installation import ACCOUNT, Installation, until
from tests.support.operations import PROVIDERS_OFFERING
from tests.support.tokens import KEEPING
from worker import schema
from worker.app import topology_of
from worker.lanes.topology import Work
from worker.planning import by_index
from worker.service import Service
from worker.work import Batch, Order

Build = Callable[..., Installation]
JOBS = 200

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["worker.service"])


def work(settings_file: Path, name: str) -> int:
    """One worker process without Celery, until nothing is queued; how many steps it asked."""
    settings = load(settings_file, environ={})
    opened, redis = by_index(engine(settings.connection)), redis_client(settings.connection)
    client = Client(settings_file, environ={})
    service = Service(opened, redis, name, topology_of(settings), in_flight=16, client=client, wake=lambda: None)
    asked, end = 0, time.monotonic() + 90
    try:
        while time.monotonic() < end and client.jobs(status="queued", limit=1):
            service.tick()
            asked += service.pump.run_slice(1).get("refused", 0)
    finally:
        service.close()
        redis.close()
        opened.dispose()
    return asked


@pytest.mark.timeout(200)
def test_two_processes_carry_out_two_hundred_jobs_once_each(build: Build, sandbox: SandboxServer) -> None:
    """Given jobs within a minute's limit, when two processes share them, then each is asked exactly once."""
    built = build(accounts=KEEPING)
    ids = [f"msg_{number:03}" for number in range(JOBS)]
    jobs = [built.client.start(ACCOUNT, "message_status", message_id=each) for each in ids]

    with context.Pool(2) as pool:
        shares = pool.starmap(work, [(built.settings_file, built.name)] * 2, chunksize=1)

    until(lambda: all(view.status.final for view in built.client.jobs(limit=JOBS)))
    assert {built.client.job(job).reason for job in jobs} == {"not_found"}
    assert Counter(entry.path for entry in sandbox.ledger("aurogy")) == {f"/v1/messages/{each}": 1 for each in ids}
    assert sum(shares) == JOBS
    [grants] = built.rows("SELECT sum(rest) AS rest, sum(closed) AS closed FROM paceline_grant")
    assert grants["closed"] == JOBS


def test_a_claim_whose_commit_was_kept_is_found_again(build: Build) -> None:
    """Given a claim whose answer was lost after the commit, when it is repeated, then it has the same jobs."""
    built = build()
    store, lane = built.service().pump.store, built.topology.lanes[f"{ACCOUNT}/profile"]
    job = built.client.start(ACCOUNT, "profile")
    order = Order(new_id(), lane, 5, 5, 5)
    first = store.cycle(Batch(), order)

    again = store.cycle(Batch(), order, repeated=True)

    assert first is not None
    assert again is not None
    assert [item.id for item in again.messages] == [item.id for item in first.messages] == [job]
    assert again.messages[0].work is Work.JOB
    [row] = built.rows("SELECT attempt, status FROM paceline_job")
    assert dict(row) == {"attempt": 1, "status": "sending"}


def test_steps_of_an_unheard_claim_are_found_after_its_lease_too(build: Build) -> None:
    """Given such a claim, when its lease has ended meanwhile, then the step that never left is in hand all the same."""
    built = build()
    service, lane = built.service(), built.topology.lanes[f"{ACCOUNT}/profile"]
    job = built.client.start(ACCOUNT, "profile")
    order = Order(new_id(), lane, 5, 5, 5)
    service.pump.store.cycle(Batch(), order)
    built.run("UPDATE paceline_job SET lease_until = lease_until - 1000, status = 'unknown'")

    again = service.pump.store.cycle(Batch(), order, repeated=True)

    assert again is not None
    assert [item.id for item in again.messages] == [job]


def test_what_the_sends_leave_of_an_order_goes_to_jobs_by_their_time(build: Build) -> None:
    """Given a lane of sends and jobs, when an order has room for some, then messages come first, then old jobs."""
    built = build(providers=PROVIDERS_OFFERING)
    store, lane = built.service().pump.store, built.topology.lanes[f"{ACCOUNT}/send"]
    jobs = [built.client.start(ACCOUNT, "aside") for _ in range(4)]
    high, bulk = built.text(1, priority="high"), built.text(2, priority="bulk")
    built.run("UPDATE paceline_job SET due_at = due_at - 60 WHERE id = :id", id=jobs[3])

    claim = store.cycle(Batch(), Order(new_id(), lane, 3, 3, 4))

    assert claim is not None
    assert [item.id for item in claim.messages] == [high.id, bulk.id, jobs[3], jobs[0]]
    assert (claim.more_high, claim.more_rest) == (False, True)
    rest = store.cycle(Batch(), Order(new_id(), lane, 5, 5, 5))
    assert rest is not None
    assert [item.id for item in rest.messages] == jobs[1:3]
    assert (rest.more_high, rest.more_rest) == (False, False)


def test_an_order_for_high_alone_takes_no_job(build: Build) -> None:
    """Given no room but what is reserved for `high`, when jobs wait, then they wait, and the lane is filed again."""
    built = build(providers=PROVIDERS_OFFERING)
    store, lane = built.service().pump.store, built.topology.lanes[f"{ACCOUNT}/send"]
    built.client.start(ACCOUNT, "aside")

    claim = store.cycle(Batch(), Order(new_id(), lane, 5, 0, 5))

    assert claim is not None
    assert claim.messages == ()
    assert claim.more_rest


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_claims_sweeps_and_ticks_of_jobs_go_by_index(build: Build) -> None:
    built = build()
    service = built.service()
    built.client.start(ACCOUNT, "profile")
    seen: list[tuple[str, Any]] = []
    event.listen(built.engine, "before_cursor_execute", lambda *given: seen.append((given[2], given[3])))
    service.tick()
    service.sweep()
    service.pump.store.cycle(Batch(), Order(new_id(), built.topology.lanes[f"{ACCOUNT}/profile"], 5, 5, 5))
    plans = [
        step
        for sql, values in list(seen)
        if sql.startswith(("SELECT", "WITH", "UPDATE")) and "paceline_job" in sql
        for step in _explain(built, sql, values)
    ]

    assert any("ix_paceline_job_due (lane=? AND due_at<?)" in plan for plan in plans)
    assert any("ix_paceline_job_lease" in plan for plan in plans)
    assert not [plan for plan in plans if plan.startswith("SCAN paceline_job") and "INDEX" not in plan]


def test_a_claim_costs_the_same_however_much_has_ended_or_waits(build: Build) -> None:
    """Given many jobs that are over, due later or of another lane, when one is claimed, then that touches no more."""
    built = build()
    store, lane = built.service().pump.store, built.topology.lanes[f"{ACCOUNT}/profile"]

    def claim() -> None:
        found = store.cycle(Batch(), Order(new_id(), lane, 1, 1, 1))
        assert found is not None
        assert len(found.messages) == 1

    def touched() -> float:
        for _ in range(2):
            built.client.start(ACCOUNT, "profile")
        claim()  # what the first one reads of the catalogue counts for nobody
        return cost(built.engine, claim)

    few = touched()
    for status, due, of_lane in (("done", 1.0, lane.name), ("queued", 9e9, lane.name), ("queued", 1.0, "other/lane")):
        _fill(built, 5_000, status=status, due_at=due, lane=of_lane)
    many = touched()

    print(f"cost of a claim: {few:g} alone, {many:g} beside 15,000")
    assert many <= few * 1.5 + 20


def test_open_jobs_follow_their_account_to_another_lane(build: Build) -> None:
    """Given jobs that wait, when the accounts are published anew, then they wait on the lane that the account has."""
    built = build()
    queued, sending = (built.client.start(ACCOUNT, "profile") for _ in range(2))
    ended = built.client.start(ACCOUNT, "profile")
    built.client.cancel_job(ended)
    built.run("UPDATE paceline_job SET lane = 'old-name/profile'")
    built.run("UPDATE paceline_job SET status = 'sending' WHERE id = :id", id=sending)

    schema.publish(built.engine, built.topology)

    lanes = {row["id"]: row["lane"] for row in built.rows("SELECT id, lane FROM paceline_job")}
    assert lanes == {queued: f"{ACCOUNT}/profile", sending: f"{ACCOUNT}/profile", ended: "old-name/profile"}


def _fill(built: Installation, count: int, **values: Any) -> None:
    row = {
        "account": ACCOUNT, "operation": "profile", "arguments": "{}", "step": "", "memory": "{}", "created_at": 1.0,
        "updated_at": 1.0, "attempt": 0, "failures": 0, "unresolved": False, **values,
    }  # fmt: skip
    names = ", ".join(["id", *row])
    marks = ", ".join(f":{name}" for name in ["id", *row])
    with built.engine.begin() as connection:
        rows = [{"id": new_id(), **row} for _ in range(count)]
        connection.execute(text(f"INSERT INTO paceline_job ({names}) VALUES ({marks})"), rows)


def _explain(built: Installation, sql: str, values: Any) -> list[str]:
    with built.engine.connect() as connection:
        return [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)]
