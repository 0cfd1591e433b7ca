"""`Client.enqueue` on both databases: what is stored, what is refused, and what repeating costs."""

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from paceline import (
    Client,
    DatabaseNotReady,
    Email,
    IdempotencyConflict,
    InvalidMessage,
    Media,
    Text,
    UnknownAccount,
    tables,
)
from tests.integration.producers import HELLO, NOWHERE, connected, install, put, rows
from tests.support.installation import until

TOMORROW = datetime.now(UTC) + timedelta(days=1)
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def client(database_url: str) -> Iterator[Client]:
    install(database_url)
    with Client(database_url=database_url, broker_url=NOWHERE, environ={}) as made:
        yield made


def test_a_message_is_a_row_when_enqueue_returns(client: Client, database_url: str) -> None:
    receipt = client.enqueue(HELLO, via="main", priority="high", metadata={"order": "4821"}, options={"label": "ship"})

    (row,) = rows(database_url, tables.Message)
    assert (row.id, row.status, row.due_at, row.attempt) == (receipt.id, "queued", None, 0)
    assert json.loads(row.payload) == {
        "kind": "text",
        "to": "+15550100",
        "text": "Your order has left.",
        "metadata": {"order": "4821"},
        "options": {"label": "ship"},
    }
    (stream,) = rows(database_url, tables.Stream)
    assert (stream.id, stream.via, stream.priority, stream.broadcast) == (row.stream_id, "main", 0, "")
    assert abs(row.created_at - time.time()) < 60
    assert not receipt.replayed


def test_ids_sort_in_the_order_of_the_calls(client: Client) -> None:
    ids = [client.enqueue(HELLO, via="main").id for _ in range(5)]

    assert ids == sorted(ids)


def test_the_same_key_answers_the_same_message(client: Client, database_url: str) -> None:
    first = client.enqueue(HELLO, via="main", idempotency_key="order-1")
    again = client.enqueue(HELLO, via="main", idempotency_key="order-1", priority="high", send_at=TOMORROW)

    assert (again.id, again.replayed) == (first.id, True)
    assert len(rows(database_url, tables.Message)) == 1


@pytest.mark.parametrize(("message", "via"), [(Text(to="+15550100", text="Another one"), "main"), (HELLO, "sms")])
def test_the_same_key_for_something_else_is_a_conflict(
    client: Client, database_url: str, message: Text, via: str
) -> None:
    client.enqueue(HELLO, via="main", idempotency_key="order-1")

    with pytest.raises(IdempotencyConflict, match="idempotency_key"):
        client.enqueue(message, via=via, idempotency_key="order-1")
    assert len(rows(database_url, tables.Message)) == 1


def test_the_digest_of_a_key_does_not_tell_what_it_was_for(client: Client, database_url: str) -> None:
    client.enqueue(HELLO, via="main", idempotency_key="order-1")

    (row,) = rows(database_url, tables.IdempotencyKey)
    assert len(row.digest) == 64
    assert "0100" not in row.digest or HELLO.text not in row.digest


def test_a_later_send_at_keeps_the_message_out_of_the_line(client: Client, database_url: str) -> None:
    client.enqueue(HELLO, via="main", send_at=TOMORROW)
    client.enqueue(HELLO, via="main", send_at=YESTERDAY)

    later, now = rows(database_url, tables.Message)
    assert later.due_at == later.send_at == pytest.approx(TOMORROW.timestamp(), abs=0.01)
    assert (now.due_at, now.send_at) == (None, pytest.approx(YESTERDAY.timestamp(), abs=0.01))


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "a kind the account does not carry": (
        {"message": Media("+1", "https://x", "image/png"), "via": "backup"},
        "message",
    ),
    "not a message": ({"message": "hello"}, "message"),
    "a text too long": ({"message": Text(to="+1", text="x" * 101)}, "text"),
    "a text too long for the second account of the route": (
        {"message": Text(to="+1", text="x" * 21), "via": "sms"},
        "text",
    ),
    "an option nobody has": ({"options": {"colour": "red"}}, "options.colour"),
    "an option that is no JSON": ({"options": {"tags": object()}}, "options.tags"),
    "an option that is not a number": ({"options": {"tags": [float("nan")]}}, "options.tags"),
    "an option with half a character": ({"options": {"tags": ["\ud800"]}}, "options.tags"),
    "options that are a list": ({"options": ["label"]}, "options"),
    "a priority nobody knows": ({"priority": "urgent"}, "priority"),
    "a priority that is a list": ({"priority": ["high"]}, "priority"),
    "a naive send_at": ({"send_at": datetime(2030, 1, 1)}, "send_at"),  # noqa: DTZ001  # that is the mistake
    "a send_at in words": ({"send_at": "tomorrow"}, "send_at"),
    "a naive expires_at": ({"expires_at": datetime(2030, 1, 1)}, "expires_at"),  # noqa: DTZ001  # that is the mistake
    "expired already": ({"expires_at": YESTERDAY}, "expires_at"),
    "expired before it may go": ({"send_at": TOMORROW, "expires_at": TOMORROW}, "expires_at"),
    "an empty key": ({"idempotency_key": ""}, "idempotency_key"),
    "a key too long": ({"idempotency_key": "k" * 256}, "idempotency_key"),
    "a key that is a number": ({"idempotency_key": 7}, "idempotency_key"),
    "a key with NUL": ({"idempotency_key": "a\x00"}, "idempotency_key"),
    "metadata with a number": ({"metadata": {"order": 4821}}, "metadata"),
    "metadata that are a list": ({"metadata": ["order"]}, "metadata"),
    "metadata with NUL": ({"metadata": {"order": "\x00"}}, "metadata"),
    "metadata with half a character": ({"metadata": {"order": "\ud800"}}, "metadata"),
    "more than a megabyte": ({"message": Email(to="a@b.c", subject="s", html="é" * 500_000)}, "message"),
}


@pytest.mark.parametrize(("changes", "field"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_no_account_may_carry_is_refused_and_not_stored(
    client: Client, database_url: str, changes: dict[str, Any], field: str
) -> None:
    call: dict[str, Any] = {"message": HELLO, "via": "main", **changes}

    with pytest.raises(InvalidMessage) as refusal:
        client.enqueue(call.pop("message"), **call)

    assert refusal.value.field == field
    assert rows(database_url, tables.Message) == []
    assert rows(database_url, tables.IdempotencyKey) == []


def test_attachments_do_not_count_against_the_megabyte(client: Client, database_url: str) -> None:
    file = {"filename": "a.pdf", "content": "A" * 2_000_000, "media_type": "application/pdf"}

    client.enqueue(Email(to="a@b.c", subject="s", html="h", attachments=[file]), via="main")

    assert len(rows(database_url, tables.Message)) == 1


@pytest.mark.parametrize("via", ["nobody", "", None, ["main"]])
def test_an_unknown_via_names_the_known_ones(client: Client, via: Any) -> None:
    with pytest.raises(UnknownAccount, match="backup, main, sms"):
        client.enqueue(HELLO, via=via)


def test_an_account_that_is_published_later_is_found(client: Client, database_url: str) -> None:
    client.enqueue(HELLO, via="main")
    with connected(database_url) as connection:
        put(
            connection,
            tables.Account,
            name="new",
            provider="p",
            lane="new/send",
            capabilities='{"kinds": {"text": {"to": {}, "text": {}}}}',
        )

    def found() -> bool:
        try:
            client.enqueue(HELLO, via="new")
        except UnknownAccount:
            return False
        return True

    until(found)


def test_a_stream_made_late_begins_where_the_others_stand(client: Client, database_url: str) -> None:
    with connected(database_url) as connection:
        for broadcast, place in (("one", 7.0), ("two", 5.0)):
            put(
                connection,
                tables.Stream,
                via="main",
                priority=1,
                broadcast=broadcast,
                weight=1.0,
                passed=place,
                paused=False,
                cancelled=False,
            )

    client.enqueue(HELLO, via="main")

    assert {row.broadcast: row.passed for row in rows(database_url, tables.Stream)}[""] == 5.0


def test_a_commit_whose_answer_was_lost_is_repeated_with_the_same_id(
    client: Client, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("a file gives no answer that could be lost")
    client.enqueue(HELLO, via="main")
    dialect = client._open()._engine.dialect
    commit: Callable[[Any], None] = dialect.do_commit
    losses = iter([True, True, False])

    def committed_and_then_cut(connection: Any) -> None:
        commit(connection)
        if next(losses):
            connection.driver_connection.close()
            raise dialect.loaded_dbapi.OperationalError("the connection was cut")

    monkeypatch.setattr(dialect, "do_commit", committed_and_then_cut)
    receipt = client.enqueue(HELLO, via="main", idempotency_key="once")

    assert not receipt.replayed
    assert [row.idempotency_key for row in rows(database_url, tables.Message)] == [None, "once"]
    assert rows(database_url, tables.Message)[1].id == receipt.id


def test_a_database_that_fails_is_named_without_what_was_sent(client: Client, database_url: str) -> None:
    client.enqueue(HELLO, via="main")
    with connected(database_url) as connection:
        connection.execute(sa.text("DROP TABLE paceline_message"))

    with pytest.raises(DatabaseNotReady) as failure:
        client.enqueue(HELLO, via="main")

    assert HELLO.to not in str(failure.value)
    assert failure.value.__cause__ is None
    assert failure.value.__suppress_context__


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_process_may_use_the_client_it_inherited(client: Client, database_url: str) -> None:
    client.enqueue(HELLO, via="main", idempotency_key="parent")

    child = os.fork()
    if child == 0:
        try:
            for number in range(100):
                client.enqueue(HELLO, via="main", idempotency_key=f"child {number}")
        finally:
            os._exit(0)
    for number in range(100):
        client.enqueue(HELLO, via="main", idempotency_key=f"parent {number}")
    os.waitpid(child, 0)

    assert len(rows(database_url, tables.IdempotencyKey)) == 201


def test_a_closed_client_opens_again(client: Client) -> None:
    first = client.enqueue(HELLO, via="main", idempotency_key="k")
    client.close()

    assert client.enqueue(HELLO, via="main", idempotency_key="k").id == first.id


VERSIONS = {
    "never migrated": ("DROP TABLE paceline_version", "run `paceline migrate`"),
    "older": ("UPDATE paceline_version SET version_num = '0000'", "run `paceline migrate`"),
    "newer": ("UPDATE paceline_version SET version_num = '9999'", "upgrade this package"),
    "without accounts": ("DELETE FROM paceline_account", "run `paceline migrate`"),
    "without an installation": ("DELETE FROM paceline_installation", "run `paceline migrate`"),
}


@pytest.mark.parametrize(("change", "remedy"), VERSIONS.values(), ids=VERSIONS.keys())
def test_a_database_that_cannot_be_used_says_what_to_do(
    client: Client, database_url: str, change: str, remedy: str
) -> None:
    with connected(database_url) as connection:
        connection.execute(sa.text(change))

    with pytest.raises(DatabaseNotReady, match=remedy):
        client.enqueue(HELLO, via="main")


def test_a_database_that_is_away_says_so_without_its_password() -> None:
    client = Client(database_url="postgresql://user:sesame@127.0.0.1:1/none", broker_url=NOWHERE, environ={})

    with pytest.raises(DatabaseNotReady) as failure:
        client.enqueue(HELLO, via="main")

    assert "sesame" not in str(failure.value)
    assert not isinstance(failure.value.__context__, DBAPIError) or failure.value.__suppress_context__
