"""Starts processes, starts those again that end on their own, and stops them all in order, leaving none behind.

One thread, one loop: `turn` waits for output, for a process that ended and for signals. The first SIGINT or SIGTERM
asks to stop; each process is then told once, finishes what it has in hand, and is killed only when its grace is over
or a second signal asks for it. On Linux the processes also end when the supervisor itself is killed.
"""

import contextlib
import ctypes
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Self

from tenacity import RetryCallState, Retrying, wait_exponential

from paceline.errors import PacelineError
from worker.commands.output import Output

AGAIN = wait_exponential(multiplier=0.5, max=30)  # before a process that ended is started again
STEADY = 60.0  # seconds after which a process' earlier ends are forgotten
PREPARING = 0.1  # seconds between two tries to prepare a process
IMPATIENCE = 0.5  # seconds within which two signals are one: a terminal and a parent may both send it
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Child:
    """A process to run. Those of a higher `stage` stop first; `grace` is how many seconds they have for it.

    `prepare` is called again and again, until it answers True, each time the process was started.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    directory: Path
    stage: int
    grace: float = 10.0
    prepare: Callable[[], bool] | None = None


class ChildEnded(PacelineError):
    """A process ended while everything was still starting."""


class _Phase(Enum):
    STARTING = 1
    RUNNING = 2
    STOPPING = 3


@dataclass(slots=True)
class _Running:
    child: Child
    process: "subprocess.Popen[bytes]"
    since: float
    rest: bytes = b""
    last: str = ""
    prepared: bool = False


class Supervisor:
    """The processes of one command. `output` None leaves them our own stdout and stderr."""

    def __init__(self, output: Output | None = None) -> None:
        self.asked = 0  # how often a signal asked to stop
        self._output = output
        self._running: dict[str, _Running] = {}
        self._ends: dict[str, int] = {}
        self._waiting: dict[str, tuple[float, Child]] = {}
        self._phase = _Phase.STARTING
        self._asked_at = float("-inf")
        self._selector = selectors.DefaultSelector()
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        self._wake, self._woken = socket.socketpair()
        for end in (self._wake, self._woken):
            end.setblocking(False)
        self._selector.register(self._wake, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._ask)
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in self._before.items():
                signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal gave
            self._selector.close()
            for end in (self._wake, self._woken):
                end.close()

    @property
    def names(self) -> list[str]:
        """The processes that run now."""
        return list(self._running)

    def start(self, child: Child) -> None:
        """Start a process."""
        piped = self._output is not None
        process = subprocess.Popen(  # noqa: S603  # commands of ours
            child.command,
            env=child.environment,
            cwd=child.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else None,
            stderr=subprocess.STDOUT if piped else None,
            process_group=0,  # a terminal's Ctrl-C is for the supervisor alone
            preexec_fn=_follow(os.getpid()),
        )
        running = _Running(child, process, time.monotonic(), prepared=child.prepare is None)
        if process.stdout is not None:
            os.set_blocking(process.stdout.fileno(), False)
            self._selector.register(process.stdout, selectors.EVENT_READ, running)
        self._running[child.name] = running

    def ready(self) -> None:
        """From now on what ends on its own is started again."""
        self._phase = _Phase.RUNNING

    def turn(self, seconds: float) -> None:
        """Look after everything once; return after so many seconds at the latest, earlier if something happened.

        Raises `ChildEnded` if a process ended before `ready` was called.
        """
        dues = [due - time.monotonic() for due, _ in self._waiting.values()]
        dues += [PREPARING for running in self._running.values() if not running.prepared]
        for key, _ in self._selector.select(max(0.0, min([seconds, *dues]))):
            if key.fileobj is self._wake:
                _drain(self._wake)
            else:
                self._read(key.data)
        for running in [each for each in self._running.values() if each.process.poll() is not None]:
            self._ended(running)
        now = time.monotonic()
        for name in [name for name, (due, _) in self._waiting.items() if due <= now]:
            self.start(self._waiting.pop(name)[1])
        self._prepare()
        if self._output is not None:
            self._output.flush()

    def stop(self) -> None:
        """Stop everything, stage by stage; a second signal kills what is left."""
        self._phase = _Phase.STOPPING
        self._waiting.clear()
        asked = min(self.asked, 1)  # the second one may have come before we got here
        for stage in sorted({each.child.stage for each in self._running.values()}, reverse=True):
            group = [each for each in self._running.values() if each.child.stage == stage]
            for each in group:
                _signal(each, signal.SIGTERM)
            deadline = time.monotonic() + max(each.child.grace for each in group)
            while any(each.child.name in self._running for each in group):
                if self.asked > asked or time.monotonic() > deadline:
                    for each in group:
                        _signal(each, signal.SIGKILL)
                self.turn(0.2)
        if self._output is not None:
            self._output.flush(1.0)

    def _prepare(self) -> None:
        for running in self._running.values():
            if not running.prepared and self._phase is not _Phase.STOPPING:
                running.prepared = bool(running.child.prepare and running.child.prepare())

    def _ask(self, *_: object) -> None:
        now = time.monotonic()
        if now - self._asked_at > IMPATIENCE:
            self.asked += 1
        self._asked_at = now

    def _read(self, running: _Running) -> None:
        assert running.process.stdout is not None
        assert self._output is not None
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(running.process.stdout.fileno(), 65536):
                *lines, running.rest = (running.rest + chunk).split(b"\n")
                for line in lines:
                    self._print(running, line)

    def _print(self, running: _Running, line: bytes) -> None:
        assert self._output is not None
        text = line.decode(errors="replace").rstrip()
        if text:
            running.last = text
            self._output.line(running.child.name, text)

    def _ended(self, running: _Running) -> None:
        child, process = running.child, running.process
        del self._running[child.name]
        if process.stdout is not None:
            self._read(running)
            self._print(running, running.rest)
            self._selector.unregister(process.stdout)
            process.stdout.close()
        if self._phase is _Phase.STOPPING:
            return
        how = _how(process.returncode)
        if self._phase is _Phase.STARTING:
            raise ChildEnded(f"{child.name} {how} before it was ready" + (f": {running.last}" if running.last else "."))
        steady = time.monotonic() - running.since > STEADY
        ends = self._ends[child.name] = 1 if steady else self._ends.get(child.name, 0) + 1
        wait = _pause(ends)
        self._waiting[child.name] = (time.monotonic() + wait, child)
        self._say(f"{child.name} {how}; it is started again in {wait:g} s")

    def _say(self, sentence: str) -> None:
        if self._output is not None:
            self._output.line("paceline", sentence)
        else:
            sys.stderr.write(f"paceline: {sentence}\n")


def _follow(parent: int) -> Callable[[], None] | None:
    """Has the kernel end a process of ours when we are gone; only Linux can."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)

    def follow() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)  # we went while it was starting

    return follow


def _signal(running: _Running, number: signal.Signals) -> None:
    # The whole group when it is killed: a process that hangs does not end its own.
    with contextlib.suppress(ProcessLookupError):
        if number is signal.SIGKILL:
            os.killpg(running.process.pid, number)
        else:
            os.kill(running.process.pid, number)


def _drain(wake: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while wake.recv(4096):
            pass


def _how(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"


def _pause(ends: int) -> float:
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = ends
    return float(AGAIN(state))
