"""`status`, `messages` and `cancel` on both databases, against rows as the worker leaves them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from paceline import Client, InvalidMessage, MessageNotFound, Status, tables
from tests.integration.producers import HELLO, NOWHERE, connected, install, put, rows

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).timestamp()


@pytest.fixture
def client(database_url: str) -> Iterator[Client]:
    install(database_url)
    with Client(database_url=database_url, broker_url=NOWHERE, environ={}) as made:
        yield made


def leave(database_url: str, id: str, **values: Any) -> None:  # noqa: A002  # the message's id
    message = tables.columns(tables.Message)
    with connected(database_url) as connection:
        connection.execute(update(message).where(message.c.id == id).values(values))


def attempt(id: str, number: int, outcome: str, **values: Any) -> dict[str, Any]:  # noqa: A002  # the message's id
    given = {"grant_id": "g", "account": "main", "at": NOON, "code": "", "duration_ms": 41.5}
    return {"message_id": id, "number": number, "outcome": outcome, **given, **values}


def test_a_new_message_says_what_it_waits_for_and_not_what_it_says(client: Client) -> None:
    receipt = client.enqueue(HELLO, via="sms", idempotency_key="k", metadata={"order": "4821"}, priority="high")

    view = client.status(receipt.id)

    assert view == client.status(idempotency_key="k")
    assert (view.status, view.via, view.account, view.priority) == (Status.QUEUED, "sms", None, "high")
    assert (view.idempotency_key, view.metadata, view.attempts, view.events) == ("k", {"order": "4821"}, (), ())
    assert view.waiting_for == "It is the next of its line on lane main/send or backup/send."
    assert abs(view.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    told = json.dumps(view.as_json())
    assert HELLO.to not in told
    assert HELLO.text not in told
    assert "4821" not in repr(view)


def test_the_json_has_the_keys_of_show(client: Client) -> None:
    view = client.status(client.enqueue(HELLO, via="main", send_at=datetime.fromtimestamp(NOON, UTC)).id).as_json()

    assert {"id", "status", "reason", "waiting_for", "via", "account", "provider_message_id", "idempotency_key"} < set(
        view
    )
    assert {"priority", "created_at", "attempts", "events"} < set(view)
    assert (view["send_at"], view["expires_at"]) == ("2026-03-01T12:00:00.000Z", None)


def test_the_line_ahead_is_counted(client: Client) -> None:
    for _ in range(3):
        last = client.enqueue(HELLO, via="main").id

    assert client.status(last).waiting_for == "It waits for its turn on lane main/send, behind 2 of its line."


def test_a_closed_lane_or_key_is_named_with_its_reason(client: Client, database_url: str) -> None:
    id = client.enqueue(HELLO, via="main").id  # noqa: A001  # the message's id
    with connected(database_url) as connection:
        put(connection, tables.Key, name="main", fingerprint="f", nonce="")
        put(
            connection,
            tables.Lane,
            name="main/send",
            key="main",
            limits="[]",
            refusals=0,
            closed_reason="rate limited",
            closed_until=NOON + 1e9,
        )

    waiting = client.status(id).waiting_for
    assert waiting is not None
    assert "Lane main/send is closed until 2057" in waiting
    assert "rate limited" in waiting

    key = tables.columns(tables.Key)
    with connected(database_url) as connection:
        connection.execute(update(key).values(closed_reason="the credentials were refused"))
    assert client.status(id).waiting_for == (
        "Lane main/send is closed until an operator opens it: the credentials were refused."
    )


def test_a_message_on_the_wire_has_an_open_attempt(client: Client, database_url: str) -> None:
    id = client.enqueue(HELLO, via="main").id  # noqa: A001  # the message's id
    leave(database_url, id, status="sending", attempt=2, grant_id="g", lease_until=NOON + 60, account="main")
    with connected(database_url) as connection:
        put(
            connection,
            tables.Grant,
            id="g",
            key="main",
            lane="main/send",
            high=0,
            rest=1,
            created_at=NOON,
            granted_at=NOON + 1,
            lease_until=NOON + 60,
            closed=0,
        )
        put(connection, tables.Attempt, **attempt(id, 1, "unavailable", http_status=503, request_id="r-1"))

    view = client.status(id)

    first, second = view.attempts
    assert (first.outcome, first.http_status, first.request_id, first.duration_ms) == ("unavailable", 503, "r-1", 41.5)
    assert (second.outcome, second.at.timestamp(), second.duration_ms) == ("open", NOON + 1, None)
    assert view.waiting_for == "Its request is on the wire, until 2026-03-01T12:01:00.000Z at the latest."


def test_an_attempt_with_its_outcome_is_not_open_as_well(client: Client, database_url: str) -> None:
    id = client.enqueue(HELLO, via="main").id  # noqa: A001  # the message's id
    leave(database_url, id, status="sending", attempt=1, grant_id="g", lease_until=NOON)
    with connected(database_url) as connection:
        put(connection, tables.Attempt, **attempt(id, 1, "accepted"))

    assert [item.outcome for item in client.status(id).attempts] == ["accepted"]


def test_events_come_in_their_order(client: Client, database_url: str) -> None:
    id = client.enqueue(HELLO, via="main").id  # noqa: A001  # the message's id
    with connected(database_url) as connection:
        for source, status, reason in (
            ("response", "accepted", None),
            ("webhook", None, "seen"),
            ("poll", "sent", None),
        ):
            put(connection, tables.Event, message_id=id, at=NOON, source=source, status=status, reason=reason)

    events = client.status(id).events

    assert [(event.source, event.status, event.reason) for event in events] == [
        ("response", Status.ACCEPTED, None),
        ("webhook", None, "seen"),
        ("poll", Status.SENT, None),
    ]
    assert events[0].as_json() == {
        "at": "2026-03-01T12:00:00.000Z",
        "source": "response",
        "status": "accepted",
        "reason": None,
        "kind": "status",
        "message_id": id,
        "account": None,
        "data": {},
        "cursor": None,
    }


@pytest.mark.parametrize("question", [{"id": "nobody"}, {"idempotency_key": "nobody"}])
def test_a_message_that_is_not_there_is_not_found(client: Client, question: dict[str, str]) -> None:
    with pytest.raises(MessageNotFound):
        client.status(**question)


def test_a_question_names_one_message_in_one_way(client: Client) -> None:
    with pytest.raises(TypeError, match="one of them"):
        client.status()
    with pytest.raises(TypeError, match="one of them"):
        client.status("id", idempotency_key="k")


def test_cancelling_is_for_what_has_not_left(client: Client, database_url: str) -> None:
    waiting = client.enqueue(HELLO, via="main", send_at=datetime.now(UTC) + timedelta(days=1)).id
    leaving = client.enqueue(HELLO, via="main").id
    leave(database_url, leaving, status="sending")

    assert client.cancel(waiting)
    assert client.cancel(waiting)
    assert not client.cancel(leaving)

    view = client.status(waiting)
    assert (view.status, view.reason, view.waiting_for) == (Status.CANCELLED, "cancelled", None)
    assert [(event.source, event.status) for event in view.events] == [("application", Status.CANCELLED)]
    assert client.status(leaving).events == ()


def test_cancelling_after_an_attempt_nobody_knows_about_ends_in_unknown(client: Client, database_url: str) -> None:
    id = client.enqueue(HELLO, via="main").id  # noqa: A001  # the message's id
    leave(database_url, id, unresolved=True, attempt=1)

    assert not client.cancel(id)

    view = client.status(id)
    assert (view.status, [event.status for event in view.events]) == (Status.UNKNOWN, [Status.UNKNOWN])
    assert "unknown" in (view.reason or "")


def test_nobody_can_cancel_what_is_not_there(client: Client) -> None:
    with pytest.raises(MessageNotFound):
        client.cancel("nobody")


def test_messages_are_listed_newest_first_by_what_is_asked(client: Client, database_url: str) -> None:
    ids = [client.enqueue(HELLO, via=via).id for via in ("main", "sms", "main", "main")]
    leave(database_url, ids[0], status="failed", reason="refused")

    assert [view.id for view in client.messages()] == ids[::-1]
    assert client.messages()[0].waiting_for == "It waits for its turn on lane main/send."
    assert [view.id for view in client.messages(status="failed")] == ids[:1]
    assert [view.id for view in client.messages(via="sms")] == ids[1:2]
    assert [view.id for view in client.messages(limit=2)] == ids[:1:-1]
    assert [view.id for view in client.messages(limit=2, after=ids[2])] == ids[1::-1]
    hour = timedelta(hours=1)
    assert len(client.messages(since=datetime.now(UTC) - hour)) == 4
    assert client.messages(since=datetime.now(UTC) + hour) == []
    with pytest.raises(InvalidMessage, match="must be one of queued"):
        client.messages(status="lost")
    assert rows(database_url, tables.Event) == []
