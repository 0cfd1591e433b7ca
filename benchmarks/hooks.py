"""What signatures, storing and applying cost the receiver of webhooks: `python -m benchmarks.hooks`.

Three servers take turns, all served as `paceline hooks` is and each a process of its own: one reads a body and answers
200, one is the receiver without signatures (it believes everything), one is the receiver. What counts is requests in a
second of the server's own processor time, which is what one core takes whoever else is at work on the machine. SQLite
writes within that time; PostgreSQL has a core elsewhere.
"""

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import socket
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import uvicorn
from sqlalchemy import Engine, text
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.report import Line, closing, say
from benchmarks.world import BenchmarkFailed, Servers, process, servers
from config.logging import configure
from config.settings import load
from config.values import Bind
from paceline import Client, Outgoing, Text
from paceline.database import engine
from worker import schema
from worker.app import topology_of
from worker.commands.serving import public, settle
from worker.hooks.app import make_hooks
from worker.hooks.callbacks import Callbacks
from worker.lanes.topology import Sender
from worker.watch.counters import Tally
from worker.watch.metrics_app import counting

ACCOUNT, SECRET = "aurogy-bench", "auro_whsec_benchmark"
CONNECTIONS = 128
ROUND = 3_000  # webhooks in a turn
ROUNDS = 5
LEAST = 0.5  # of what the bare server takes
KINDS = {"bare": "the bare server", "unsigned": "stored and applied, unsigned", "hooks": "signed, stored and applied"}
CONFIG = """\
[database]
url = "{url}"
[accounts.{account}]
provider = "aurogy"
api_key = "auro_test_sk_benchmark"
webhook_secret = "{secret}"
"""
ACCEPTED = """\
UPDATE paceline_message SET status = 'accepted', account = :account, attempt = 1, provider_message_id = 'msg_' || id,
  grant_id = id, first_sent_at = created_at, accepted_at = created_at"""


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, answer 200, and do nothing else."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@dataclass(frozen=True, slots=True)
class Turn:
    """How many webhooks one turn took, in seconds of the clock and of the server's processor."""

    count: int
    elapsed: float
    busy: float

    @property
    def rate(self) -> float:
        """Webhooks in a second of one core."""
        return self.count / self.busy


def lines(at: Servers, name: str, url: str) -> list[Line]:
    """The servers in turns on this database."""
    file = at.directory / f"hooks-{name}.toml"
    file.write_text(CONFIG.format(url=url, account=ACCOUNT, secret=SECRET))
    bodies = _prepared(file, 2 * ROUND * (ROUNDS + 1))
    turns: dict[str, list[Turn]] = {kind: [] for kind in KINDS}
    with contextlib.ExitStack() as stack:
        running = {kind: stack.enter_context(_server(at, kind, file)) for kind in KINDS}
        for number in range(ROUNDS + 1):
            first, second = (bodies[(2 * number + half) * ROUND : (2 * number + half + 1) * ROUND] for half in (0, 1))
            turns["bare"].append(_turn(*running["bare"], [_request(body) for body in first]))
            turns["unsigned"].append(_turn(*running["unsigned"], [_request(body) for body in second]))
            turns["hooks"].append(_turn(*running["hooks"], [_request(body) for body in first]))
    _check(file, len(bodies))
    found = []
    for kind, what in KINDS.items():
        rate = statistics.median(turn.rate for turn in turns[kind][1:])
        wall = statistics.median(turn.count / turn.elapsed for turn in turns[kind][1:])
        say(f"{name}: {what}: {rate:,.0f} a second of one core ({wall:,.0f} by the clock)")
        found.append(Line(f"{name}: {what}", f"{rate:,.0f}/s of one core"))
    for other in ("bare", "unsigned"):
        # The first turn warms up.
        ratios = [mine.rate / its.rate for its, mine in zip(turns[other][1:], turns["hooks"][1:], strict=True)]
        ratio, measured = statistics.median(ratios), f"({min(ratios):.0%} to {max(ratios):.0%})"
        what = f"{name}: signed, of {KINDS[other]}"
        found.append(Line(what, f"{ratio:.0%} {measured}", f"{LEAST:.0%}", ratio >= LEAST))
    return found


def _prepared(file: Path, count: int) -> list[bytes]:
    """Messages that were accepted, and a genuine report about each."""
    settings = load(file, environ={})
    opened = engine(settings.connection)
    try:
        schema.migrate(opened)
        schema.publish(opened, topology_of(settings))
        with Client(file, environ={}) as client:
            client.enqueue_many(Outgoing(Text(f"auro_usr_{n:08d}a", "It leaves today."), ACCOUNT) for n in range(count))
        with opened.begin() as connection:
            connection.execute(text(ACCEPTED), {"account": ACCOUNT})
            ids = (
                connection.execute(text("SELECT provider_message_id FROM paceline_message ORDER BY id")).scalars().all()
            )
    finally:
        opened.dispose()
    return [_report(str(id_), number) for number, id_ in enumerate(ids)]


def _report(id_: str, number: int) -> bytes:
    at = "2026-04-13T14:30:02Z"
    data = {"message_id": id_, "to": f"auro_usr_{number:08d}a", "status": "delivered", "timestamp": at}
    return json.dumps({"event": "message.delivered", "timestamp": at, "data": data}).encode()


def _request(body: bytes) -> bytes:
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    head = (
        f"POST /hooks/{ACCOUNT} HTTP/1.1\r\nHost: hooks.example.com\r\nContent-Type: application/json\r\n"
        f"User-Agent: Aurogy-Webhooks/1.0\r\nX-Aurogy-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _check(file: Path, count: int) -> None:
    """Every report is stored, and has moved its message."""
    opened = engine(load(file, environ={}).connection)
    try:
        stored, moved = (
            _count(opened, "paceline_webhook"),
            _count(opened, "paceline_message WHERE status = 'delivered'"),
        )
    finally:
        opened.dispose()
    if (stored, moved) != (count, count):
        raise BenchmarkFailed(f"{stored} of {count} webhooks were stored, and {moved} messages moved")


def _count(opened: Engine, where: str) -> int:
    with opened.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {where}")).scalar_one())


@contextmanager
def _server(at: Servers, kind: str, file: Path) -> Iterator[tuple[psutil.Process, int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    log = at.directory / f"{kind}.log"
    arguments = ("-m", "benchmarks.hooks", "--serve", kind, "--config", str(file), "--port", str(port))
    with process(*arguments, environ=at.environ, log=log) as started:
        until = time.monotonic() + 60
        while not _listens(port):
            if time.monotonic() > until or started.poll() is not None:
                raise BenchmarkFailed(f"the {kind} server does not listen: {log.read_text()[-500:]}")
            time.sleep(0.05)
        yield psutil.Process(started.pid), port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _turn(server: psutil.Process, port: int, requests: Sequence[bytes]) -> Turn:
    """Put these requests to the server, each connection one after another."""
    before, began = _busy(server), time.perf_counter()
    asyncio.run(_load(port, requests))
    return Turn(len(requests), time.perf_counter() - began, _busy(server) - before)


def _busy(server: psutil.Process) -> float:
    times = server.cpu_times()
    return float(times.user + times.system)


async def _load(port: int, requests: Sequence[bytes]) -> None:
    async def connection(mine: Sequence[bytes]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in mine:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise BenchmarkFailed(f"a webhook was answered {head[:40]!r}")
        writer.close()

    await asyncio.gather(*(connection(requests[number::CONNECTIONS]) for number in range(CONNECTIONS)))


def _serve(kind: str, file: Path, port: int) -> None:
    configure()
    settings = load(file, environ={})
    app: ASGIApp = bare
    if kind != "bare":
        opened, topology = engine(settings.connection), topology_of(settings)
        if kind == "unsigned":
            topology = replace(topology, senders={name: _credulous(each) for name, each in topology.senders.items()})
        app = make_hooks(opened, topology, Callbacks.of(opened, ""), counting(topology.senders, Tally()))
    config = public(app, Bind("127.0.0.1", port))
    if kind == "bare":
        config.lifespan = "off"
    settle()
    uvicorn.Server(config).run()


def _credulous(sender: Sender) -> Sender:
    return replace(sender, provider=replace(sender.provider, verify=lambda _account, _inbound: True))


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", choices=list(KINDS), help=argparse.SUPPRESS)
    parser.add_argument("--config", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.serve:
        _serve(given.serve, given.config, given.port)
        return
    try:
        with servers() as at:
            found = lines(at, "SQLite", f"sqlite:///{at.directory / 'hooks.db'}")
            found += lines(at, "PostgreSQL", at.postgres.database("hooks"))
    except BenchmarkFailed as failure:
        sys.exit(f"benchmarks: {failure}")
    closing(f"Webhooks, {ROUNDS} turns of {ROUND:,} on {os.cpu_count()} processors", found)


if __name__ == "__main__":
    main(sys.argv[1:])
