"""Encryption at rest: what the database holds then, who reads it, and what happens where the key is wrong or gone."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from paceline import Client, ContentLocked, IdempotencyConflict, Outgoing, Suppressed, Text
from paceline.content import Keyring
from paceline.database import write
from sandbox.background import SandboxServer
from tests.contract.aurorasendcloud_support import NAME
from tests.integration.content_support import (
    KEY,
    NEW_KEY,
    PLANTED,
    SENT,
    WRONG_KEY,
    Build,
    everything,
    installed,
    printed,
    raw,
    reopened,
    replaced,
    text,
)
from tests.support.installation import ACCOUNT, Installation, recipient, turn, until
from tests.support.planted import found, places
from tests.support.receiver import Hooks, receiving, report
from worker import schema
from worker.encryption import Encryption
from worker.retention import Ages, Retention
from worker.suppressing import Suppressing, Wish
from worker.watch import doctor

Receive = Callable[[Installation], Hooks]


@pytest.fixture
def receive() -> Iterator[Receive]:
    with ExitStack() as stack:
        yield lambda built: stack.enter_context(receiving(built.engine, built.topology))


def test_nothing_that_was_planted_stands_in_the_database(
    build: Build, receive: Receive, sandbox: SandboxServer, tmp_path: Path
) -> None:
    """Given a key, when everything happens that puts content there, then it is sent as it was and stored as nothing."""
    built = installed(build, sandbox, KEY)
    everything(built, receive(built), tmp_path)

    told = "\n".join(entry.body or "" for name in ("aurogy", NAME) for entry in sandbox.ledger(name))
    assert [name for name in SENT if PLANTED[name] not in told] == []
    where = {name: columns for name, columns in places(built.engine, PLANTED).items() if columns}
    assert where == {}
    assert found(PLANTED, raw(built)) == set()


def test_without_a_key_all_of_it_does(build: Build, receive: Receive, sandbox: SandboxServer, tmp_path: Path) -> None:
    """So that the test above is not true of an empty run."""
    built = installed(build, sandbox)
    everything(built, receive(built), tmp_path)

    assert [name for name, columns in places(built.engine, PLANTED).items() if not columns] == []


def test_whoever_has_the_key_reads_everything(
    build: Build, receive: Receive, sandbox: SandboxServer, tmp_path: Path
) -> None:
    built = installed(build, sandbox, KEY)
    everything(built, receive(built), tmp_path)
    client = built.client

    assert client.status(idempotency_key="one").metadata == {"order": PLANTED["metadata"]}
    assert [view.recipient for view in client.suppressions("aurogy")] == [PLANTED["who opted out"]]
    said = [event.data for event in client.events() if event.kind == "message_received"]
    assert [(data["from"], data["text"]) for data in said] == [(PLANTED["who writes"], PLANTED["what somebody writes"])]
    [changed] = client.jobs(account=ACCOUNT, operation="update_profile")
    assert changed.result["description"] == PLANTED["what a profile says"]
    assert client.get_broadcast("sale").status in ("running", "finished")
    assert PLANTED["an address"] in str(client.messages(via="mail-main")[0].provider_message_id)
    with pytest.raises(IdempotencyConflict):
        client.enqueue(Text(PLANTED["a recipient"], "another"), via=ACCOUNT, idempotency_key="one")
    with pytest.raises(Suppressed):
        client.enqueue(Text(PLANTED["who opted out"], "x"), via=ACCOUNT)


@pytest.mark.parametrize("keys", [(), (WRONG_KEY,)], ids=["no key", "another key"])
def test_without_the_key_it_is_called_encrypted_and_nothing_is_written(
    build: Build, receive: Receive, sandbox: SandboxServer, tmp_path: Path, keys: tuple[bytes, ...]
) -> None:
    built = installed(build, sandbox, KEY)
    everything(built, receive(built), tmp_path)

    with reopened(built, *keys) as (opened, client):
        assert client.status(idempotency_key="one").metadata == {"content": "(encrypted)"}
        assert [view.recipient for view in client.suppressions()] == ["(encrypted)"]
        assert {"content": "(encrypted)"} in [event.data for event in client.events()]
        assert client.jobs(operation="update_profile")[0].result == {"content": "(encrypted)"}
        assert client.messages(via="mail-main")[0].provider_message_id == "(encrypted)"
        before = built.rows("SELECT count(*) FROM paceline_message")
        for refused in (
            lambda: client.enqueue(Text("auro_usr_00000001a", "x"), via=ACCOUNT),
            lambda: client.enqueue_many([Outgoing(Text("auro_usr_00000001a", "x"), ACCOUNT)]),
            lambda: client.suppress("aurogy", "auro_usr_00000001a"),
            lambda: client.start(ACCOUNT, "update_profile", description="x"),
            lambda: client.broadcast("other", Text("{id}", "x"), [{"id": "auro_usr_00000001a"}], ACCOUNT),
        ):
            with pytest.raises(ContentLocked, match=r"PACELINE_CONTENT_KEY, or content\.key, must hold the key"):
                refused()
        assert built.rows("SELECT count(*) FROM paceline_message") == before
        with pytest.raises(ContentLocked):
            schema.publish(opened, built.topology)
        [finding] = doctor.content(opened)
        assert not finding.ok
        assert "must hold the key" in finding.advice


def test_a_worker_without_the_key_leaves_what_waits_where_it_is(build: Build, sandbox: SandboxServer) -> None:
    """Given messages that wait, when a worker claims that has another key, then it takes none; with the key they go."""
    built = installed(build, sandbox, KEY)
    sent = [built.text(number).id for number in range(3)]

    with reopened(built, WRONG_KEY) as (opened, _), replaced(built, opened):
        service = built.service()
        for _ in range(3):
            turn(service, 0.3)
    assert built.statuses() == {"queued": 3}
    assert built.rows("SELECT attempt, failures FROM paceline_message") == [{"attempt": 0, "failures": 0}] * 3

    service = built.service()
    until(lambda: (turn(service), built.statuses() == {"accepted": 3})[-1])
    assert {built.client.status(id_).status for id_ in sent} == {"accepted"}


def test_a_webhook_that_cannot_be_stored_is_asked_for_again(build: Build, sandbox: SandboxServer) -> None:
    built = installed(build, sandbox, KEY)
    said = {"event": "message.received", "timestamp": "2026-04-13T14:30:02Z", "data": {"from": "a", "text": "b"}}

    with reopened(built, WRONG_KEY) as (opened, _), receiving(opened, built.topology) as hooks:
        assert hooks.post(said) == 503
        assert hooks.ask("GET", "/health")[0] == 503
    assert built.rows("SELECT count(*) AS count FROM paceline_webhook") == [{"count": 0}]
    with receiving(built.engine, built.topology) as hooks:
        assert hooks.post(said) == 200
        assert hooks.ask("GET", "/health")[0] == 200


HARMS = {
    "changed": "UPDATE paceline_message SET payload = substr(payload, 1, 60) || 'AAAA' || substr(payload, 65) "
    "WHERE id = :a",
    "of another row": "UPDATE paceline_message SET payload = (SELECT payload FROM paceline_message WHERE id = :b) "
    "WHERE id = :a",
    "under a lost key": "UPDATE paceline_message SET payload = 'enc1:00000000:' || substr(payload, 15) WHERE id = :a",
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=list(HARMS))
def test_a_row_that_cannot_be_decrypted_fails_alone_and_says_why(
    build: Build, sandbox: SandboxServer, harm: str
) -> None:
    built = installed(build, sandbox, KEY)
    bad, good = built.text(1).id, built.text(2).id
    built.run(harm, a=bad, **({"b": good} if ":b" in harm else {}))

    service = built.service()
    until(lambda: (turn(service), built.statuses() == {"accepted": 1, "failed": 1})[-1])

    view = built.client.status(bad)
    assert view.status == "failed"
    assert "(Unreadable: its content " in str(view.reason)
    assert len(sandbox.ledger("aurogy")) == 1


def test_content_can_be_read_in_its_own_row_alone(build: Build, sandbox: SandboxServer) -> None:
    built = installed(build, sandbox, KEY)
    client = built.client
    for number in (1, 2):
        client.suppress("aurogy", recipient(number))
    rows = built.rows("SELECT recipient, sealed FROM paceline_suppression ORDER BY recipient")
    built.run(
        "UPDATE paceline_suppression SET sealed = :s WHERE recipient = :r", s=rows[1]["sealed"], r=rows[0]["recipient"]
    )

    assert sorted(view.recipient == "(encrypted)" for view in client.suppressions()) == [False, True]


def test_a_new_key_reads_what_the_old_one_wrote_and_then_does_without_it(
    build: Build, receive: Receive, sandbox: SandboxServer, tmp_path: Path
) -> None:
    """Given everything under one key, when another comes before it and everything is encrypted again, then the old one
    is needed no more; and nothing that was sent or suppressed is forgotten."""
    built = installed(build, sandbox, KEY)
    everything(built, receive(built), tmp_path)
    waiting = built.text(5).id

    with reopened(built, NEW_KEY, KEY) as (opened, client):
        schema.publish(opened, built.topology)
        assert client.status(idempotency_key="one").metadata == {"order": PLANTED["metadata"]}
        again = Text(PLANTED["a recipient"], PLANTED["a body"])
        assert client.enqueue(
            again, via=ACCOUNT, idempotency_key="one", metadata={"order": PLANTED["metadata"]}
        ).replayed
        assert Encryption(opened, wait=lambda _: None).run() > 10
        assert Encryption(opened, wait=lambda _: None).run() == 0
    old = Keyring([KEY]).ids[0]
    assert places(built.engine, {"the old key": f"enc1:{old}"})["the old key"] == set()

    with reopened(built, NEW_KEY) as (opened, client), replaced(built, opened):
        schema.publish(opened, built.topology)
        assert [event.data["text"] for event in client.events() if event.kind == "message_received"] == [
            PLANTED["what somebody writes"]
        ]
        with pytest.raises(Suppressed):
            client.enqueue(Text(PLANTED["who opted out"], "x"), via=ACCOUNT)
        service = built.service()
        until(lambda: (turn(service), client.status(waiting).status == "accepted")[-1])


def test_what_was_stored_before_there_was_a_key_goes_on_and_is_encrypted_when_asked(
    build: Build, receive: Receive, sandbox: SandboxServer, tmp_path: Path
) -> None:
    """Given an installation in the clear, when it is given a key, then all of it is read, opt-outs are known from the
    first moment, and once it is encrypted nothing of it stands in the database any more."""
    built = installed(build, sandbox)
    everything(built, receive(built), tmp_path)
    waiting = built.text(5, idempotency_key="five").id
    unwanted = built.text(6).id
    built.client.suppress("aurogy", recipient(6))

    with reopened(built, KEY) as (opened, client), replaced(built, opened):
        with pytest.raises(ContentLocked, match="run `paceline migrate` with it"):
            client.enqueue(Text("auro_usr_00000001a", "x"), via=ACCOUNT)
        schema.publish(opened, built.topology)
        with (
            Client(tmp_path / "again.toml", environ={"PACELINE_CONTENT_KEY": printed(KEY)}) as fresh,
            pytest.raises(Suppressed),
        ):
            fresh.enqueue(Text(PLANTED["who opted out"], "x"), via=ACCOUNT)
        service = built.service()
        until(lambda: turn(service) and client.status(unwanted).status == "failed")
        Encryption(opened, wait=lambda _: None).run()
        with Client(tmp_path / "again.toml", environ={"PACELINE_CONTENT_KEY": printed(KEY)}) as fresh:
            assert fresh.status(idempotency_key="one").metadata == {"order": PLANTED["metadata"]}
            assert fresh.enqueue(text(5), via=ACCOUNT, idempotency_key="five").replayed
            with pytest.raises(Suppressed):
                fresh.enqueue(Text(PLANTED["who opted out"], "x"), via=ACCOUNT)
        service = built.service()
        until(lambda: (turn(service), not {"queued", "sending"} & built.statuses().keys())[-1])
        assert {name: columns for name, columns in places(opened, PLANTED).items() if columns} == {}
        assert found(PLANTED, raw(built)) == set()
    assert built.rows("SELECT status FROM paceline_message WHERE id = :id", id=waiting) == [{"status": "accepted"}]


def test_whoever_stands_on_the_list_in_both_forms_stands_there_once(build: Build, sandbox: SandboxServer) -> None:
    """Given an opt-out in the clear beside the encrypted one, when all is encrypted, then one is left."""
    built = installed(build, sandbox, KEY)
    built.client.suppress("aurogy", recipient(1))
    for number in (1, 2):
        built.run(
            "INSERT INTO paceline_suppression (channel, recipient, at, source) VALUES ('aurogy', :who, 1, 'operator')",
            who=recipient(number),
        )

    with reopened(built, KEY) as (opened, client):
        Encryption(opened, wait=lambda _: None).run()
        assert sorted(view.recipient for view in client.suppressions()) == [recipient(1), recipient(2)]
    assert len(built.rows("SELECT 1 FROM paceline_suppression WHERE sealed IS NOT NULL")) == 2


def test_what_is_erased_is_erased_and_counts_remain(build: Build, sandbox: SandboxServer) -> None:
    built = installed(build, sandbox, KEY)
    sent = built.text(1).id
    service = built.service()
    until(lambda: (turn(service), built.statuses() == {"accepted": 1})[-1])
    built.run("UPDATE paceline_message SET updated_at = 1, poll_at = NULL, status = 'delivered'")

    ages = Ages(content=3600, messages=9e9, events=9e9, webhooks=9e9, idempotency_keys=9e9, jobs=9e9, grants=9e9)
    assert Retention(built.engine, built.topology, ages).purge()["contents"] == 1

    assert built.rows("SELECT payload FROM paceline_message") == [{"payload": "{}"}]
    assert built.client.status(sent).status == "delivered"
    assert built.client.status(sent).metadata == {}


@pytest.mark.parametrize("stored", ["with the key", "before there was one"])
def test_an_accepted_message_whose_answer_was_lost_is_found_by_its_recipient(
    build: Build, sandbox: SandboxServer, stored: str
) -> None:
    """The recipients are compared though neither the message's nor the report's can be read in the database."""
    built = installed(build, sandbox, KEY)
    sandbox.settings("aurogy", {"lifecycle": {"sent_after": 0, "delivered_after": 600}})
    sandbox.fault("aurogy", kind="close", accept=True)
    service, sent = built.service(), built.text(1).id
    until(lambda: (turn(service), built.statuses() == {"unknown": 1})[-1])

    with receiving(built.engine, built.topology) as hooks:
        assert hooks.post(report("msg_theirs", "delivered", recipient(1))) == 200
    built.run("UPDATE paceline_webhook SET match_at = 1")
    if stored == "before there was one":
        built.run("UPDATE paceline_webhook SET recipient = :who", who=recipient(1))
    built.run("UPDATE paceline_attempt SET at = at - 1000")
    built.run("UPDATE paceline_webhook SET received_at = received_at - 900")
    service.sweep()

    view = built.client.status(sent)
    assert (view.status, view.provider_message_id) == ("delivered", "msg_theirs")


@pytest.mark.parametrize("stored", ["encrypted", "in the clear"])
def test_a_report_finds_its_message_in_whatever_form_either_holds_the_id(
    build: Build, sandbox: SandboxServer, stored: str
) -> None:
    """Given a report that waits for its message, when the message's id is known, encrypted or not, then it is matched:
    by a worker that has the key, and one that has not leaves it."""
    built = installed(build, sandbox, KEY)
    sandbox.fault("aurogy", kind="close", accept=True)
    service, sent, theirs = built.service(), built.text(1).id, "message@theirs"
    until(lambda: (turn(service), built.statuses() == {"unknown": 1})[-1])
    with receiving(built.engine, built.topology) as hooks:
        assert hooks.post(report(theirs, "delivered", recipient(1))) == 200
    [row] = built.rows("SELECT provider_message_id AS id FROM paceline_webhook")
    assert theirs not in row["id"]
    forms = (row["id"], theirs) if stored == "encrypted" else (theirs, row["id"])
    built.run("UPDATE paceline_message SET status = 'accepted', provider_message_id = :id", id=forms[0])
    built.run("UPDATE paceline_webhook SET match_at = 1, provider_message_id = :id", id=forms[1])

    with reopened(built, WRONG_KEY) as (opened, _), replaced(built, opened):
        built.service().sweep()
    assert built.client.status(sent).status == "accepted"

    built.run("UPDATE paceline_webhook SET match_at = 1")
    assert built.service().sweep()["parked"] == 1
    assert built.client.status(sent).status == "delivered"


def test_an_opt_out_that_a_provider_reports_ends_what_waits_and_names_nobody(
    build: Build, sandbox: SandboxServer
) -> None:
    """Given a message that waits, when its recipient opts out by a webhook, then its claim ends it."""
    built = installed(build, sandbox, KEY)
    sent = built.client.enqueue(Text(PLANTED["who opted out"], "x"), via=ACCOUNT).id
    with write(built.engine) as connection:
        suppressing = Suppressing(connection.dialect.name)
        suppressing.heed(connection, [Wish("aurogy", PLANTED["who opted out"], ACCOUNT, "webhook")])
        suppressing.heed(connection, [Wish("aurogy", PLANTED["who writes"], ACCOUNT, "webhook")])
        suppressing.heed(connection, [Wish("aurogy", PLANTED["who writes"], ACCOUNT, "webhook", out=False)])

    service = built.service()
    until(lambda: (turn(service), built.statuses() != {"queued": 1})[-1])

    assert built.client.status(sent).reason == "opted_out"
    assert sandbox.ledger("aurogy") == []
    assert [view.recipient for view in built.client.suppressions()] == [PLANTED["who opted out"]]
    assert places(built.engine, {"who": PLANTED["who opted out"]})["who"] == set()
