"""The promises under fire: processes die, the broker forgets, the network lies. The provider's ledger is the judge."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from paceline import Outgoing, Text
from sandbox.background import SandboxServer
from tests.chaos.world import World
from tests.support.installation import ACCOUNT, Installation, recipient, until

Build = Callable[..., Installation]

LIMIT, WINDOW = 100, 2.0


def besiege(world: World, messages: int, blows: int, pause: float) -> None:
    """Enqueue, strike, and wait until everything has ended one way or another."""
    items = (
        Outgoing(
            Text(to=recipient(number), text="Your parcel leaves today."),
            ACCOUNT,
            priority=("bulk", "normal", "high")[number % 3],
        )
        for number in range(messages)
    )
    assert world.built.client.enqueue_many(items).enqueued == messages
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
    for _ in range(blows):
        world.random.choice(everything)()
        time.sleep(world.random.uniform(pause / 2, pause))  # between two blows
    world.sandbox.clear_faults("aurogy")
    until(world.settled, 90)


@pytest.mark.timeout(240)
def test_kills_lose_nothing_double_nothing_and_exceed_nothing(
    build: Build, sandbox: SandboxServer, tmp_path: Path
) -> None:
    """Given messages under way, when workers, beats and the broker are struck at random, then the ledger is clean."""
    seed = int(os.environ.get("PACELINE_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
    messages = int(os.environ.get("PACELINE_CHAOS_MESSAGES", "900"))
    blows = int(os.environ.get("PACELINE_CHAOS_BLOWS", "12"))
    sandbox.settings("aurogy", {"ratelimit": {"window": "sliding", "send": f"{LIMIT}/{WINDOW:.0f}s"}})
    built = build(
        timeout="2s",
        limits={"send": [f"{LIMIT}/{WINDOW:.0f}s"]},
        poll={"schedule": [600]},
        retry={"schedule": [0.2, 0.5, 1, 2, 4]},
    )
    world = World(built, sandbox, tmp_path, LIMIT, WINDOW, random.Random(seed), seed)
    try:
        besiege(world, messages, blows, pause=1.2)
    finally:
        world.stop()
        print((tmp_path / "processes.log").read_text(errors="replace")[-4000:])
    verdict = world.verdict()
    print(verdict)

    assert verdict.doubles == 0, verdict
    assert verdict.throttled == 0, verdict
    assert verdict.busiest <= LIMIT, verdict
    assert sum(verdict.statuses.values()) == messages, verdict
    assert set(verdict.statuses) <= {"accepted", "unknown"}, verdict
    # Unknown is at most what the killed held in flight, and what the storms lost.
    assert verdict.statuses.get("unknown", 0) <= 64 * world.kills + 3 * blows, verdict
    assert verdict.statuses["accepted"] >= messages * 0.5, verdict
