"""Many producers at once, on both databases: one of them wins each key, the others replay, and nobody starves."""

import itertools
import multiprocessing
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier

import pytest

from paceline import Client, IdempotencyConflict, Outgoing, Text, tables
from paceline.bulk import CHUNK
from tests.integration.producers import HELLO, NOWHERE, install, rows

PROCESSES = 16
KEYS = 20
MANY = 1000
ASKED = 25  # of those keys, whose messages each process looks up

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["paceline"])


def shuffled(count: int, seed: int) -> list[str]:
    keys = [f"key-{number:04}" for number in range(count)]
    random.Random(seed).shuffle(keys)
    return keys


def enqueue_each(database_url: str, seed: int, start: Barrier) -> list[tuple[str, str, bool]]:
    """One process: every key once, in an order of its own; the key, the id and whether it replayed."""
    with Client(database_url=database_url, broker_url=NOWHERE, environ={}) as client:
        start.wait()
        receipts = [(key, client.enqueue(HELLO, via="main", idempotency_key=key)) for key in shuffled(KEYS, seed)]
    return [(key, receipt.id, receipt.replayed) for key, receipt in receipts]


def enqueue_all(database_url: str, seed: int, start: Barrier) -> tuple[int, int, int, dict[str, str]]:
    """One process: all keys in one stream, in an order of its own; how many were new, replayed and rejected, and whose
    message some of the keys are."""
    with Client(database_url=database_url, broker_url=NOWHERE, environ={}) as client:
        start.wait()
        receipt = client.enqueue_many(Outgoing(HELLO, "main", key) for key in shuffled(MANY, seed))
        asked = {key: client.status(idempotency_key=key).id for key in shuffled(MANY, 0)[:ASKED]}
    return receipt.enqueued, receipt.replayed, len(receipt.rejected), asked


def contradict(database_url: str, seed: int, start: Barrier) -> tuple[int, int]:
    """One process: another message under every key; how many were refused, and how many single calls raised."""
    other, raised = Text(HELLO.to, "Another message."), 0
    with Client(database_url=database_url, broker_url=NOWHERE, environ={}) as client:
        start.wait()
        receipt = client.enqueue_many(Outgoing(other, "main", key) for key in shuffled(MANY, seed))
        for key in shuffled(MANY, seed)[:ASKED]:
            try:
                client.enqueue(other, via="main", idempotency_key=key)
            except IdempotencyConflict:
                raised += 1
    return len(receipt.rejected), raised


@pytest.mark.timeout(120)
def test_sixteen_processes_with_the_same_keys_store_each_once(database_url: str) -> None:
    install(database_url)
    with context.Manager() as manager, context.Pool(PROCESSES) as pool:
        start = manager.Barrier(PROCESSES)
        work = [(database_url, seed, start) for seed in range(PROCESSES)]
        answers = [answer for process in pool.starmap(enqueue_each, work, chunksize=1) for answer in process]

    new = Counter(key for key, _, replayed in answers if not replayed)
    assert new == dict.fromkeys(shuffled(KEYS, 0), 1)
    assert len({(key, message) for key, message, _ in answers}) == KEYS
    assert {row.id for row in rows(database_url, tables.Message)} == {message for _, message, _ in answers}


@pytest.mark.timeout(120)
def test_sixteen_streams_of_the_same_keys_store_each_once(database_url: str) -> None:
    install(database_url)
    with context.Manager() as manager, context.Pool(PROCESSES) as pool:
        start = manager.Barrier(PROCESSES)
        work = [(database_url, seed, start) for seed in range(PROCESSES)]
        answers = pool.starmap(enqueue_all, work, chunksize=1)

    assert sum(new for new, *_ in answers) == MANY
    assert sum(replayed for _, replayed, *_ in answers) == MANY * (PROCESSES - 1)
    assert all(rejected == 0 for *_, rejected, _ in answers)
    stored = {row.idempotency_key: row.id for row in rows(database_url, tables.Message)}
    assert len(stored) == MANY
    assert all(asked.items() <= stored.items() for *_, asked in answers)


@pytest.mark.timeout(120)
def test_sixteen_streams_of_other_messages_under_the_same_keys_are_refused(database_url: str) -> None:
    install(database_url)
    with Client(database_url=database_url, broker_url=NOWHERE, environ={}) as client:
        assert client.enqueue_many(Outgoing(HELLO, "main", key) for key in shuffled(MANY, 0)).enqueued == MANY
    before = {row.id for row in rows(database_url, tables.Message)}
    with context.Manager() as manager, context.Pool(PROCESSES) as pool:
        start = manager.Barrier(PROCESSES)
        work = [(database_url, seed, start) for seed in range(PROCESSES)]
        answers = pool.starmap(contradict, work, chunksize=1)

    assert answers == [(MANY, ASKED)] * PROCESSES
    assert {row.id for row in rows(database_url, tables.Message)} == before


def test_a_long_stream_does_not_starve_a_single_message(database_url: str) -> None:
    # On SQLite they share one writer, for whom processes do not queue: whoever asks at the right moment has it.
    install(database_url)
    chunk = CHUNK[database_url.partition(":")[0].partition("+")[0]]
    with Client(database_url=database_url, broker_url=NOWHERE, environ={}) as client:
        client.enqueue(HELLO, via="main")
        done, taken = threading.Event(), itertools.count()

        def endless() -> None:
            def items() -> Iterator[Outgoing]:
                while not done.is_set():
                    next(taken)
                    yield Outgoing(HELLO, "main", priority="bulk")

            client.enqueue_many(items())

        stream = threading.Thread(target=endless)
        stream.start()
        waits, passed = list[float](), list[int]()
        try:
            while len(waits) < 30 or next(taken) < 4 * chunk:
                began, before = time.monotonic(), next(taken)
                client.enqueue(HELLO, via="main", priority="high")
                waits.append(time.monotonic() - began)
                passed.append(next(taken) - before)
        finally:
            done.set()
            stream.join()

    # A pause of the machine is no starving: it befalls a few, and while one that shares this process waits, the stream
    # stands still as well.
    assert sorted(waits)[-6] < 2
    if database_url.startswith("sqlite"):
        assert max(passed) < 20 * chunk
