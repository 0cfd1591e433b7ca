"""`enqueue_many` on both databases: streamed, chunk by chunk, and what cannot be stored is named by its place."""

import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paceline import BulkReceipt, Client, Media, Outgoing, Reject, Text, tables
from tests.integration.producers import HELLO, NOWHERE, install, rows


@pytest.fixture
def client(database_url: str) -> Iterator[Client]:
    install(database_url)
    with Client(database_url=database_url, broker_url=NOWHERE, environ={}) as made:
        yield made


def numbered(count: int, keyed: bool = True) -> Iterator[Outgoing]:
    for number in range(count):
        yield Outgoing(Text(to=f"+1555{number}", text="Hello"), "main", f"key-{number}" if keyed else None)


def test_a_stream_longer_than_a_chunk_is_stored_once(client: Client, database_url: str) -> None:
    first = client.enqueue_many(numbered(1200), chunk=500)
    again = client.enqueue_many(numbered(1250), chunk=500)

    assert (first.enqueued, first.replayed, first.rejected) == (1200, 0, [])
    assert (again.enqueued, again.replayed, again.rejected) == (50, 1200, [])
    stored = rows(database_url, tables.Message)
    assert sorted(row.idempotency_key for row in stored) == sorted(f"key-{number}" for number in range(1250))
    assert {row.message_id for row in rows(database_url, tables.IdempotencyKey)} == {row.id for row in stored}


def test_rows_are_those_that_enqueue_writes(client: Client, database_url: str) -> None:
    now = datetime.now(UTC)
    item: dict[str, Any] = {
        "message": HELLO,
        "via": "main",
        "priority": "bulk",
        "send_at": now + timedelta(hours=1),
        "expires_at": now + timedelta(hours=2),
        "metadata": {"order": 'tab\t, "quote", back\\slash, newline\n, é, 𝄞'},
        "options": {"label": "x"},
    }
    client.enqueue(**item)
    client.enqueue_many([Outgoing(**item)])

    one, many = (row._asdict() for row in rows(database_url, tables.Message))
    assert one["position"] < many["position"]
    for differing in ("id", "position", "created_at", "updated_at"):
        del one[differing], many[differing]
    assert one == many


def test_without_keys_everything_is_new(client: Client, database_url: str) -> None:
    client.enqueue_many(numbered(3, keyed=False))

    assert client.enqueue_many(numbered(3, keyed=False)).enqueued == 3
    assert len(rows(database_url, tables.Message)) == 6


def test_a_key_that_comes_twice_in_one_chunk_replays(client: Client) -> None:
    receipt = client.enqueue_many([Outgoing(HELLO, "main", "k"), Outgoing(HELLO, "main"), Outgoing(HELLO, "main", "k")])

    assert (receipt.enqueued, receipt.replayed) == (2, 1)


def test_what_is_wrong_is_rejected_by_its_place_and_the_rest_goes_on(client: Client, database_url: str) -> None:
    client.enqueue(HELLO, via="main", idempotency_key="taken")
    items: list[Any] = [
        Outgoing(HELLO, "main", "z"),
        Outgoing(Text(to="+1", text="x" * 101), "main"),
        Outgoing(HELLO, "nobody"),
        "a string",
        Outgoing(Text(to="+1", text="another"), "main", "taken"),
        Outgoing(Media("+1", "https://x", "image/png"), "sms"),
        Outgoing(HELLO, "sms", "a"),
    ]

    receipt = client.enqueue_many(items, chunk=3)

    assert receipt.enqueued == 2
    assert [(reject.index, reject.field) for reject in receipt.rejected] == [
        (1, "text"),
        (2, "via"),
        (3, "item"),
        (4, "idempotency_key"),
        (5, "message"),
    ]
    assert receipt.rejected[0] == Reject(1, "text", "must have at most 100 characters, this one has 101")
    assert "used before" in receipt.rejected[3].reason
    assert {row.idempotency_key for row in rows(database_url, tables.Message)} == {"taken", "z", "a"}


def test_nothing_is_nothing(client: Client) -> None:
    assert client.enqueue_many([]) == BulkReceipt(0, 0, [])


def test_what_was_stored_before_the_stream_broke_stays(client: Client, database_url: str) -> None:
    def broken() -> Iterator[Outgoing]:
        yield from numbered(1000)
        raise OSError("the file ended early")

    with pytest.raises(OSError, match="ended early"):
        client.enqueue_many(broken(), chunk=500)

    assert len(rows(database_url, tables.Message)) == 1000
    assert client.enqueue_many(numbered(1200)).enqueued == 200


def test_memory_does_not_grow_with_the_stream(client: Client) -> None:
    client.enqueue_many(numbered(500), chunk=250)
    peaks = []
    for count in (1_000, 6_000):
        tracemalloc.start()
        client.enqueue_many(numbered(count, keyed=False), chunk=250)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < peaks[0] * 1.5
