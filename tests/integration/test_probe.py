"""A question that is asked while somebody waits: by the ledger, the limiter and the guard, like every request."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import event

from paceline import wire
from providers.base import Accepted, Misconfigured, NotSent, Refused, Request, Throttled, Unavailable, Unknown
from sandbox.background import SandboxServer
from tests.support.installation import ACCOUNT, Installation
from tests.support.tokens import KEEPING
from worker import operate
from worker.lanes.gate import Gates
from worker.lanes.topology import Lane, Sender
from worker.ledger import Ledger
from worker.limits import Limiter
from worker.probe import Asked, Prober, probe_lane
from worker.store import Store
from worker.transport import Transport

Build = Callable[..., Installation]


class World:
    """An installation and somebody who asks."""

    def __init__(self, built: Installation, redis: Redis, transport: Transport) -> None:
        self.built = built
        limiter = Limiter(redis, wire.limiter_prefix(built.name))
        topology = built.topology
        self.sender: Sender = topology.senders[ACCOUNT]
        self.gates = Gates(topology, limiter, Ledger(built.engine, limiter, topology))
        self.prober = Prober(Store(built.engine), self.gates, transport)
        lane = probe_lane(self.sender, topology.lanes)
        assert lane is not None
        self.lane: Lane = lane

    def ask(self) -> Asked:
        return self.prober.probe(self.sender, self.lane)

    def grants(self) -> list[tuple[Any, ...]]:
        """Lane, asked for, granted, closed, and whether it says when the last one left."""
        rows = self.built.rows("SELECT * FROM paceline_grant ORDER BY created_at, id")
        return [
            (row["lane"], row["high"] + row["rest"], row["granted_rest"], row["closed"], row["last_at"] is not None)
            for row in rows
        ]


@pytest.fixture
def world_of(valkey: Redis) -> Iterator[Callable[[Installation], World]]:
    transport = Transport()
    yield lambda built: World(built, valkey, transport)
    transport.close()


@pytest.fixture
def world(build: Build, world_of: Callable[[Installation], World]) -> World:
    return world_of(build(accounts=KEEPING))


def test_a_question_is_in_the_ledger_before_it_leaves_and_closed_after(
    world: World, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given somebody who looks into the ledger when a request arrives
    seen: list[tuple[Any, ...]] = []
    send = world.prober._transport.send

    def looking(*given: object) -> None:
        seen.extend(world.grants())
        send(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(world.prober._transport, "send", looking)

    # when the provider is asked
    asked = world.ask()

    # then it was granted one token of its lane, and the row says that it was used and when
    assert (asked.outcome, asked.left, asked.wait) == (Accepted(), True, 0.0)
    assert asked.response is not None
    assert asked.response.status == 200
    assert seen == [(f"{ACCOUNT}/profile", 1, None, 0, False)]
    assert world.grants() == [(f"{ACCOUNT}/profile", 1, 1, 1, True)]
    assert [(entry.method, entry.path) for entry in sandbox.ledger("aurogy")] == [("GET", "/v1/profile")]


def test_questions_keep_to_the_lanes_limit(
    build: Build, world_of: Callable[[Installation], World], sandbox: SandboxServer, valkey: Redis
) -> None:
    """Given two a minute, when four are asked, of which one after Redis forgot, then two arrive."""
    world = world_of(build(limits={"profile": ["2/minute"]}, accounts=KEEPING))
    first = [world.ask() for _ in range(2)]
    third = world.ask()
    valkey.flushall()
    fourth = world.ask()

    assert [asked.left for asked in first] == [True, True]
    for asked in (third, fourth):
        assert (asked.left, asked.response) == (False, None)
        assert isinstance(asked.outcome, NotSent)
        assert 40 < asked.wait < 71
    assert len(sandbox.ledger("aurogy")) == 2
    assert [row[2:4] for row in world.grants()] == [(1, 1), (1, 1), (0, 0), (0, 0)]


def test_a_wrong_key_is_said_and_closes_nothing(world: World, sandbox: SandboxServer) -> None:
    """So that the operator who mends the key can ask again, without opening anything."""
    sandbox.settings("aurogy", {"keys": {"auro_test_sk_another0123456": {}}})
    assert isinstance(world.ask().outcome, Misconfigured)
    sandbox.settings("aurogy", {"keys": None})

    assert world.ask().outcome == Accepted()


def test_a_retry_after_closes_the_lane_for_everybody(
    world: World, world_of: Callable[[Installation], World], sandbox: SandboxServer
) -> None:
    """Given a 429 with a date, when it is asked again, here or elsewhere or after Redis forgot, then nothing leaves."""
    sandbox.fault("aurogy", "status", status=429, retry_after=300, count=1)
    assert isinstance(world.ask().outcome, Throttled)

    elsewhere = world_of(world.built)
    for asking in (world, elsewhere):
        asked = asking.ask()
        assert (asked.left, isinstance(asked.outcome, NotSent)) == (False, True)
        assert 240 < asked.wait < 302
    world.built.redis.flushall()
    assert not elsewhere.ask().left
    [row] = world.built.rows("SELECT * FROM paceline_lane WHERE name = :name", name=f"{ACCOUNT}/profile")
    assert row["closed_until"] is not None
    assert len(sandbox.ledger("aurogy")) == 1


def test_after_a_backoff_the_question_is_the_probe_that_opens_the_lane(world: World, sandbox: SandboxServer) -> None:
    sandbox.fault("aurogy", "status", status=503, count=1)
    assert isinstance(world.ask().outcome, Unavailable)
    [row] = world.built.rows("SELECT * FROM paceline_lane WHERE name = :name", name=f"{ACCOUNT}/profile")
    assert row["refusals"] == 1

    # when its time is over
    world.built.run("UPDATE paceline_lane SET closed_until = 1 WHERE refusals > 0")
    world.built.redis.flushall()
    again = World(world.built, world.built.redis, world.prober._transport)
    assert again.ask().outcome == Accepted()

    [row] = world.built.rows("SELECT * FROM paceline_lane WHERE name = :name", name=f"{ACCOUNT}/profile")
    assert (row["refusals"], row["closed_reason"]) == (0, None)


@pytest.mark.parametrize("whole_key", [True, False], ids=["key", "lane"])
def test_what_an_operator_closed_is_not_asked(world: World, sandbox: SandboxServer, whole_key: bool) -> None:
    operate.close(world.built.engine, [world.lane], whole_key=whole_key)

    asked = world.ask()

    assert (asked.left, asked.wait) == (False, math.inf)
    assert sandbox.ledger("aurogy") == []
    assert world.grants() == []


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ({"kind": "close"}, Unknown),
        ({"kind": "silence"}, Unknown),
        ({"kind": "broken_json"}, Unknown),
        ({"kind": "status", "status": 404}, Unknown),
        ({"kind": "status", "status": 400}, Refused),
        ({"kind": "status", "status": 500}, Unavailable),
    ],
)
def test_whatever_comes_back_the_row_is_closed_and_the_lane_stays_open(
    build: Build,
    world_of: Callable[[Installation], World],
    sandbox: SandboxServer,
    fault: dict[str, Any],
    outcome: type,
) -> None:
    world = world_of(build(timeout="6s" if fault["kind"] == "silence" else "60s", accounts=KEEPING))
    sandbox.fault("aurogy", **fault, count=1)

    asked = world.ask()

    assert (type(asked.outcome), asked.left) == (outcome, True)
    assert world.grants() == [(f"{ACCOUNT}/profile", 1, 1, 1, True)]
    assert world.ask().outcome == Accepted()


def test_a_provider_that_cannot_be_reached_got_nothing(build: Build, world_of: Callable[[Installation], World]) -> None:
    world = world_of(build(base_url="http://127.0.0.1:9/v1", accounts=KEEPING))

    asked = world.ask()

    assert isinstance(asked.outcome, NotSent)
    assert (asked.outcome.reason, asked.left, asked.wait) == ("not connected", False, 0.0)
    assert world.grants()[0][2:4] == (1, 1)


def test_without_a_broker_nothing_leaves(world: World, sandbox: SandboxServer, valkey: Redis) -> None:
    away = World(world.built, Redis(unix_socket_path="/nowhere.sock"), world.prober._transport)

    asked = away.ask()

    assert (asked.left, isinstance(asked.outcome, NotSent)) == (False, True)
    assert sandbox.ledger("aurogy") == []


def test_a_reader_that_trips_is_not_the_callers_to_bear(world: World, sandbox: SandboxServer) -> None:
    def tripping(*_: object) -> Accepted:
        raise ZeroDivisionError

    request = Request("GET", f"{sandbox.base_url('aurogy')}/profile", {})
    asked = world.prober.ask(world.sender, world.lane, request, tripping)

    assert asked.outcome == Unknown("unreadable answer (ZeroDivisionError)")
    assert world.grants()[0][3] == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_connection_is_held_while_the_provider_answers(world: World, sandbox: SandboxServer) -> None:
    held: list[int] = []
    event.listen(world.built.engine, "checkout", lambda *_: held.append(1))
    event.listen(world.built.engine, "checkin", lambda *_: held.pop())
    send = world.prober._transport.send

    def looking(*given: object) -> None:
        assert held == []
        send(*given)  # type: ignore[arg-type]

    world.prober._transport.send = looking  # type: ignore[method-assign, assignment]
    assert world.ask().outcome == Accepted()


def test_a_provider_without_a_question_has_no_lane_for_it(world: World) -> None:
    silent = replace(world.sender, provider=replace(world.sender.provider, parse_probe=None))

    assert probe_lane(silent, world.built.topology.lanes) is None
