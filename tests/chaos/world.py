"""A small installation of real processes, and what may befall it. Everything random is drawn from one seed."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.background import SandboxServer
from tests.support.installation import Installation

ROOT = Path(__file__).resolve().parents[2]
CELERY = (sys.executable, "-m", "celery", "-A", "worker.app")


@dataclass
class Verdict:
    """What the provider's ledger says afterwards."""

    seed: int
    kills: int
    accepted: int
    doubles: int
    throttled: int
    busiest: int
    limit: int
    statuses: dict[str, int]

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.kills} kills; {self.accepted} accepted, {self.doubles} doubled, "
            f"{self.throttled} times 429, busiest window {self.busiest} of {self.limit}; {self.statuses}"
        )


@dataclass
class World:
    """Workers and beats over one installation, the sandbox as judge."""

    built: Installation
    sandbox: SandboxServer
    directory: Path
    limit: int
    window: float
    random: random.Random
    seed: int
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    beats: list[subprocess.Popen[bytes]] = field(default_factory=list)
    kills: int = 0
    _started: int = 0

    def start_worker(self) -> None:
        """One more worker process."""
        self._started += 1
        self.workers.append(self._spawn("worker", "-n", f"w{self._started}@%h", "-l", "warning"))

    def start_beat(self) -> None:
        """One more beat; two of them must do no harm."""
        self.beats.append(self._spawn("beat", "-l", "warning"))

    def _spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PACELINE_CONFIG": str(self.built.settings_file), "PYTHONWARNINGS": "ignore"}
        with (self.directory / "processes.log").open("ab") as log:
            return subprocess.Popen([*CELERY, *arguments], cwd=ROOT, env=environment, stdout=log, stderr=log)

    def kill_worker(self) -> None:
        """kill -9, and another one in its place."""
        self._kill(self.workers)
        self.start_worker()

    def kill_beat(self) -> None:
        """kill -9, and another one in its place."""
        self._kill(self.beats)
        self.start_beat()

    def forget(self) -> None:
        """FLUSHALL."""
        self.built.redis.flushall()

    def stop_and_continue(self) -> None:
        """A worker is stopped for longer than its token lives, and goes on as if nothing had been."""
        worker = self.random.choice(self.workers)
        worker.send_signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(0.5, 2.0))  # the fault itself
        worker.send_signal(signal.SIGCONT)

    def storm(self) -> None:
        """Some answers are lost, late, or refusals."""
        faults: list[Callable[[], int]] = [
            lambda: self.sandbox.fault("aurogy", "close", accept=True, count=2),
            lambda: self.sandbox.fault("aurogy", "status", status=503, count=3),
            lambda: self.sandbox.fault("aurogy", "status", status=429, retry_after=1, count=1),
            lambda: self.sandbox.fault("aurogy", "delay", seconds=0.8, count=5),
            lambda: self.sandbox.fault("aurogy", "close", accept=False, count=1),
        ]
        self.random.choice(faults)()

    def settled(self) -> bool:
        """True once nothing waits and nothing is under claim."""
        return not {"queued", "sending"} & self.built.statuses().keys()

    def stop(self) -> None:
        """End every process."""
        for process in (*self.workers, *self.beats):
            process.kill()
            process.wait()

    def verdict(self) -> Verdict:
        """What the ledger says."""
        entries = [entry for entry in self.sandbox.ledger("aurogy") if entry.group == "send"]
        accepted = Counter(entry.recipient for entry in entries if entry.accepted)
        arrivals = sorted(entry.monotonic for entry in entries)
        return Verdict(
            seed=self.seed,
            kills=self.kills,
            accepted=accepted.total(),
            doubles=sum(count - 1 for count in accepted.values()),
            throttled=sum(entry.status == 429 and not entry.fault for entry in entries),
            busiest=max((_within(arrivals, start, self.window) for start in range(len(arrivals))), default=0),
            limit=self.limit,
            statuses=self.built.statuses(),
        )

    def warnings(self) -> str:
        """What the processes complained of, last."""
        lines = (self.directory / "processes.log").read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if '"level": "info"' not in line)[-4000:]

    def _kill(self, processes: list[subprocess.Popen[bytes]]) -> None:
        process = processes.pop(self.random.randrange(len(processes)))
        process.kill()
        process.wait()
        self.kills += 1


def _within(arrivals: list[float], start: int, window: float) -> int:
    end = start
    while end < len(arrivals) and arrivals[end] - arrivals[start] < window:
        end += 1
    return end - start
