"""The baseline: how many messages a second a plain Celery sender delivers to the stub (see `plain_app`).

The pool and its concurrency are the best of those tried here, so that the baseline is an honest one.
`python -m benchmarks.plain_celery` tries them all and prints what each delivers.
"""

import argparse
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import insert
from sqlmodel import SQLModel, create_engine

from benchmarks import plain_app
from benchmarks.measure import Run, cpu_seconds, sustained
from benchmarks.report import say
from benchmarks.world import BenchmarkFailed, Servers, process, servers, valkey

MESSAGES = 3_000
TRIAL = 600  # messages of each candidate's trial
PATIENCE = 240.0  # seconds for all to arrive


@dataclass(frozen=True, slots=True)
class Pool:
    """A way to run the workers: `workers` Celery workers of this pool, each with so many processes or threads."""

    kind: str
    concurrency: int
    workers: int = 1

    def __str__(self) -> str:
        return (
            f"{self.kind} {self.workers} x {self.concurrency}"
            if self.workers > 1
            else f"{self.kind} {self.concurrency}"
        )


POOLS = (
    Pool("prefork", 8),
    Pool("prefork", 16),
    Pool("prefork", 24),
    Pool("threads", 32),
    Pool("threads", 16, workers=2),
    Pool("threads", 32, workers=2),
)


def run(at: Servers, pool: Pool, messages: int = MESSAGES) -> Run:
    """Store and enqueue `messages`, then start the workers and see how fast the messages arrive."""
    at.stub.clear()
    with contextlib.ExitStack() as stack:
        environ = {
            **at.environ,
            plain_app.DATABASE: at.postgres.database("plain"),
            plain_app.BROKER: stack.enter_context(valkey()).connection_url,
            plain_app.PROVIDER: at.stub.url,
            plain_app.THREADS: str(pool.concurrency if pool.kind == "threads" else 1),
        }
        _enqueue(environ, messages)
        log = at.directory / "plain.log"
        workers = [
            stack.enter_context(process(*_command(pool, number), environ=environ, log=log))
            for number in range(pool.workers)
        ]
        at.stub.wait(messages // 10, seconds=PATIENCE)
        pids = [each.pid for each in workers]
        started, before = at.stub.count(), cpu_seconds(pids)
        at.stub.wait(messages, seconds=PATIENCE, alive=lambda: all(each.poll() is None for each in workers))
        cpu = (cpu_seconds(pids) - before) / max(1, messages - started)
        stats = at.stub.stats()
        if stats["count"] != messages or stats["duplicates"]:
            raise BenchmarkFailed(f"plain Celery sent {stats['count']} requests for {messages} messages")
        return Run(sustained(at.stub.arrivals().times), cpu * 1e6)


def best(at: Servers, pools: Sequence[Pool] = POOLS, messages: int = TRIAL) -> Pool:
    """The pool that delivers most."""
    rates: dict[Pool, float] = {}
    for pool in pools:
        rates[pool] = run(at, pool, messages).rate
        say(f"plain Celery, {pool}: {rates[pool]:,.0f} messages/s")
    return max(rates, key=lambda pool: rates[pool])


def _command(pool: Pool, number: int) -> list[str]:
    options = ["--pool", pool.kind, "--concurrency", str(pool.concurrency), "--hostname", f"plain{number}@%h"]
    return ["-m", "celery", "-A", "benchmarks.plain_app", "worker", *options, "--loglevel", "warning"]


def _enqueue(environ: Mapping[str, str], messages: int) -> None:
    database = create_engine(environ[plain_app.DATABASE])
    SQLModel.metadata.create_all(database, [SQLModel.metadata.tables["plainmessage"]])
    rows = [
        {"id": number, "to": f"auro_usr_{number:010d}", "text": f"Your order #{number} has been shipped!"}
        for number in range(1, messages + 1)
    ]
    with database.begin() as connection:
        connection.execute(insert(plain_app.PlainMessage).values(status="queued"), rows)
    database.dispose()
    with plain_app.app.connection_for_write(environ[plain_app.BROKER]) as connection:
        producer = plain_app.app.amqp.Producer(connection)
        for row in rows:
            plain_app.send.apply_async((row["id"],), producer=producer)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plain_celery", description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    messages = parser.parse_args().messages
    with servers() as at:
        began = time.monotonic()
        pool = best(at)
        result = run(at, pool, messages)
        say(f"plain Celery, {pool}: {result.rate:,.0f} messages/s, {result.cpu:,.0f} µs of CPU a message")
        say(f"took {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
