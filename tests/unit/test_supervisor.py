"""The supervisor, with small Python programs as its children."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from worker.commands import supervisor as supervisors
from worker.commands.supervisor import Child, ChildEnded, Supervisor

ROOT = Path(__file__).resolve().parents[2]

FOREVER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
SLOW_TO_STOP = """
import signal, sys, time
def stop(*_):
    time.sleep(0.3); print('finished', end='', flush=True); sys.exit()
signal.signal(15, stop); print('up', flush=True)
while True: time.sleep(1)
"""


@dataclass
class Lines:
    """An output that keeps what it was told."""

    told: list[tuple[str, str]] = field(default_factory=list)

    def line(self, name: str, text: str) -> None:
        self.told.append((name, text))

    def flush(self, seconds: float = 0.0) -> None:
        pass


def child(name: str, program: str, stage: int = 0, grace: float = 60.0) -> Child:
    return Child(name, [sys.executable, "-c", program], dict(os.environ), ROOT, stage, grace)


def left_behind() -> list[psutil.Process]:
    """Programs of these tests that still run; the servers of other tests are not ours."""
    return [each for each in psutil.Process().children() if FOREVER in each.cmdline() or STUBBORN in each.cmdline()]


def turn_until(supervisor: Supervisor, condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        supervisor.turn(0.1)


def test_children_are_heard_and_stopped_stage_by_stage() -> None:
    # given a broker below a worker that takes a moment to finish
    lines = Lines()
    with Supervisor(lines) as supervisor:
        supervisor.start(child("broker", SLOW_TO_STOP, stage=0))
        supervisor.start(child("worker", SLOW_TO_STOP, stage=1))
        turn_until(supervisor, lambda: len(lines.told) == 2)
        supervisor.ready()

    # when it is stopped, then the worker has finished before the broker, and neither is started again
    assert lines.told[2:] == [("worker", "finished"), ("broker", "finished")]
    assert supervisor.names == []


def test_a_child_that_hangs_is_killed_after_its_grace() -> None:
    lines = Lines()
    with Supervisor(lines) as supervisor:
        supervisor.start(child("worker", STUBBORN, grace=0.3))
        turn_until(supervisor, lambda: lines.told)
        began = time.monotonic()
    assert 0.3 <= time.monotonic() - began < 60  # it would run for ten minutes
    assert left_behind() == []


def test_a_second_signal_kills_at_once() -> None:
    # given a child that does not listen, and a first signal
    lines = Lines()
    with Supervisor(lines) as supervisor:
        supervisor.start(child("worker", STUBBORN, grace=600))
        turn_until(supervisor, lambda: lines.told)
        os.kill(os.getpid(), signal.SIGINT)
        turn_until(supervisor, lambda: supervisor.asked)
        # when a second one comes while it is waited for
        later = subprocess.Popen(["/bin/sh", "-c", f"sleep 1; kill -INT {os.getpid()}"])
        began = time.monotonic()
    # then it is not waited for any longer
    assert time.monotonic() - began < 60
    later.wait()


def test_a_second_signal_before_anything_was_stopped_kills_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a child that does not listen, and two signals before the first is heeded
    monkeypatch.setattr(supervisors, "IMPATIENCE", -1.0)
    lines = Lines()
    with Supervisor(lines) as supervisor:
        supervisor.start(child("worker", STUBBORN, grace=600))
        turn_until(supervisor, lambda: lines.told)
        for count in (1, 2):
            os.kill(os.getpid(), signal.SIGINT)
            turn_until(supervisor, lambda count=count: supervisor.asked == count)  # type: ignore[misc]
        began = time.monotonic()
    # then it is not waited for
    assert time.monotonic() - began < 60


def test_what_ends_on_its_own_is_started_again() -> None:
    # given a child that ends after a word, in a supervisor that is ready
    lines = Lines()
    with Supervisor(lines) as supervisor:
        supervisor.ready()
        supervisor.start(child("worker", "print('once more'); raise SystemExit(3)"))

        # when it has ended, then it comes again, and the pauses grow
        turn_until(supervisor, lambda: lines.told.count(("worker", "once more")) == 3)
    said = [text for name, text in lines.told if name == "paceline"]
    assert said[:2] == [
        "worker ended with status 3; it is started again in 0.5 s",
        "worker ended with status 3; it is started again in 1 s",
    ]


def test_what_ends_before_everything_is_ready_ends_the_start() -> None:
    def start() -> None:
        with Supervisor(Lines()) as supervisor:
            supervisor.start(child("broker", FOREVER))
            supervisor.start(child("hooks", "raise SystemExit('no such thing')"))
            turn_until(supervisor, lambda: False)

    with pytest.raises(ChildEnded, match=r"^hooks ended with status 1 before it was ready: no such thing$"):
        start()
    assert left_behind() == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends the children of a killed process")
def test_children_end_with_a_supervisor_that_is_killed() -> None:
    # given a supervisor in a process of its own
    program = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from tests.unit.test_supervisor import FOREVER, Lines, child
from worker.commands.supervisor import Supervisor
lines = Lines()
with Supervisor(lines) as supervisor:
    supervisor.start(child("worker", FOREVER))
    while not lines.told: supervisor.turn(1)
    print("started", flush=True)
    while True: supervisor.turn(1)
"""
    running = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline() == b"started\n"
    children = psutil.Process(running.pid).children()
    assert len(children) == 1

    # when it is killed without a word, then its child ends as well
    running.kill()
    running.wait()
    running.stdout.close()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []


def test_a_child_is_prepared_each_time_it_was_started() -> None:
    # given a child that forgets what it was told, and takes two tries to listen
    lines = Lines()
    tries: list[int] = []

    def prepare() -> bool:
        tries.append(len(tries))
        return len(tries) % 2 == 0

    forgetful = Child("forgetful", [sys.executable, "-c", FOREVER], dict(os.environ), ROOT, 0, prepare=prepare)
    with Supervisor(lines) as supervisor:
        supervisor.start(forgetful)
        turn_until(supervisor, lambda: len(tries) == 2)
        supervisor.ready()
        supervisor.turn(0.1)
        assert len(tries) == 2, "once is enough"

        # when it dies and is started again
        (victim,) = left_behind()
        victim.kill()
        turn_until(supervisor, lambda: len(tries) == 4)
    assert len(tries) == 4, "one that stops is told nothing"
