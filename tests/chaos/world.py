"""A small installation of real processes under siege, and what the provider's ledger says of it afterwards."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from paceline import Email, Outgoing, Text
from paceline.database import read
from paceline.errors import DatabaseNotReady
from paceline.messages import Message
from sandbox.process import SandboxProcess
from tests.chaos.servers import Database, Valkey, stopped
from tests.chaos.turned import set_clock
from tests.support.installation import ACCOUNT, Installation, until

ROOT = Path(__file__).resolve().parents[2]
CELERY = ("celery", "--quiet", "-A", "worker.app")
SANDBOX = {ACCOUNT: "aurogy", "sms": "augnet", "mail": "aurorasendcloud"}  # account → the provider it sends through
WINDOW = 4.0  # seconds
TIMEOUT = 4.0  # seconds of one request
GUARD = 0.4  # seconds: the default for such a window
LEASE = TIMEOUT + GUARD + 15.0  # seconds
STORM_WAIT = 4.0  # seconds of Retry-After that a storm's 429 asks for
LADDER = [0.5, 1, 2, 4, 8, 15, 15, 15, 15, 15]  # seconds between two tries to deliver a webhook
SERVER_AWAY = ("ConnectionError", "OperationalError", "TimeoutError", "BusyLoadingError")
SECRETS = {ACCOUNT: "auro_whsec_siege", "sms": "sk_augnet_siege", "mail": "sc_app_siege"}

ACCOUNTS = """
[accounts.sms]
provider = "augnet"
base_url = "{augnet}"
project_id = "5f0c2d7e-9a41-4b1f-8f57-2c1b7e0a9d33"
api_key = "ak_live_siege"
sender = "ABCTAXI"
signing_key = "{sms}"
timeout = "4s"
limits.send = ["{limit}"]
retry.schedule = {schedule}
[accounts.mail]
provider = "aurorasendcloud-email"
base_url = "{aurorasendcloud}"
api_user = "acme_api"
api_key = "k_siege"
sender = "news@mail.example.com"
webhook_secret = "{mail}"
timeout = "4s"
limits.send = ["{limit}"]
retry.schedule = {schedule}
poll.schedule = [10]
[worker]
in_flight = 16
[hooks]
bind = "127.0.0.1:{hooks}"
metrics_bind = ""
public_url = "http://127.0.0.1:{hooks}"
"""
SCHEDULE = [0.2, 0.5, 1, 2, 4, 4, 4, 4]  # seconds: of the retry budget


def accounts(sandbox: SandboxProcess, limit: int, hooks: int) -> str:
    """The configuration of all accounts but the first, and where webhooks are received."""
    urls = {name: sandbox.base_url(name) for name in SANDBOX.values()}
    return ACCOUNTS.format(
        **urls, **{name: SECRETS[name] for name in ("sms", "mail")}, limit=f"{limit}/4s", schedule=SCHEDULE, hooks=hooks
    )


def besieged(sandbox: SandboxProcess, limit: int, hooks: int) -> None:
    """Tell the sandbox its limits, each of another kind, and where its webhooks go."""
    quick = {"sent_after": 0.1, "delivered_after": 0.4, "read_after": 0.8}
    rates = {
        "aurogy": {"window": "sliding", "send": f"{limit}/4s"},
        "augnet": {"enforced": True, "window": "first-hit", "send": f"{limit}/4s"},
        "aurorasendcloud": {"window": "fixed", "mail": f"{limit}/4s"},
    }
    for account, provider in SANDBOX.items():
        url = f"http://127.0.0.1:{hooks}/hooks/{account}"
        webhook = {"url": url, "secret": SECRETS[account], "retry_delays": LADDER}
        patch = {"ratelimit": rates[provider], "lifecycle": quick, "webhook": webhook}
        sandbox.settings(provider, patch)


def message(account: str, number: int) -> Message:
    """The message of that number, to somebody whom no other goes to."""
    if account == "mail":
        return Email(f"person{number}@example.org", "Hello", html="<p>Hi</p>")
    to = f"+4477{number:08d}" if account == "sms" else f"auro_usr_{number:08d}a"
    return Text(to, "Your parcel leaves today.")


@dataclass
class World:
    """Processes over one installation, and the servers that they use. Everything random is drawn from one seed."""

    built: Installation
    sandbox: SandboxProcess
    valkey: Valkey
    database: Database
    directory: Path
    limit: int
    seed: int
    chance: random.Random = field(init=False)
    processes: dict[str, "list[subprocess.Popen[bytes]]"] = field(default_factory=dict)
    killed: Counter[str] = field(default_factory=Counter)
    exits: int = 0  # processes that ended by themselves, because a server was away when they began
    held: set[str] = field(default_factory=set)  # what was under claim when a process died or stood still
    deaths: list[float] = field(default_factory=list)  # monotonic
    resets: int = 0  # connections that the sandbox resets before it reads, so that its ledger knows nothing of them
    dealt: list[tuple[float, str]] = field(default_factory=list)  # monotonic, and the blow
    clocks: dict[int, Path] = field(default_factory=dict)  # by process id: what its wall clock is turned by
    asleep: "dict[float, subprocess.Popen[bytes]]" = field(default_factory=dict)
    enqueued: int = 0
    refused: int = 0  # calls of enqueue that raised, and were made again
    _started: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    # Processes

    def start(self, kind: str) -> None:
        """One more worker, beat or hooks."""
        self._started += 1
        clock = self.directory / f"clock-{self._started}"
        set_clock(clock, 0)
        if kind == "hooks":  # its clock is as right as its host's: it must know which signatures are old
            command: Sequence[str] = (sys.executable, "-m", "paceline.cli", "hooks")
        else:
            name = ("-n", f"w{self._started}@%h") if kind == "worker" else ()
            command = (sys.executable, "-m", "tests.chaos.turned", str(clock), *CELERY, kind, *name, "-l", "warning")
        environment = {**os.environ, "PACELINE_CONFIG": str(self.built.settings_file), "PYTHONWARNINGS": "ignore"}
        with (self.directory / "processes.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        self.processes.setdefault(kind, []).append(process)
        self.clocks[process.pid] = clock

    def turn(self, kind: str, seconds: int) -> None:
        """Set one's wall clock ahead by so much, or behind."""
        set_clock(self.clocks[self.chance.choice(self.processes[kind]).pid], seconds)

    def kill(self, kind: str) -> None:
        """kill -9 one, and start another in its place; what was under claim then is remembered."""
        awake = [process for process in self.processes[kind] if process not in self.asleep.values()]
        process = self.chance.choice(awake)
        process.kill()
        process.wait()
        self.deaths.append(time.monotonic())
        self.killed[kind] += 1
        self.processes[kind].remove(process)
        self.hold()
        self.start(kind)

    def put_to_sleep(self, seconds: float) -> None:
        """SIGSTOP a worker, which `attend` wakes so much later, to go on as if nothing had been."""
        if self.asleep:
            return
        process = self.chance.choice(self.processes["worker"])
        stopped(process)
        self.deaths.append(time.monotonic())
        self.asleep[time.monotonic() + seconds] = process
        self.hold()

    def attend(self) -> None:
        """What a supervisor does: wake who has slept enough, start again what has ended by itself."""
        for at in [at for at in self.asleep if at <= time.monotonic()]:
            self.asleep.pop(at).send_signal(signal.SIGCONT)
        for kind, processes in self.processes.items():
            for process in [process for process in processes if process.poll() is not None]:
                processes.remove(process)
                self.exits += 1
                self.deaths.append(time.monotonic())
                self.start(kind)

    def awake(self) -> bool:
        """True once nobody sleeps."""
        self.attend()
        return not self.asleep

    def hold(self) -> None:
        """Remember what is under claim."""

        def look() -> bool:
            # Who stands still may hold SQLite's one writer, for which a reader need not wait.
            with read(self.built.engine) as connection:
                self.held.update(connection.scalars(text("SELECT id FROM paceline_message WHERE status = 'sending'")))
            return True

        self.patiently(look)

    def stop(self) -> None:
        """End every process."""
        for process in [process for processes in self.processes.values() for process in processes]:
            process.kill()
            process.wait()

    # Messages

    def feed(self, count: int) -> None:
        """Enqueue so many to each account: again and again until that is certain, as an application would."""
        for account in SANDBOX:
            items = [
                Outgoing(
                    message(account, self.enqueued + number),
                    account,
                    idempotency_key=f"{account}-{self.enqueued + number}",
                    priority=("bulk", "normal", "high")[number % 3],
                )
                for number in range(count)
            ]
            self.patiently(partial(self._enqueue, items))
        self.enqueued += count

    def _enqueue(self, items: Sequence[Outgoing]) -> bool:
        return not self.built.client.enqueue_many(items).rejected

    def patiently(self, call: Callable[[], bool]) -> None:
        """Call it until the database is there to answer."""

        def tried() -> bool:
            self.attend()
            try:
                return call()
            except (DatabaseNotReady, SQLAlchemyError):
                self.refused += 1
                return False

        until(tried, 90)

    def statuses(self) -> Mapping[str, int]:
        """How many messages stand where; nothing while the database is away."""
        try:
            return self.built.statuses()
        except SQLAlchemyError:
            return {"unavailable": 1}

    def settled(self) -> bool:
        """True once nothing waits, nothing is under claim, and webhooks or polls have told of all that was accepted."""
        self.attend()
        return not {"queued", "sending", "accepted", "sent", "unavailable"} & self.statuses().keys()

    def warnings(self) -> str:
        """What the processes complained of, last."""
        return "\n".join(line for line in self._lines() if '"level": "info"' not in line)[-4000:]

    def bugs(self) -> list[str]:
        """Tasks that ended with anything else than a server that was away: the next tick does what they did not."""
        return [
            line[:300]
            for line in self._lines()
            if "raised unexpected" in line and not any(away in line for away in SERVER_AWAY)
        ]

    def _lines(self) -> list[str]:
        return (self.directory / "processes.log").read_text(errors="replace").splitlines()


@contextmanager
def running(world: World, workers: int) -> Iterator[World]:
    """The world with its processes: so many workers, two beats and the receiver of webhooks."""
    try:
        for kind in ("hooks", "beat", "beat", *["worker"] * workers):
            world.start(kind)
        yield world
    finally:
        world.stop()
