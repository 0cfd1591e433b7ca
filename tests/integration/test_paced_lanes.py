"""Senders that are paced by themselves within a key: each has a send lane, and all share the key's quotas and fate."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from paceline import Text
from paceline.ids import new_id
from providers import aurogy
from sandbox.background import SandboxServer
from sandbox.ledger import Entry
from tests.integration.limits_world import most_in_any_window
from tests.support.installation import ACCOUNT, KEY, Installation, recipient, until
from worker.lanes.gate import Gates
from worker.ledger import Ledger
from worker.limits import Levels, Limiter
from worker.operate import close, lanes_named, open_
from worker.retry import Closure, Reach
from worker.store import Store
from worker.watch.lanes import lane_views
from worker.work import Batch, Granted, Order, Result

Build = Callable[..., Installation]

PACED = {"aurogy": replace(aurogy.PROVIDER, pace_credential="webhook_secret", pace_jitter=0.4)}
ONE, TWO, STATUS = f"{ACCOUNT}/send", "two/send", f"{ACCOUNT}/status"


@pytest.fixture
def built(build: Build, sandbox: SandboxServer) -> Installation:
    """Two senders of one key: three in fifty seconds each, seven a day together."""
    return two_senders(build, sandbox, ["3/50s", "7/day"])


def two_senders(build: Build, sandbox: SandboxServer, limits: list[str], more: str = "") -> Installation:
    second = f'[accounts.two]\nprovider = "aurogy"\napi_key = "{KEY}"\nwebhook_secret = "auro_whsec_second"\n'
    address = f'base_url = "{sandbox.base_url("aurogy")}"\n[accounts.two.limits]\nsend = {limits}\n'
    return build(
        accounts=second + address.replace("'", '"') + more,
        providers=PACED,
        webhook_secret="auro_whsec_first",
        limits={"send": limits},
    )


class Books:
    """The limiter's state of the key's lanes, through the ledger."""

    def __init__(self, built: Installation) -> None:
        self.built = built
        self.limiter = Limiter(built.redis, "t:", chance=lambda: 0.0)
        self.ledger = Ledger(built.engine, self.limiter, built.topology)
        self.gates = Gates(built.topology, self.limiter, self.ledger)
        self.store = Store(built.engine)

    def send(self, lane: str, count: int) -> int:
        """Claim so many messages and take tokens for them; how many were granted."""
        for _ in range(count):
            self.built.client.enqueue(Text(to=recipient(0), text="x"), via=lane.partition("/")[0])
        order = Order(new_id(), self.built.topology.lanes[lane], 0, count, count)
        claim = self.store.cycle(Batch(), order)
        assert claim is not None
        grant = self.gates.of(order.lane).acquire(claim, lane, 0, len(claim.messages))
        results = [
            Result(item.id, claim.operation_id, item.attempt, "queued" if at >= grant.rest else "failed",
                   granted=at < grant.rest, left=at < grant.rest)
            for at, item in enumerate(claim.messages)
        ]  # fmt: skip
        self.store.cycle(Batch(results, granted=[Granted(claim.operation_id, 0, grant.rest, grant.since)]))
        return grant.rest

    def left(self) -> dict[str, list[int]]:
        """What is left of each lane's limits, after seeding."""
        nonce = self.ledger.seed(ACCOUNT)
        found = {}
        for name in (ONE, TWO):
            lane = self.built.topology.lanes[name]
            levels = self.limiter.levels(lane.limits, signature=lane.signature, nonce=nonce)
            assert isinstance(levels, Levels)
            found[name] = [level.room_high for level in levels.limits]
        return found

    def shut(self, lane: str) -> float:
        """For how long Redis alone keeps it closed."""
        it = self.built.topology.lanes[lane]
        levels = self.limiter.levels(it.limits, signature=it.signature, nonce=self.ledger.seed(ACCOUNT))
        assert isinstance(levels, Levels)
        return levels.closed_for


@pytest.fixture
def books(built: Installation) -> Books:
    return Books(built)


def test_each_lane_has_its_pace_and_both_share_the_day(books: Books) -> None:
    assert [books.send(ONE, 5), books.send(TWO, 5)] == [3, 3]

    assert books.left() == {ONE: [0, 1], TWO: [0, 1]}


def test_what_redis_forgot_the_ledger_knows_lane_by_lane(books: Books) -> None:
    books.send(ONE, 2)
    books.send(TWO, 1)

    books.built.redis.flushall()

    assert books.left() == {ONE: [1, 4], TWO: [2, 4]}


def test_a_sender_that_is_gone_has_still_spent_the_keys_quota(books: Books, build: Build) -> None:
    """Given an account that has used the day's quota, when it leaves the configuration, then that stays spent."""
    books.send(ONE, 1)
    books.send(TWO, 3)
    books.built.redis.flushall()
    only = build(providers=PACED, webhook_secret="auro_whsec_first", limits={"send": ["3/50s", "7/day"]})

    limiter = Limiter(only.redis, "t:")
    nonce = Ledger(only.engine, limiter, only.topology).seed(ACCOUNT)
    lane = only.topology.lanes[ONE]
    levels = limiter.levels(lane.limits, signature=lane.signature, nonce=nonce)

    assert isinstance(levels, Levels)
    assert [level.room_high for level in levels.limits] == [2, 3]


def test_a_closing_comes_back_on_the_lane_that_it_closed(books: Books) -> None:
    """Given one of two lanes closed, when Redis has forgotten, then that one is closed again and the other is not."""
    books.send(TWO, 1)
    news = books.gates.shut(books.built.topology.lanes[TWO], Closure(Reach.LANE, 600.0, "why"), None)
    books.store.cycle(Batch(news=news))

    books.built.redis.flushall()

    assert 540 < books.shut(TWO) <= 600.1
    assert books.shut(ONE) == 0
    assert books.shut(STATUS) == 0


def test_a_key_closes_with_the_lanes_of_all_its_senders(books: Books) -> None:
    books.send(ONE, 1)
    news = books.gates.shut(books.built.topology.lanes[TWO], Closure(Reach.KEY, 600.0, "why"), None)
    books.store.cycle(Batch(news=news))

    assert [item.key for item in news] == [ACCOUNT]
    assert all(books.gates.of(books.built.topology.lanes[name]).closed() for name in (ONE, TWO, STATUS))
    books.built.redis.flushall()
    assert min(books.shut(name) for name in (ONE, TWO, STATUS)) > 540


def test_an_operator_closes_one_sender_or_the_key(books: Books) -> None:
    built = books.built
    close(built.engine, lanes_named(built.topology, "two/send"), whole_key=False)

    views = {view.lane: view for view in lane_views(built.engine, books.limiter, built.topology)}

    assert {name for name, view in views.items() if not view.open} == {TWO}
    open_(built.engine, lanes_named(built.topology, "two/send"), whole_key=False)
    close(built.engine, lanes_named(built.topology, "two"), whole_key=True)
    views = {view.lane: view for view in lane_views(built.engine, books.limiter, built.topology)}
    assert not any(view.open for view in views.values())


def test_lanes_are_shown_with_what_waits_and_what_is_left_of_each(books: Books) -> None:
    books.send(ONE, 4)
    books.send(TWO, 1)
    books.left()

    views = {view.lane: view for view in lane_views(books.built.engine, books.limiter, books.built.topology)}

    assert {name: view.backlog for name, view in views.items() if view.backlog} == {ONE: 1}
    left = {name: {it.limit: it.left for it in views[name].limits} for name in (ONE, TWO)}
    assert left == {ONE: {"3/50s": 0, "7/day": 3}, TWO: {"3/50s": 2, "7/day": 3}}


def test_the_pump_keeps_each_pace_and_the_common_quota(build: Build, sandbox: SandboxServer) -> None:
    """Given more than the day allows on both lanes, with Redis lost in between, then each keeps its pace and together
    they send what the day has."""
    # a token that is not used in time is lost to the day: here it lives for three seconds
    built = two_senders(build, sandbox, ["2/2s", "7/day"], '[limiter]\nguard = "6s"\n')
    service = built.service()
    for number in range(6):
        for via, base in ((ACCOUNT, 0), ("two", 100)):
            built.client.enqueue(Text(to=recipient(base + number), text="x"), via=via)

    def arrived() -> list[Entry]:
        return [entry for entry in sandbox.ledger("aurogy") if entry.method == "POST"]  # and not what asks for reports

    def turn() -> bool:
        service.tick()
        service.pump.run_slice(0.5)
        sent = len(arrived())
        if sent in (4, 5):
            built.redis.flushall()
        return sent == 7

    until(turn, 120)
    service.tick()
    service.pump.run_slice(1)

    assert len(arrived()) == 7
    for first in (True, False):
        mine = [entry.monotonic for entry in arrived() if (entry.recipient < recipient(100)) is first]
        assert len(mine) >= 3
        assert most_in_any_window(mine, 2.0) <= 2
