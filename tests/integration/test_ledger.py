"""The ledger: what it says of a key's tokens when Redis has forgotten them, or remembers something old."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from paceline.ids import new_id
from tests.integration.limits_world import most_in_any_window
from tests.integration.test_claims import fill, line
from tests.support.installation import ACCOUNT, Installation, until
from tests.support.servers import start_valkey
from worker.lanes.gate import Gates
from worker.lanes.topology import Lane
from worker.ledger import Ledger, SeedRefused
from worker.limits import Image, Levels, Limiter, Seeded
from worker.store import Store
from worker.work import Batch, Granted, Order, Result

Build = Callable[..., Installation]
SEND = f"{ACCOUNT}/send"


class Books:
    """An installation's ledger, its grants written by hand."""

    def __init__(self, built: Installation) -> None:
        self.built = built
        self.limiter = Limiter(built.redis, "t:")
        self.ledger = Ledger(built.engine, self.limiter, built.topology)

    @property
    def lane(self) -> Lane:
        return self.built.topology.lanes[SEND]

    def grant(self, age: float, *, lease: float = 50.0, lane: str = SEND, **columns: Any) -> str:
        """A row written `age` seconds ago; `granted_at`, `last_at` as ages too."""
        at = "(julianday('now') - 2440587.5) * 86400.0"
        if self.built.engine.dialect.name == "postgresql":
            at = "CAST(EXTRACT(EPOCH FROM statement_timestamp()) AS DOUBLE PRECISION)"
        name = new_id()
        values = {"high": 0, "rest": 0, "granted_high": None, "granted_rest": None, "closed": 0} | columns
        times = {"created_at": age, "lease_until": age - lease}
        times |= {column: values.pop(column) for column in ("granted_at", "last_at") if column in values}
        names = [*values, *times]
        expressions = [f":{column}" for column in values] + [f"{at} - :{column}" for column in times]
        self.built.run(
            f"INSERT INTO paceline_grant (id, key, lane, {', '.join(names)})"
            f" VALUES (:name, :key, :lane, {', '.join(expressions)})",
            name=name, key=ACCOUNT, lane=lane, **values, **times,
        )  # fmt: skip
        return name

    def seeded(self, own: str | None = None) -> Levels:
        nonce = self.ledger.seed(ACCOUNT, own=own)
        found = self.limiter.levels(self.lane.limits, signature=self.lane.signature, nonce=nonce)
        assert isinstance(found, Levels)
        return found

    def nonce(self) -> str:
        return str(self.built.rows("SELECT nonce FROM paceline_key")[0]["nonce"])


@pytest.fixture
def books(build: Build) -> Books:
    return Books(build(limits={"send": ["10/minute"]}))


# Each grant: its columns, then the tokens that are out, those of them of the rest, and the seconds until one returns.
SPAN = 60.5
IMAGES: dict[str, tuple[dict[str, Any], int, int, float | None]] = {
    "unanswered, in full and as now": ({"age": 20, "high": 2, "rest": 8}, 10, 8, SPAN),
    "unanswered, its lease over": ({"age": 80, "high": 2, "rest": 8}, 10, 8, SPAN - 30),
    "unanswered, too long ago": ({"age": 200, "rest": 10}, 0, 0, None),
    "granted in part, open": (
        {"age": 20, "rest": 10, "granted_high": 0, "granted_rest": 4, "granted_at": 20}, 4, 4, None,
    ),
    "granted nothing": ({"age": 1, "rest": 10, "granted_high": 0, "granted_rest": 0, "granted_at": 1}, 0, 0, None),
    "open, as now": ({"age": 40, "rest": 10, "granted_high": 0, "granted_rest": 10, "granted_at": 40}, 10, 10, SPAN),
    "open, its lease over": (
        {"age": 70, "rest": 10, "granted_high": 0, "granted_rest": 10, "granted_at": 70}, 10, 10, SPAN - 20,
    ),
    "closed, as old as the last to leave": (
        {"age": 45, "rest": 10, "granted_high": 0, "granted_rest": 10, "granted_at": 45, "closed": 10, "last_at": 30},
        10, 10, SPAN - 30,
    ),
    "closed long ago": (
        {"age": 90, "rest": 10, "granted_high": 0, "granted_rest": 10, "granted_at": 90, "closed": 10, "last_at": 70},
        0, 0, None,
    ),
    "half closed": (
        {"age": 45, "high": 5, "rest": 5, "granted_high": 5, "granted_rest": 5, "granted_at": 45, "closed": 6,
         "last_at": 44},
        10, 5, SPAN - 44,
    ),
    "half closed, the open ones count as the rest's": (
        {"age": 70, "high": 8, "rest": 2, "granted_high": 8, "granted_rest": 2, "granted_at": 70, "closed": 8,
         "last_at": 69},
        2, 2, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("grant", "used", "rest", "wait"), IMAGES.values(), ids=IMAGES.keys())
def test_what_a_grant_counts(books: Books, grant: dict[str, Any], used: int, rest: int, wait: float | None) -> None:
    began = time.monotonic()
    books.grant(**grant)

    [level] = books.seeded().limits

    took = time.monotonic() - began
    assert (level.used, level.used_rest) == (used, rest)
    if wait is None:
        assert level.wait_high == 0
    else:
        assert wait - took - 0.1 <= level.wait_high <= wait + 0.1


def test_ones_own_grant_is_charged_when_it_is_acquired(books: Books) -> None:
    own = books.grant(1, rest=4)
    books.grant(1, rest=3)

    assert books.seeded(own).limits[0].used == 3


def test_many_grants_add_up(books: Books) -> None:
    for number in range(200):
        age = number * 0.01 if number < 120 else 60 + number * 0.5  # several that are added up, and all that are not
        books.grant(age, rest=1, granted_high=0, granted_rest=1, granted_at=age, closed=1, last_at=age)

    assert books.seeded().limits[0].used == 120


def test_another_lanes_grants_are_its_own(books: Books) -> None:
    books.grant(1, rest=5, lane=f"{ACCOUNT}/status")

    assert books.seeded().limits[0].used == 0


@pytest.mark.parametrize(("age", "used"), [(60, 7), (100_000, 0)])
def test_a_days_quota_is_counted_from_the_day(build: Build, age: float, used: int) -> None:
    books = Books(build(limits={"send": ["10/day"]}))
    into_the_day = time.time() % 86400
    if age == 60 and into_the_day < 70:
        used = 7  # a minute ago was yesterday, and near midnight both days count
    books.grant(age, rest=7, granted_high=0, granted_rest=7, granted_at=age, closed=7, last_at=age)

    assert books.seeded().limits[0].used == used


def test_closings_are_in_the_image(books: Books) -> None:
    books.built.run("UPDATE paceline_lane SET closed_reason = 'by hand' WHERE name = :lane", lane=SEND)
    assert books.seeded().closed_for == float("inf")

    books.built.run("UPDATE paceline_lane SET closed_reason = NULL")
    books.built.run("UPDATE paceline_key SET closed_reason = '401', closed_until = 4e9, nonce = 'another'")
    found = books.seeded()
    assert found.closed_for > 1e6
    assert found.closed_reason == "401"


def test_a_backoff_in_the_image_still_wants_its_probe(books: Books) -> None:
    books.built.run(
        "UPDATE paceline_lane SET closed_reason = 'x', closed_until = 1, refusals = 2 WHERE name = :lane", lane=SEND
    )
    nonce = books.ledger.seed(ACCOUNT)

    grant = books.limiter.acquire(
        books.lane.limits, signature=books.lane.signature, nonce=nonce, caller="me", operation_id="one",
        high=0, rest=5, probe_hold=30,
    )  # fmt: skip

    assert (getattr(grant, "rest", None), getattr(grant, "probe", None)) == (1, True)


# Who seeds


def test_a_key_that_is_valid_is_not_seeded_again(books: Books) -> None:
    first = books.ledger.seed(ACCOUNT)

    assert books.ledger.seed(ACCOUNT) == first == books.nonce()


def test_several_that_find_redis_empty_seed_once(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given four at once, when all want to seed, then one does, and all go on with its nonce."""
    seeds: list[str] = []
    original = books.limiter.seed

    def counted(*arguments: Any, **named: Any) -> bool:
        seeds.append(named["nonce"])
        return original(*arguments, **named)

    monkeypatch.setattr(books.limiter, "seed", counted)
    found: list[str] = []
    together = threading.Barrier(4)

    def seed() -> None:
        together.wait()
        found.append(books.ledger.seed(ACCOUNT))

    threads = [threading.Thread(target=seed) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(seeds) == 1
    assert found == [books.nonce()] * 4 == seeds * 4


def test_a_seed_that_meets_another_one_changes_nothing(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given Redis changes hands between the look and the seed, then it is refused, and the database keeps its nonce."""
    valid = books.ledger.seed(ACCOUNT)
    monkeypatch.setattr(books.limiter, "seeded", lambda *_, **__: Seeded("somebody else's", current=False))

    with pytest.raises(SeedRefused):
        books.ledger.seed(ACCOUNT)

    assert books.nonce() == valid


def test_a_seed_whose_transaction_is_lost_seeds_nothing(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a seed that reached Redis, when its commit does not happen, then nothing is granted before another seed."""
    original = books.limiter.seed

    def reached_and_died(*arguments: Any, **named: Any) -> bool:
        original(*arguments, **named)
        raise ConnectionError

    monkeypatch.setattr(books.limiter, "seed", reached_and_died)
    with pytest.raises(ConnectionError):
        books.ledger.seed(ACCOUNT)
    assert not isinstance(
        books.limiter.levels(books.lane.limits, signature=books.lane.signature, nonce=books.nonce()), Levels
    )

    monkeypatch.setattr(books.limiter, "seed", original)
    assert books.seeded().limits[0].used == 0


# Redis forgets, or remembers something old


COUNT, WINDOW = 12, 1.0


class Workers:
    """Several processes that claim, acquire, arrive and record, without a wire between."""

    def __init__(self, built: Installation, redis: Callable[[], Redis]) -> None:
        self.built = built
        self.arrivals: list[float] = []
        self.over = threading.Event()
        self.failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._guarded, args=(redis(), number)) for number in range(3)]

    def __enter__(self) -> "Workers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join()

    def _guarded(self, redis: Redis, number: int) -> None:
        try:
            self._work(redis, number)
        except BaseException as failure:  # shown by the test
            self.failures.append(failure)

    def _work(self, redis: Redis, number: int) -> None:
        limiter = Limiter(redis, "t:")
        lane, store = self.built.topology.lanes[SEND], Store(self.built.engine)
        gate = Gates(self.built.topology, limiter, Ledger(self.built.engine, limiter, self.built.topology)).of(lane)
        batch = Batch()
        while not self.over.is_set():
            claim = store.cycle(batch, Order(new_id(), lane, 0, 2, 2))
            assert claim is not None
            grant = gate.acquire(claim, f"process {number}", 0, len(claim.messages))
            instant = time.monotonic()
            arrived = grant.rest if instant <= grant.since + lane.limits.token_life else 0
            self.arrivals += [instant] * arrived
            results = [
                Result(
                    message.id, claim.operation_id, message.attempt, status="accepted" if at < arrived else "queued",
                    account=ACCOUNT, outcome="accepted" if at < arrived else None, granted=at < grant.rest,
                    left=at < arrived,
                )
                for at, message in enumerate(claim.messages)
            ]  # fmt: skip
            granted = [Granted(claim.operation_id, grant.high, grant.rest, max(0.0, time.monotonic() - grant.since))]
            batch = Batch(results=results, granted=granted if grant.rest else [Granted(claim.operation_id, 0, 0, 0.0)])
            self.over.wait(0.0 if grant.rest else min(0.02, grant.wait_rest))
        store.cycle(batch)

    def go_on(self) -> None:
        """Return once something more has arrived."""
        before = len(self.arrivals)
        until(lambda: len(self.arrivals) > before or self.failures)


def _judge(workers: Workers) -> None:
    assert workers.failures == []
    assert len(workers.arrivals) > COUNT
    assert most_in_any_window(workers.arrivals, WINDOW) <= COUNT


def test_over_and_over_redis_forgets_and_the_limit_holds(build: Build) -> None:
    """Given three processes with a backlog, when Redis loses all again and again, then no window has too many."""
    built = build(limits={"send": [f"{COUNT}/second"]})
    fill(built, line(built, "normal"), 500)

    with Workers(built, lambda: built.redis) as workers:
        for pause in (0.05, 0.6, 0.05, 0.3, 0.9, 0.1, 0.7, 0.5):
            workers.over.wait(pause)
            built.redis.flushall()
        until(lambda: len(workers.arrivals) > COUNT or workers.failures)

    _judge(workers)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_server_that_comes_back_with_an_old_file_grants_nothing_twice(build: Build, tmp_path: Path) -> None:
    """Given a file saved while tokens were left, when the server restarts with it, then what was spent is spent."""
    built = build(limits={"send": [f"{COUNT}/second"]})
    fill(built, line(built, "normal"), 500)
    options = ("--dbfilename", "old.rdb")
    directory = tmp_path / "v"
    directory.mkdir()
    clients: list[Redis] = []

    def client() -> Redis:
        clients.append(Redis.from_url(f"unix://{directory}/valkey.sock"))
        return clients[-1]

    try:
        with start_valkey(directory, *options):
            workers = Workers(built, client)
            client().save()
            workers.__enter__()
            workers.go_on()
        for saves in (True, False, True):
            with start_valkey(directory, *options):
                workers.go_on()
                if saves:
                    client().save()
                workers.go_on()
        with start_valkey(directory, *options):
            workers.go_on()
            workers.__exit__()
    finally:
        workers.over.set()
        for one in clients:
            one.close()

    _judge(workers)


def test_an_old_state_without_its_ledger_would_be_believed(books: Books) -> None:
    """The two checks above can fail: the same state under its own nonce and server is valid, and an image is needed."""
    nonce = books.ledger.seed(ACCOUNT)
    empty = Image()

    assert books.limiter.seed(
        [books.lane.limits], signature=books.lane.signature, expected=nonce, nonce="n", image=empty
    )
    assert not books.limiter.seed(
        [books.lane.limits], signature=books.lane.signature, expected=nonce, nonce="m", image=empty
    )
