"""`paceline demo` ends by itself, keeps its promises and leaves no process behind."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.acceptance.commands_support import clean_environment
from worker.commands.demo import Outcome, broken_promises

FINE = {
    "throttled": 0,
    "duplicates": {"surplus": 0},
    "accepted": 3,
    "windows": [{"group": "send", "exceeded": False}],
    "webhooks": {"acknowledged": 3},
}


@pytest.mark.timeout(300)
def test_the_demo_delivers_every_message_within_its_limits(tmp_path: Path) -> None:
    # when the demo runs where there is no terminal
    before = time.monotonic()
    running = subprocess.Popen(
        [sys.executable, "-m", "paceline.cli", "demo"],
        cwd=tmp_path,
        env=clean_environment(PACELINE_DATABASE_URL="sqlite:///elsewhere.db"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen: set[psutil.Process] = set()
    while running.poll() is None and time.monotonic() - before < 250:
        seen |= set(psutil.Process(running.pid).children(recursive=True))
        time.sleep(0.5)  # between two looks
    out, err = running.communicate(timeout=30)

    # then it ends well, and says what arrived
    assert (running.returncode, err) == (0, ""), out
    rows = dict(
        line.strip().rsplit("  ", 1) for line in out.splitlines() if line.startswith("  ") and "  " in line.strip()
    )
    facts = {name.strip(): value.strip() for name, value in rows.items()}
    assert facts["enqueued"] == facts["attempts"] == "320"
    assert facts["sent"] == "318"
    assert int(facts["delivered"]) + int(facts["failed"]) == 320
    assert int(facts["of these read"]) > 30
    assert (facts["answered 429"], facts["arrived twice"]) == ("0", "0")
    assert int(facts["webhooks taken"]) >= 320
    assert facts["most send requests in any window"] == "66, limit 66/10s"

    # and nothing is left: no process, and no file outside its own directory
    assert len(seen) >= 7
    assert not [each for each in seen if each.is_running()]
    assert [each.name for each in tmp_path.iterdir()] == [".paceline"]


def outcome(statuses: dict[str, int], accepted: int = 3, **arrived: object) -> Outcome:
    return Outcome(3, statuses, accepted, 3, {**FINE, **arrived})


def test_a_demo_without_a_broken_promise_has_nothing_to_say() -> None:
    assert broken_promises(outcome({"delivered": 2, "read": 1})) == []


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (outcome({"read": 3}, throttled=2), "2 requests were answered 429."),
        (outcome({"read": 3}, duplicates={"surplus": 1}), "1 messages arrived twice."),
        (outcome({"read": 3}, windows=[{"group": "send", "exceeded": True}]), "The limit of send was exceeded."),
        (outcome({"read": 2}), "1 messages are missing."),
        (outcome({"read": 3}, webhooks={"acknowledged": 0}), "No webhook was taken."),
        (outcome({"read": 2, "unknown": 1}), "1 messages are unknown."),
        (outcome({"read": 2, "queued": 1}), "Not settled after 180 s: {'queued': 1}."),
        (outcome({"read": 3}, accepted=2), "The sandbox accepted 3 messages, we know of 2."),
    ],
)
def test_each_broken_promise_is_told(broken: Outcome, said: str) -> None:
    assert broken_promises(broken) == [said]
