"""The promises under fire: processes die, the broker forgets, the network lies. The provider's ledger is the judge."""

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from paceline import Outgoing, Text
from sandbox.background import SandboxServer
from tests.chaos.world import World
from tests.support.installation import ACCOUNT, Installation, recipient, until

Build = Callable[..., Installation]

WINDOW = 2.0  # seconds


def besiege(world: World, siege: "Siege") -> None:
    """Enqueue, strike, and wait until everything has ended one way or another."""
    items = (
        Outgoing(
            Text(to=recipient(number), text="Your parcel leaves today."),
            ACCOUNT,
            priority=("bulk", "normal", "high")[number % 3],
        )
        for number in range(siege.messages)
    )
    assert world.built.client.enqueue_many(items).enqueued == siege.messages
    world.start_worker()
    world.start_worker()
    world.start_beat()
    world.start_beat()
    until(lambda: world.sandbox.ledger("aurogy"), 30)
    everything = [
        world.kill_worker,
        world.kill_worker,
        world.forget,
        world.storm,
        world.stop_and_continue,
        world.kill_beat,
    ]
    for _ in range(siege.blows):
        world.random.choice(everything)()
        time.sleep(world.random.uniform(0.6, 1.2))  # between two blows
    world.sandbox.clear_faults("aurogy")
    until(world.settled, siege.patience)


@dataclass(frozen=True)
class Siege:
    """How much is sent through which limit, and how often something is struck."""

    messages: int
    blows: int
    limit: int
    patience: float  # seconds until all has ended, after the last blow


SHORT = Siege(messages=900, blows=12, limit=100, patience=90)
LONG = Siege(messages=20_000, blows=150, limit=200, patience=600)


@pytest.mark.timeout(240)
def test_kills_lose_nothing_double_nothing_and_exceed_nothing(
    build: Build, sandbox: SandboxServer, tmp_path: Path
) -> None:
    """Given messages under way, when workers, beats and the broker are struck at random, then the ledger is clean."""
    hold(SHORT, build, sandbox, tmp_path)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_a_long_siege(build: Build, sandbox: SandboxServer, tmp_path: Path) -> None:
    """The same, for twenty thousand messages."""
    hold(LONG, build, sandbox, tmp_path)


def hold(siege: Siege, build: Build, sandbox: SandboxServer, directory: Path) -> None:
    """Besiege an installation, and hold what the provider's ledger says against the promises."""
    seed = int(os.environ.get("PACELINE_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
    limit = f"{siege.limit}/{WINDOW:.0f}s"
    sandbox.settings("aurogy", {"ratelimit": {"window": "sliding", "send": limit}})
    built = build(
        timeout="2s",
        limits={"send": [limit]},
        poll={"schedule": [6000]},
        retry={"schedule": [0.2, 0.5, 1, 2, 4]},
    )
    world = World(built, sandbox, directory, siege.limit, WINDOW, random.Random(seed), seed)
    try:
        besiege(world, siege)
    finally:
        world.stop()
        print(world.warnings())
    verdict = world.verdict()
    print(verdict)

    assert "raised unexpected" not in world.warnings()

    assert verdict.doubles == 0, verdict
    assert verdict.throttled == 0, verdict
    assert verdict.busiest <= siege.limit, verdict
    assert sum(verdict.statuses.values()) == siege.messages, verdict
    assert set(verdict.statuses) <= {"accepted", "unknown"}, verdict
    # Unknown is at most what the killed held in flight, and what the storms lost.
    assert verdict.statuses.get("unknown", 0) <= 64 * world.kills + 3 * siege.blows, verdict
    assert verdict.statuses["accepted"] >= siege.messages * 0.5, verdict
