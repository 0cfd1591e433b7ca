"""A process dies at every boundary it has, one after the other; the next one finds everything, and nothing goes twice.

The boundaries are counted, not chosen: a scenario is played until it ends without having died.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.background import SandboxServer
from tests.chaos.boundaries import DIED, announce, people, run
from tests.support.installation import ACCOUNT, Installation, recipient, until
from tests.support.operations import PROVIDERS_OFFERING
from worker.service import Service

Build = Callable[..., Installation]
LEAST = {"pump": 30, "enqueue": 3, "expand": 15, "walk": 30, "change": 12}  # boundaries, or the harness sees none
MOST = 300  # boundaries, or a scenario never ends
ENDED = "UPDATE paceline_{table} SET lease_until = lease_until - 1000 WHERE lease_until IS NOT NULL"


@pytest.fixture
def built(build: Build, sandbox: SandboxServer) -> Installation:
    """An installation whose limits no scenario reaches."""
    limits = {name: ["1000/minute"] for name in ("send", "status", "conversations", "profile")}
    sandbox.settings(
        "aurogy", {"ratelimit": {name: "1000/minute" for name in ("send", "profile", "profile_read", "conversations")}}
    )
    return build(providers=PROVIDERS_OFFERING, limits=limits, timeout="2s", poll={"schedule": [6000]})


def recover(built: Installation, service: Service, settled: Callable[[], bool]) -> None:
    """Let the dead one's leases end, and work as the next process does until all has settled."""
    for table in ("message", "grant", "job"):
        built.run(ENDED.format(table=table))
    built.redis.delete(*built.redis.keys("*:tick"), "nothing")  # the half second in which another tick is too many

    def turn() -> bool:
        service.sweep()
        service.tick()
        service.broadcasts.work()
        service.pump.run_slice(0.2)
        return settled()

    until(turn, 30)


def every_boundary(
    built: Installation, tmp_path: Path, scenario: str, least: str, each: Callable[[int, Callable[[], int]], None]
) -> None:
    """Play the scenario with its first boundary as its last, then its second, until it ends by itself."""
    report, died = tmp_path / "boundary", Counter[str]()
    for number in range(1, MOST):
        codes: list[int] = []

        def play(number: int = number, codes: list[int] = codes) -> int:
            codes.append(run(built.settings_file, scenario, number, number, report))
            return codes[-1]

        each(number, play)
        if codes == [0]:
            break
        assert codes == [DIED], report
        died[report.read_text()] += 1
    print(f"\n{scenario}: {died.total()} boundaries: {dict(died)}")
    assert LEAST[least] <= died.total() < MOST - 1


@pytest.mark.timeout(300)
def test_a_pump_that_dies_anywhere_loses_and_doubles_nothing(
    built: Installation, sandbox: SandboxServer, tmp_path: Path
) -> None:
    service = built.service()

    def each(number: int, play: Callable[[], int]) -> None:
        receipts = [built.text(number * 10 + place, priority=("high", "bulk")[place]) for place in range(2)]
        play()
        recover(built, service, lambda: not {"queued", "sending"} & built.statuses().keys())
        for place, receipt in enumerate(receipts):
            arrived = [it for it in sandbox.ledger("aurogy") if it.recipient == recipient(number * 10 + place)]
            view = built.client.status(receipt.id)
            assert len(arrived) <= 1, number
            assert view.status in ({"accepted", "unknown"} if arrived else {"unknown"}), number
            assert len(view.attempts) == 1, number

    every_boundary(built, tmp_path, "pump", "pump", each)
    assert built.statuses()["accepted"] > built.statuses()["unknown"]


@pytest.mark.timeout(300)
def test_an_enqueue_that_dies_anywhere_is_repeated_with_its_key(
    built: Installation, sandbox: SandboxServer, tmp_path: Path
) -> None:
    def each(number: int, play: Callable[[], int]) -> None:
        play()
        built.text(number, idempotency_key=f"again-{number}")
        rows = built.rows("SELECT id FROM paceline_message WHERE idempotency_key = :key", key=f"enqueue-{number}")
        assert len(rows) <= 1
        keys = built.rows("SELECT message_id FROM paceline_idempotency_key WHERE key = :key", key=f"enqueue-{number}")
        assert [row["message_id"] for row in keys] == [row["id"] for row in rows]

    every_boundary(built, tmp_path, "enqueue", "enqueue", each)


@pytest.mark.timeout(300)
def test_a_broadcast_that_dies_anywhere_resumes_without_a_gap_or_a_double(
    built: Installation, sandbox: SandboxServer, tmp_path: Path
) -> None:
    service = built.service()

    def each(number: int, play: Callable[[], int]) -> None:
        play()
        waiting = built.rows("SELECT status FROM paceline_broadcast WHERE name = :name", name=f"sale-{number}")
        service.tick()
        if not waiting or waiting[0]["status"] in ("staging", "expanding"):
            service.pump.run_slice(0.1)  # what is not wholly staged must not go
            assert not [it for it in sandbox.ledger("aurogy") if it.recipient in recipients(number)], number
        announce(built.client, number)
        recover(
            built,
            service,
            lambda: (
                built.rows("SELECT status FROM paceline_broadcast WHERE name = :name", name=f"sale-{number}")
                == [{"status": "finished"}]
            ),
        )
        arrived = Counter(it.recipient for it in sandbox.ledger("aurogy") if it.recipient in recipients(number))
        assert arrived == dict.fromkeys(recipients(number), 1), number

    every_boundary(built, tmp_path, "expand", "expand", each)


def recipients(number: int) -> set[str]:
    """Those of a broadcast, each once."""
    return {row["id"] for row in people(number)}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("operation", ["walk", "change"])
def test_a_job_that_dies_anywhere_takes_no_step_twice_that_may_not_be_repeated(
    built: Installation, sandbox: SandboxServer, tmp_path: Path, operation: str
) -> None:
    """Given a job of three questions, or of one change that nobody recognises."""
    service = built.service()

    def each(number: int, play: Callable[[], int]) -> None:
        before = len(sandbox.ledger("aurogy"))
        job = built.client.start(ACCOUNT, operation)
        play()
        recover(built, service, lambda: built.client.job(job).status.final or built.client.job(job).status == "unknown")
        view, arrived = built.client.job(job), len(sandbox.ledger("aurogy")) - before
        if operation == "walk":
            assert view.status == "done", number
            assert view.result == ["", "second", "third"], number
            assert 3 <= arrived <= 4, number
        else:
            assert arrived <= 1, number
            assert view.status in ({"done", "unknown"} if arrived else {"unknown"}), number

    every_boundary(built, tmp_path, "pump", operation, each)
