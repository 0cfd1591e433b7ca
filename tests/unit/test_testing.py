"""The in-memory client: an application's tests see what `Client` would do, and its doors are the same."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paceline import (
    Client,
    IdempotencyConflict,
    InvalidMessage,
    MessageNotFound,
    Outgoing,
    Status,
    Text,
    UnknownAccount,
)
from paceline.capabilities import Capabilities, Rule
from paceline.testing import InMemoryClient

HELLO = Text(to="+15550100", text="hello")
SMS = Capabilities(kinds={"text": {"to": Rule(required=True), "text": Rule(max_length=10)}})


@dataclass
class Shop:
    """An application that was written for the real client."""

    client: Client

    def ship(self, order: str) -> str:
        return self.client.enqueue(HELLO, via="sms", idempotency_key=f"{order}-shipped", priority="high").id


def test_an_application_is_tested_without_a_server() -> None:
    client = InMemoryClient()

    Shop(client).ship("4821")

    sent = client.assert_enqueued(to="+15550100", kind="text", via="sms", idempotency_key="4821-shipped")
    assert (sent.message, sent.priority) == (HELLO, "high")
    assert client.outbox == [sent]


@pytest.mark.parametrize("wanted", [{"to": "+15550199"}, {"kind": "email"}, {"via": "main"}, {"idempotency_key": "x"}])
def test_what_was_not_enqueued_is_missed_without_telling_recipients(wanted: dict[str, Any]) -> None:
    client = InMemoryClient()
    Shop(client).ship("4821")

    with pytest.raises(AssertionError, match="no message was enqueued") as failure:
        client.assert_enqueued(**wanted)

    assert HELLO.to not in str(failure.value)


def test_nothing_means_nothing() -> None:
    client = InMemoryClient()
    client.assert_nothing_enqueued()

    Shop(client).ship("4821")

    with pytest.raises(AssertionError, match="nothing should have been enqueued"):
        client.assert_nothing_enqueued()


def test_keys_replay_and_conflict() -> None:
    client = InMemoryClient()
    first = client.enqueue(HELLO, via="sms", idempotency_key="k")

    assert client.enqueue(HELLO, via="sms", idempotency_key="k").id == first.id
    assert client.enqueue(HELLO, via="sms", idempotency_key="k").replayed
    with pytest.raises(IdempotencyConflict):
        client.enqueue(HELLO, via="main", idempotency_key="k")
    assert len(client.outbox) == 1


def test_the_rules_of_the_accounts_hold_where_they_are_given() -> None:
    client = InMemoryClient(accounts={"sms": SMS})

    with pytest.raises(InvalidMessage, match="text: must have at most 10 characters"):
        client.enqueue(Text(to="+1", text="x" * 11), via="sms")
    with pytest.raises(UnknownAccount, match="there are sms"):
        client.enqueue(HELLO, via="main")
    with pytest.raises(InvalidMessage, match="via"):
        InMemoryClient().enqueue(HELLO, via="")
    with pytest.raises(InvalidMessage, match="priority"):
        InMemoryClient().enqueue(HELLO, via="anything", priority="urgent")
    client.assert_nothing_enqueued()


def test_expiry_is_judged_by_the_tests_own_clock() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    client = InMemoryClient(clock=noon.timestamp)

    client.enqueue(HELLO, via="sms", expires_at=noon + timedelta(hours=1))
    with pytest.raises(InvalidMessage, match="expires_at"):
        client.enqueue(HELLO, via="sms", expires_at=noon)


def test_many_are_counted_as_the_client_counts_them() -> None:
    client = InMemoryClient(accounts={"sms": SMS})
    items: list[Any] = [
        Outgoing(HELLO, "sms", "k"),
        Outgoing(HELLO, "sms", "k"),
        Outgoing(Text(to="+1", text="other"), "sms", "k"),
        Outgoing(HELLO, "nobody"),
        "a string",
    ]

    receipt = client.enqueue_many(items)

    assert (receipt.enqueued, receipt.replayed) == (1, 1)
    assert [(reject.index, reject.field) for reject in receipt.rejected] == [
        (2, "idempotency_key"),
        (3, "via"),
        (4, "item"),
    ]


def test_a_message_can_be_delivered_failed_and_cancelled() -> None:
    client = InMemoryClient()
    one, two, three = (client.enqueue(HELLO, via="sms", idempotency_key=key).id for key in "abc")

    client.deliver(one)
    client.fail(two, "the number is not in service")
    assert client.cancel(three)
    assert not client.cancel(one)

    assert client.status(one).status is Status.DELIVERED
    assert (client.status(two).status, client.status(two).reason) == (Status.FAILED, "the number is not in service")
    assert client.status(idempotency_key="c").status is Status.CANCELLED
    assert [event.status for event in client.status(two).events] == [Status.FAILED]
    assert [view.id for view in client.messages(status="failed")] == [two]
    assert [view.id for view in client.messages(after=three)] == [two, one]


def test_a_message_that_waits_says_so() -> None:
    client = InMemoryClient(clock=lambda: 0.0)

    receipt = client.enqueue(HELLO, via="sms", send_at=datetime(2026, 3, 1, tzinfo=UTC), metadata={"order": "1"})

    view = client.status(receipt.id)
    assert view.waiting_for == "It is scheduled for 2026-03-01T00:00:00.000Z."
    assert view.metadata == {"order": "1"}


def test_what_is_not_there_is_not_found() -> None:
    client = InMemoryClient()

    for ask in (lambda: client.status("x"), lambda: client.cancel("x"), lambda: client.deliver("x")):
        with pytest.raises(MessageNotFound):
            ask()
    with pytest.raises(MessageNotFound):
        client.status(idempotency_key="x")
    with pytest.raises(TypeError):
        client.status()


def test_it_is_closed_like_the_real_one() -> None:
    with InMemoryClient() as client:
        client.wake()
        client.enqueue(HELLO, via="sms", session=object())
    assert len(client.outbox) == 1


def test_events_are_read_in_order_from_where_the_reader_stopped() -> None:
    client = InMemoryClient()
    first, second = (client.enqueue(HELLO, via="sms").id for _ in range(2))
    client.deliver(first)
    client.receive("message_received", {"from": "somebody", "text": "Thanks!"}, account="main")
    client.cancel(second)

    events = client.events()

    assert [(event.cursor, event.message_id, event.kind, event.status) for event in events] == [
        (1, first, "status", "delivered"),
        (2, None, "message_received", None),
        (3, second, "status", "cancelled"),
    ]
    assert (events[1].account, events[1].data["text"]) == ("main", "Thanks!")
    assert client.events(1, limit=1) == events[1:2]
    assert client.events(3) == []
    assert client.status(first).events == (events[0],)
    with pytest.raises(InvalidMessage, match="after"):
        client.events(-1)


def test_messages_are_listed_since_an_instant_or_for_how_long() -> None:
    """Given messages of now and of two hours ago, when those of the last hour are asked for, then the old ones are
    left out, whether the hour is told by its beginning or by its length."""
    noon = datetime(2026, 4, 13, 12, tzinfo=UTC)
    at = [noon - timedelta(hours=2)]
    client = InMemoryClient(clock=lambda: at[0].timestamp())
    client.enqueue(HELLO, via="sms")
    at[0] = noon
    new = client.enqueue(HELLO, via="sms").id

    for since in (timedelta(hours=1), noon - timedelta(hours=1)):
        assert [view.id for view in client.messages(since=since)] == [new]
    assert len(client.messages(since=timedelta(hours=3))) == 2
