"""A process dies at every boundary it has, one after the other; the next one finds everything, and nothing goes twice.

The boundaries are counted, not chosen: a scenario is played until it ends without having died.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from multiprocessing import forkserver

import pytest

from sandbox.background import SandboxServer
from tests.chaos.boundaries import ADMITTED, AGAIN, DATABASE, DIED, REDIS, WIRE, WRITTEN, announce, people, run
from tests.support.installation import ACCOUNT, Installation, recipient, until
from tests.support.operations import PROVIDERS_OFFERING
from worker.service import Service

Build = Callable[..., Installation]
MOST = 100  # boundaries of a kind, or a scenario never ends
LET_OUT = (ADMITTED, WRITTEN)  # what was let out there may never have arrived
ENDED = "UPDATE paceline_{table} SET lease_until = lease_until - 1000 WHERE lease_until IS NOT NULL"


@pytest.fixture(scope="module", autouse=True)
def nothing_left() -> Iterator[None]:
    """The server that forks ends with these tests, and not some time after all others."""
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # nothing public stops it


@pytest.fixture
def built(build: Build, sandbox: SandboxServer) -> Installation:
    """An installation whose limits no scenario reaches."""
    limits = {name: ["1000/minute"] for name in ("send", "status", "conversations", "profile")}
    sandbox.settings(
        "aurogy", {"ratelimit": dict.fromkeys(("send", "profile", "profile_read", "conversations"), "1000/minute")}
    )
    return build(
        providers=PROVIDERS_OFFERING,
        limits=limits,
        poll={"schedule": [6000]},
        retry={"schedule": [0.1] * 3},
    )


@pytest.fixture(params=["once", pytest.param("twice", marks=pytest.mark.chaos)])
def twice(request: pytest.FixtureRequest) -> bool:
    """Whether it dies before each question too, and not only after its answer."""
    return str(request.param) == "twice"


def recover(built: Installation, service: Service, settled: Callable[[], bool]) -> None:
    """Let the dead one's leases end, and work as the next process does until all has settled."""
    for table in ("message", "grant", "job"):
        built.run(ENDED.format(table=table))

    def turn() -> bool:
        built.redis.delete(*built.redis.keys("*:tick"), "nothing")  # the half second in which another tick is too many
        service.sweep()
        service.tick()
        service.broadcasts.work()
        service.pump.run_slice(0.2)
        return settled()

    until(turn, 90)


Play = Callable[[], None]


def every_boundary(
    built: Installation,
    scenario: str,
    groups: Iterable[tuple[str, ...]],
    twice: bool,
    each: Callable[[int, str, Play], None],
) -> Counter[str]:
    """Play the scenario with the first boundary of each kind as its last, then the second, until it ends by itself.

    How often it died at each kind.
    """
    died, numbers = Counter[str](), count(1)
    kinds = [kind for group in groups for kind in (*group, *(AGAIN[group] if twice else ()))]
    for kind in kinds:
        for ends_at in range(1, MOST):
            code, number = DIED, next(numbers)

            def play(number: int = number, kind: str = kind, ends_at: int = ends_at) -> None:
                nonlocal code
                code = run(built.settings_file, scenario, number, kind, ends_at)

            each(number, kind, play)
            if code == 0:
                break
            assert code == DIED, kind
            died[kind] += 1
    print(f"\n{scenario}: {died.total()} boundaries: {dict(died)}")
    assert all(0 < died[kind] < MOST - 1 for kind in kinds)
    return died


@pytest.mark.timeout(900)
def test_a_pump_that_dies_anywhere_loses_and_doubles_nothing(
    built: Installation, sandbox: SandboxServer, twice: bool
) -> None:
    service = built.service()

    def each(number: int, kind: str, play: Play) -> None:
        receipts = [built.text(number * 10 + place, priority=("high", "bulk")[place]) for place in range(2)]
        play()
        recover(built, service, lambda: not {"queued", "sending"} & built.statuses().keys())
        for place, receipt in enumerate(receipts):
            arrived = [it for it in sandbox.ledger("aurogy") if it.recipient == recipient(number * 10 + place)]
            view = built.client.status(receipt.id)
            assert len(arrived) <= 1, number
            assert view.status in ({"accepted", "unknown"} if arrived else {"unknown"}), number
            assert arrived or kind in LET_OUT, number  # all else never left, and went again
            assert len(view.attempts) == 1, number

    every_boundary(built, "pump", (DATABASE, REDIS, WIRE), twice, each)
    assert built.statuses()["accepted"] > built.statuses()["unknown"]


@pytest.mark.timeout(900)
def test_an_enqueue_that_dies_anywhere_is_repeated_with_its_key(
    built: Installation, sandbox: SandboxServer, twice: bool
) -> None:
    def each(number: int, kind: str, play: Play) -> None:
        play()
        built.text(number, idempotency_key=f"again-{number}")
        rows = built.rows("SELECT id FROM paceline_message WHERE idempotency_key = :key", key=f"enqueue-{number}")
        assert len(rows) <= 1
        keys = built.rows("SELECT message_id FROM paceline_idempotency_key WHERE key = :key", key=f"enqueue-{number}")
        assert [row["message_id"] for row in keys] == [row["id"] for row in rows]

    every_boundary(built, "enqueue", (DATABASE, REDIS), twice, each)


@pytest.mark.timeout(900)
def test_a_broadcast_that_dies_anywhere_resumes_without_a_gap_or_a_double(
    built: Installation, sandbox: SandboxServer, twice: bool
) -> None:
    service = built.service()

    def each(number: int, kind: str, play: Play) -> None:
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

    every_boundary(built, "expand", (DATABASE, REDIS), twice, each)


def recipients(number: int) -> set[str]:
    """Those of a broadcast, each once."""
    return {row["id"] for row in people(number)}


@pytest.mark.timeout(900)
# What Redis is asked between two steps is the same for both.
@pytest.mark.parametrize(
    ("operation", "groups"),
    [("walk", (DATABASE, WIRE)), ("change", (DATABASE, REDIS, WIRE))],
    ids=["walk", "change"],
)
def test_a_job_that_dies_anywhere_takes_no_step_twice_that_may_not_be_repeated(
    built: Installation, sandbox: SandboxServer, operation: str, groups: Sequence[tuple[str, ...]], twice: bool
) -> None:
    """Given a job of three questions, or of one change that nobody recognises."""
    service = built.service()

    def each(number: int, kind: str, play: Play) -> None:
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
            assert arrived or kind in LET_OUT, number

    every_boundary(built, "pump", groups, twice, each)
