"""`paceline demo` ends by itself, keeps its promises and leaves no process behind."""

import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from paceline.status import Status
from paceline.views import JobStatus, JobView
from tests.acceptance.commands_support import clean_environment
from worker.commands.demo_outcome import Tally, broken_promises

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
    out, err = running.communicate(timeout=60)

    # then it ends well, and says what arrived
    assert (running.returncode, err) == (0, ""), out
    told = closing_table(out)
    assert list(told) == ["aurogy", "augnet", "aurorasendcloud", "politicalcomms", "aulm"]
    aurogy = told["aurogy"]
    assert aurogy["enqueued"] == aurogy["attempts"] == 320
    assert aurogy["arrived"] == 318  # two recipients are unknown there
    assert aurogy["delivered"] + aurogy["failed"] == 320
    assert aurogy["of these read"] > 30
    for provider, enqueued in (("augnet", 90), ("aurorasendcloud", 50), ("politicalcomms", 12), ("aulm", 6)):
        facts = told[provider]
        assert [facts[name] for name in ("enqueued", "attempts", "arrived", "delivered")] == [enqueued] * 4
    for facts in told.values():
        assert (facts["answered 429"], facts["arrived twice"]) == (0, 0)
        assert facts["webhooks taken"] >= facts["delivered"]
    assert "in any window at aurogy: send 66 of 66/10s" in out
    assert "in any window at augnet: send 20 of 20/10s" in out
    assert "The broadcast: 25 recipients, 25 sent, 25 delivered." in out

    # and its own broadcast went as it was told to, and ended when that was said
    steps = re.findall(r"^\d\d:\d\d:\d\dZ  broadcast (.*)$", out, re.MULTILINE)
    order = ["scheduled", "forecast", "paused", "resumed", "finished"]
    assert [step.split()[0].rstrip(":,") for step in steps] == order
    assert steps[0].startswith("scheduled: 50 messages through augnet-main, at ")
    assert steps[1].endswith(", limited by 20/10s.")
    assert steps[4].endswith(", as forecast.")

    # and nothing is left: no process, and no file outside its own directory
    assert len(seen) >= 7
    assert not [each for each in seen if each.is_running()]
    assert [each.name for each in tmp_path.iterdir()] == [".paceline"]


def closing_table(out: str) -> dict[str, dict[str, int]]:
    """The facts of each provider."""
    lines = out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.split()[:2] == ["aurogy", "augnet"])
    providers, found = lines[start].split(), {}
    for line in lines[start + 2 :]:
        *name, numbers = line.split()[: -len(providers)], line.split()[-len(providers) :]
        if not numbers:
            break
        found[" ".join(name[0])] = [int(number) for number in numbers]
    return {provider: {name: row[number] for name, row in found.items()} for number, provider in enumerate(providers)}


NOW = datetime(2026, 4, 13, 14, 30, tzinfo=UTC)


def job(status: str = "done", **result: object) -> JobView:
    came = {"completed": True, "delivered": 25, "total_recipients": 25, **result} if status == "done" else None
    return JobView(
        "job-1", "pc-main", "broadcast", JobStatus(status), None, "It waits.", "", {}, came, None, NOW, NOW, None
    )


def tally(statuses: dict[str, int], accepted: int = 3, **arrived: object) -> Tally:
    stand = {Status(name): count for name, count in statuses.items()}
    return Tally("aurogy", 3, stand, accepted, 3, {**FINE, **arrived})


def test_a_demo_without_a_broken_promise_has_nothing_to_say() -> None:
    assert broken_promises([tally({"delivered": 2, "read": 1})], job()) == []


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (tally({"read": 3}, throttled=2), "2 requests were answered 429."),
        (tally({"read": 3}, duplicates={"surplus": 1}), "1 messages arrived twice."),
        (tally({"read": 3}, windows=[{"group": "send", "exceeded": True}]), "the limit of send was exceeded."),
        (tally({"read": 2}), "1 messages are missing."),
        (tally({"read": 3}, webhooks={"acknowledged": 0}), "no webhook was taken."),
        (tally({"read": 2, "unknown": 1}), "1 messages are unknown."),
        (tally({"read": 2, "queued": 1}), "not settled after 180 s: {'queued': 1}."),
        (tally({"read": 3}, accepted=2), "the sandbox accepted 3 messages, we know of 2."),
    ],
)
def test_each_broken_promise_is_told(broken: Tally, said: str) -> None:
    assert broken_promises([tally({"read": 3}), broken], job()) == [f"aurogy: {said}"]


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (job("queued"), "The broadcast of pc-main is queued: It waits."),
        (job(completed=False), "The broadcast of pc-main did not reach everybody."),
        (job(delivered=24), "The broadcast of pc-main did not reach everybody."),
    ],
)
def test_a_broadcast_that_did_not_reach_everybody_is_told(ended: JobView, said: str) -> None:
    assert broken_promises([tally({"read": 3})], ended) == [said]
