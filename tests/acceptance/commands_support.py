"""The command as its users run it: in a directory of their own, in a process of its own or in this one."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from paceline import Client
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "aurogy-main"
RECIPIENT = "auro_usr_7h2m40c9x1"
START = 90.0  # seconds; everything together takes five on an idle machine


@dataclass
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, read as JSON."""
        return json.loads(self.out)


def clean_environment(**more: str) -> dict[str, str]:
    """Ours without any of Paceline's variables, in which the checkout is found."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PACELINE_")}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def paceline(directory: Path, *arguments: str, **environment: str) -> Ran:
    """Run a command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "paceline.cli", *arguments],
        cwd=directory,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@dataclass
class Ports:
    """Where the parts that serve are to listen."""

    hooks: int
    metrics: int
    flower: int
    sandbox: int


def free_ports() -> Ports:
    return Ports(*(free_port() for _ in range(4)))


def configure(directory: Path, more: str = "") -> Ports:
    """Write a paceline.toml with one Aurogy account, whose credentials are the sandbox's."""
    ports = free_ports()
    (directory / "paceline.toml").write_text(
        f'[hooks]\nbind = "127.0.0.1:{ports.hooks}"\nmetrics_bind = "127.0.0.1:{ports.metrics}"\n'
        f'[flower]\nbind = "127.0.0.1:{ports.flower}"\n'
        f'[sandbox]\nbind = "127.0.0.1:{ports.sandbox}"\n[worker]\nprocesses = 2\n'
        f'[accounts.{ACCOUNT}]\nprovider = "aurogy"\n{more}[accounts.{ACCOUNT}.poll]\nschedule = [1, 2]\n'
    )
    return ports


def get(port: int, path: str) -> tuple[int, bytes]:
    """An answer's status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def post(port: int, path: str, body: Mapping[str, Any]) -> int:
    """An answer's status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def until(condition: Callable[[], object], seconds: float = START) -> None:
    """Return once the condition holds; fail if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)  # between two looks


@dataclass
class Up:
    """A running `paceline up --sandbox`, and what it said."""

    directory: Path
    ports: Ports
    process: "subprocess.Popen[str]"
    lines: list[str] = field(default_factory=list)

    def children(self) -> dict[str, psutil.Process]:
        """Its processes by what they are; without those that just end or begin."""
        found = {}
        for each in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                found[_part(each.cmdline())] = each
        return found

    def paceline(self, *arguments: str) -> Ran:
        """Run another command beside it."""
        return paceline(self.directory, *arguments, PACELINE_SANDBOX="1")

    def status(self, message: str) -> str:
        """Where a message stands, read without a process of its own."""
        with Client(self.directory / "paceline.toml", environ={}) as client:
            return str(client.status(message).status)

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """Tell it once, and wait; its exit code."""
        self.process.send_signal(how)
        return self.process.wait(timeout=START)

    def said(self) -> str:
        """All of it, for a failure's message."""
        return "\n".join(self.lines)


@contextmanager
def up(directory: Path, more: str = "") -> Iterator[Up]:
    """`paceline up --sandbox`, ready; killed at the end if the test did not stop it."""
    ports = configure(directory, more)
    process = subprocess.Popen(
        [sys.executable, "-m", "paceline.cli", "up", "--sandbox"],
        cwd=directory,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running = Up(directory, ports, process)
    assert process.stdout is not None
    stdout = process.stdout
    reader = threading.Thread(target=lambda: running.lines.extend(line.rstrip("\n") for line in stdout), daemon=True)
    reader.start()
    try:
        until(lambda: "ready" in running.lines or process.poll() is not None, START)
        assert process.poll() is None, running.said()
        yield running
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        reader.join(timeout=START)
        stdout.close()


def _part(command: list[str]) -> str:
    if "--hostname" in command:
        return command[command.index("--hostname") + 1].partition("@")[0]
    return next((word for word in reversed(command) if word in ("beat", "flower", "hooks", "sandbox")), "broker")
