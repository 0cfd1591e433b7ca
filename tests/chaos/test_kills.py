"""The promises under fire: processes die, servers forget, the network lies. The providers' ledgers are the judge."""

import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis

from paceline.connection import resolve
from paceline.database import engine
from sandbox.process import SandboxProcess
from tests.chaos.blows import blows, strike
from tests.chaos.servers import FAKETIME, Database, SQLite, Valkey, own_postgresql, own_valkey
from tests.chaos.verdict import Verdict, judge
from tests.chaos.world import LEASE, SCHEDULE, SECRETS, World, accounts, besieged, running
from tests.support.installation import installation, until
from tests.support.ports import free_port
from worker import schema


@dataclass(frozen=True)
class Siege:
    """How much is sent through which limit in four seconds, how often each blow is dealt, and how quickly."""

    messages: int  # to each of three accounts
    limit: int
    workers: int
    blows: Mapping[str, int]
    pause: tuple[float, float]  # seconds between two blows, from and to
    patience: float  # seconds until all has ended, after the last blow


SHORT = Siege(
    messages=300,
    limit=40,
    workers=2,
    blows={
        "kill worker": 4,
        "kill beat": 1,
        "kill hooks": 1,
        "stop": 1,
        "flush": 2,
        "old file": 2,
        "broker away": 1,
        "database": 2,
        "storm": 6,
        "webhooks": 1,
        "duplicates": 1,
        "broker's clock": 2,
        "database's clock": 1,
        "worker's clock": 2,
        "beat's clock": 1,
    },
    pause=(0.1, 0.8),
    patience=120,
)
LONG = Siege(
    messages=7_000,
    limit=80,
    workers=3,
    blows={
        "kill worker": 64,
        "kill beat": 22,
        "kill hooks": 16,
        "stop": 6,
        "pause": 12,
        "flush": 14,
        "old file": 10,
        "broker away": 4,
        "broker away for minutes": 1,
        "database": 14,
        "storm": 60,
        "webhooks": 6,
        "duplicates": 10,
        "broker's clock": 12,
        "database's clock": 3,
        "worker's clock": 12,
        "beat's clock": 4,
    },
    pause=(0.5, 2.0),
    patience=900,
)
KILLS = Siege(messages=4_500, limit=400, workers=2, blows={"kill worker": 30}, pause=(0.5, 1.5), patience=300)


@pytest.fixture
def valkey_alone() -> Iterator[Valkey]:
    """A Valkey that nobody else uses."""
    with own_valkey() as made:
        yield made


@pytest.fixture
def sandbox() -> Iterator[SandboxProcess]:
    """The judge: a process of its own, which no siege keeps from its processor for long."""
    with SandboxProcess("keepalive = 86400.0\n") as judge:
        yield judge


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated database that nobody else uses, of both kinds in turn."""
    if request.param == "sqlite":
        file = SQLite(tmp_path / "paceline.db")
        shutil.copy(request.getfixturevalue("sqlite_template"), file.file)
        yield file
        file.close()
        return
    with own_postgresql() as server:
        made = engine(resolve(database_url=server.url, broker_url="redis://nowhere", environ={}))
        schema.migrate(made)
        made.dispose()
        yield server


@pytest.mark.timeout(400)
def test_a_short_siege(valkey_alone: Valkey, database: Database, sandbox: SandboxProcess, tmp_path: Path) -> None:
    """Given messages to three providers, when whatever can die does, then nothing is lost, doubled, or over a limit."""
    hold(SHORT, valkey_alone, database, sandbox, tmp_path)


@pytest.mark.chaos
@pytest.mark.timeout(3 * 3600)
def test_a_long_siege(valkey_alone: Valkey, database: Database, sandbox: SandboxProcess, tmp_path: Path) -> None:
    """The same, for twenty thousand messages and more, through a hundred kills."""
    hold(LONG, valkey_alone, database, sandbox, tmp_path)


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_kills_leave_nothing_unknown_that_never_left(
    valkey_alone: Valkey, database: Database, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    """Given workers that are killed and nothing else, then all that is unknown had arrived, and what they had in hand
    was sent by others. One or the other may die between its hook and its first byte."""
    assert hold(KILLS, valkey_alone, database, sandbox, tmp_path).in_vain <= 2


def hold(siege: Siege, valkey: Valkey, database: Database, sandbox: SandboxProcess, directory: Path) -> Verdict:
    """Besiege an installation, and hold what the providers' ledgers say against the promises."""
    seed = int(os.environ.get("PACELINE_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
    began = time.monotonic()
    with built_world(siege, valkey, database, sandbox, directory, seed) as world, running(world, siege.workers):
        try:
            besiege(world, siege)
        finally:
            print(f"\nseed {seed}, {type(database).__name__}")
            if world.statuses().keys() & {"queued", "sending", "unavailable"}:
                print(world.warnings())
        verdict = judge(world)
        clock = "" if FAKETIME else " (without libfaketime no server's clock was turned)"
        print(f"{dict(siege.blows)}{clock}")
        print(
            f"{world.killed.total()} kills, {world.exits} processes ended by themselves, {world.refused} calls repeated"
        )
        print(
            f"{time.monotonic() - began:.0f} s, limit {siege.limit} in any 4 s: {verdict}",
            *verdict.overfull,
            *verdict.puzzles,
            sep="\n",
        )
    assert verdict.wrong(siege.limit) == []
    assert verdict.messages == 3 * siege.messages
    assert world.bugs() == []
    return verdict


@contextmanager
def built_world(
    siege: Siege, valkey: Valkey, database: Database, sandbox: SandboxProcess, directory: Path, seed: int
) -> Iterator[World]:
    """An installation of three accounts on these servers."""
    hooks = free_port()
    besieged(sandbox, siege.limit, hooks)
    with (
        tempfile.TemporaryDirectory(prefix="pls") as place,
        closing(Redis.from_url(valkey.url)) as redis,
        installation(
            Path(place),
            database.url,
            redis,
            sandbox.base_url("aurogy"),
            accounts(sandbox, siege.limit, hooks),
            timeout="4s",
            webhook_secret=SECRETS["aurogy-main"],
            on_unknown="retry",
            limits={"send": [f"{siege.limit}/4s"]},
            retry={"schedule": SCHEDULE},
            poll={"schedule": [10]},
        ) as built,
    ):
        yield World(built, sandbox, valkey, database, directory, siege.limit, seed)


def besiege(world: World, siege: Siege) -> None:
    """Feed and strike by turns, and wait until everything has ended one way or another."""
    deck = [name for name, count in siege.blows.items() for _ in range(count)]
    world.chance.shuffle(deck)
    if "stop" in deck:
        deck.insert(0, deck.pop(deck.index("stop")))  # it lasts for longer than a lease, while others are dealt
    assert set(deck) <= blows().keys()
    share = (siege.messages - 1) // len(deck)  # and something before the first blow
    world.feed(siege.messages - share * len(deck))
    world.sandbox.wait_for_requests("aurogy", 1, timeout=60)
    world.valkey.keep()
    for name in deck:
        world.feed(share)
        strike(world, name)
        world.attend()
        time.sleep(world.chance.uniform(*siege.pause))  # between two blows
    until(world.awake, LEASE + 5)
    for provider in ("aurogy", "augnet", "aurorasendcloud"):
        world.sandbox.clear_faults(provider)
    until(world.settled, siege.patience)
