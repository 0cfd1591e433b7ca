"""Who opted out: nothing is stored for them, and what was waiting for them never leaves."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from paceline import Client, IdempotencyConflict, InvalidMessage, Outgoing, Suppressed, Text, tables
from paceline.capabilities import ANY, Capabilities, Rule
from paceline.testing import InMemoryClient
from sandbox.background import SandboxServer
from tests.integration.hooks_world import signature, world
from tests.integration.producers import CAPABILITIES, NOWHERE, SHORTER, connected, install, put, rows
from tests.support.installation import ACCOUNT, Installation, recipient, until
from worker.suppressing import Suppressing, Wish

ANA, BEN = "+15550100", "+15550101"
Build = Callable[..., Installation]


@pytest.fixture(params=[True, False], ids=["stored", "memory"])
def client(request: pytest.FixtureRequest, database_url: str) -> Iterator[Client]:
    install(database_url)
    with Client(database_url=database_url, broker_url=NOWHERE, environ={}) as made:
        yield made if request.param else InMemoryClient({"main": CAPABILITIES, "backup": SHORTER})


# Of every channel that has a form of its own, and one whose recipients only its account can tell.
CHANNELS = {
    name: Capabilities(kinds={"text": {"to": ANY, "text": ANY}}, channel=name) for name in ("sms", "whatsapp", "email")
} | {
    "own": Capabilities(
        kinds={
            "text": {"to": Rule(pattern="[0-9]{6}", hint="an id of six digits")},
            "media": {"to": Rule(pattern="[a-z]{6}", hint="a word of six letters")},
        },
        channel="own",
    )
}


@pytest.fixture(params=[False, True], ids=["stored", "memory"])
def memory(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def carrying(database_url: str, memory: bool) -> Client:
    if memory:
        return InMemoryClient(CHANNELS)
    install(database_url)
    with connected(database_url) as connection:
        for name, carries in CHANNELS.items():
            text = json.dumps(carries.as_json())
            put(connection, tables.Account, name=name, provider="p", lane=f"{name}/send", capabilities=text)
    return Client(database_url=database_url, broker_url=NOWHERE, environ={})


def test_nothing_is_stored_for_who_opted_out(client: Client) -> None:
    assert client.suppress("sms", ANA, "asked by letter")

    with pytest.raises(Suppressed) as refused:
        client.enqueue(Text(ANA, "Hello"), via="main")

    assert refused.value.field == "to"
    assert ANA not in str(refused.value)
    assert client.messages() == []
    client.enqueue(Text(BEN, "Hello"), via="main")
    assert len(client.messages()) == 1


def test_however_a_number_is_written_it_is_the_same(client: Client) -> None:
    client.suppress("sms", "+1 (555) 01-00")

    with pytest.raises(Suppressed):
        client.enqueue(Text(ANA, "Hello"), via="main")


def test_who_comes_back_is_written_to(client: Client) -> None:
    client.suppress("sms", ANA)

    assert client.unsuppress("sms", ANA)
    assert not client.unsuppress("sms", ANA)
    client.enqueue(Text(ANA, "Hello"), via="main")


def test_what_was_stored_before_replays(client: Client) -> None:
    first = client.enqueue(Text(ANA, "Hello"), via="main", idempotency_key="k")
    client.suppress("sms", ANA)

    again = client.enqueue(Text(ANA, "Hello"), via="main", idempotency_key="k")

    assert (again.id, again.replayed) == (first.id, True)
    with pytest.raises(IdempotencyConflict):
        client.enqueue(Text(ANA, "Another"), via="main", idempotency_key="k")


def test_of_many_those_who_opted_out_are_rejected_one_by_one(client: Client) -> None:
    client.enqueue(Text(BEN, "Hello"), via="main", idempotency_key="before")
    client.suppress("sms", ANA)
    client.suppress("sms", BEN)

    receipt = client.enqueue_many(
        [
            Outgoing(Text(ANA, "Hello"), "main"),
            Outgoing(Text("+15550102", "Hello"), "main", idempotency_key="other"),
            Outgoing(Text(BEN, "Hello"), "main", idempotency_key="before"),
            Outgoing(Text(ANA, "Hello"), "main", idempotency_key="new"),
        ]
    )

    assert (receipt.enqueued, receipt.replayed) == (1, 1)
    assert [(reject.index, reject.field) for reject in receipt.rejected] == [(0, "to"), (3, "to")]
    assert ANA not in receipt.rejected[0].reason


def test_the_list_is_read_in_pages(client: Client) -> None:
    for number in range(5):
        client.suppress("sms", f"+1555010{number}", "r")

    first = client.suppressions("sms", limit=3)
    rest = client.suppressions("sms", limit=3, after=first[-1])

    assert [view.recipient for view in first + rest] == [f"+1555010{number}" for number in range(5)]
    assert {(view.source, view.reason) for view in first} == {("operator", "r")}
    assert "+1555" not in repr(first)


@pytest.mark.parametrize(
    ("channel", "to", "sentence"),
    [
        ("sms", "nonsense", "must be a phone number in E.164, such as +447700900123"),
        ("sms", "447700900123", "must be a phone number in E.164, such as +447700900123"),
        ("whatsapp", "966512345678@c.us", "must be a phone number in E.164, such as +447700900123"),
        ("email", "ana", "must be an e-mail address such as ana@example.org"),
        ("email", "ana@example.org;ben@example.org", "must be an e-mail address such as ana@example.org"),
        ("own", "12", "must be an id of six digits"),
    ],
)
def test_what_is_no_recipient_of_the_channel_is_refused_in_one_sentence(
    database_url: str, memory: bool, channel: str, to: str, sentence: str
) -> None:
    """Given channels that everybody knows and one of a provider's own, then each takes its own recipients alone."""
    with carrying(database_url, memory) as client:
        with pytest.raises(InvalidMessage) as refused:
            client.suppress(channel, to)

        assert str(refused.value) == f"recipient: {sentence}"
        assert client.suppressions() == []
        assert not client.unsuppress(channel, to)  # an old entry that looks so can be taken off


def test_a_reason_is_text(client: Client) -> None:
    with pytest.raises(InvalidMessage, match=r"^reason: must be a string$"):
        client.suppress("sms", ANA, 5)  # type: ignore[arg-type]

    assert client.suppressions() == []


@pytest.mark.parametrize(
    ("channel", "to", "kept"),
    [
        ("sms", "+44 (7700) 900-123", "+447700900123"),
        ("whatsapp", "+447700900123", "+447700900123"),
        ("email", " Ana@Example.org", "ana@example.org"),
        ("own", " 123456", "123456"),
        ("own", "abcdef", "abcdef"),  # one of the account's kinds takes it
    ],
)
def test_a_recipient_is_kept_in_one_spelling(database_url: str, memory: bool, channel: str, to: str, kept: str) -> None:
    with carrying(database_url, memory) as client:
        assert client.suppress(channel, to)

        assert [view.recipient for view in client.suppressions()] == [kept]


@pytest.mark.parametrize(("channel", "to"), [("pigeon", ANA), ("sms", ""), ("sms", "x" * 600), ("", ANA)])
def test_what_is_no_channel_or_no_recipient_is_refused(database_url: str, channel: str, to: str) -> None:
    install(database_url)
    with Client(database_url=database_url, broker_url=NOWHERE, environ={}) as client:
        with pytest.raises(InvalidMessage):
            client.suppress(channel, to)

        assert rows(database_url, tables.Suppression) == []


def test_the_last_word_counts(database_url: str) -> None:
    install(database_url)
    with connected(database_url) as connection:
        heard = Suppressing(connection.dialect.name)
        out, back = (
            Wish("email", "Ana@Example.org", "main", "webhook"),
            Wish("email", "ana@example.org", "main", "x", out=False),
        )
        heard.heed(connection, [out, Wish("sms", ANA, "main", "webhook")])
        heard.heed(connection, [out])
    assert [row.recipient for row in rows(database_url, tables.Suppression)] == ["ana@example.org", ANA]

    with connected(database_url) as connection:
        heard.heed(connection, [out, back])
    assert [row.recipient for row in rows(database_url, tables.Suppression)] == [ANA]


def test_what_waits_for_somebody_who_opts_out_never_leaves(build: Build, sandbox: SandboxServer) -> None:
    """Given messages that wait, when one recipient opts out, then that one fails at its claim and the others leave."""
    built = build()
    waiting = [built.text(number) for number in range(3)]
    built.client.suppress("aurogy", recipient(1))
    service = built.service()

    until(lambda: (service.tick(), service.pump.run_slice(1), built.statuses().get("queued", 0) == 0)[-1])

    stopped = built.client.status(waiting[1].id)
    assert (stopped.status, stopped.reason, stopped.attempts) == ("failed", "opted_out", ())
    assert [event.source for event in stopped.events] == ["worker"]
    assert built.statuses() == {"failed": 1, "accepted": 2}
    assert len(sandbox.ledger("aurogy")) == 2


def test_what_may_have_been_accepted_before_stays_unknown(build: Build, sandbox: SandboxServer) -> None:
    built = build(on_unknown="retry", retry={"schedule": [0, 0, 0]})
    receipt = built.text(0)
    built.run("UPDATE paceline_message SET unresolved = TRUE, account = :account", account=ACCOUNT)
    built.client.suppress("aurogy", recipient(0))
    service = built.service()

    until(lambda: (service.tick(), service.pump.run_slice(1), built.statuses().get("queued", 0) == 0)[-1])

    assert built.client.status(receipt.id).status == "unknown"
    assert sandbox.ledger("aurogy") == []


def test_who_says_stop_in_a_conversation_is_not_replied_to_there(sqlite_template: Path) -> None:
    """Given STOP in a conversation, then its number is on the list and so is what replies to it are sent to."""
    with world(sqlite_template) as receiver:
        url = receiver.engine.url.render_as_string()

        def say(event_id: str, text: str) -> None:
            data = {"conversation_id": "conv_51aa90", "message_id": event_id, "from": "+15555550100", "text": text}
            body = json.dumps({"event_id": event_id, "event_type": "message.replied", "data": data}).encode()
            headers = signature("politicalcomms-main", body)
            assert receiver.ask("POST", "/hooks/politicalcomms-main", headers=headers, body=[body]) == 200

        with Client(database_url=url, broker_url=NOWHERE, environ={}) as client:
            say("msg_1", "STOP")
            assert [entry.recipient for entry in client.suppressions("sms")] == ["+15555550100", "conv_51aa90"]
            with pytest.raises(Suppressed):
                client.enqueue(Text("conv_51aa90", "Polls are open until 7pm."), via="politicalcomms-main")

            say("msg_2", "START")
            assert client.suppressions("sms") == []
            client.enqueue(Text("conv_51aa90", "Polls are open until 7pm."), via="politicalcomms-main")
