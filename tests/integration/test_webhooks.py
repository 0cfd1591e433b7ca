"""Webhooks that the sandbox sends, and some that nobody should: what they change, and what they never do."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from sandbox.background import SandboxServer
from tests.support.held import answers_held
from tests.support.installation import ACCOUNT, Installation, recipient, until
from tests.support.receiver import SECRET, Hooks, receiving, report, sign
from worker.operate import resolve

Build = Callable[..., Installation]
SILENT = {"sent_after": 0, "delivered_after": 600}  # seconds: what the sandbox does to a message by itself
QUICK = {"sent_after": 0, "delivered_after": 0.05, "read_after": 0.1, "read_share": 1}


@pytest.fixture
def receive() -> Iterator[Callable[[Installation], Hooks]]:
    with ExitStack() as stack:
        yield lambda built: stack.enter_context(receiving(built.engine, built.topology))


Receive = Callable[[Installation], Hooks]


def installed(build: Build, **account: Any) -> Installation:
    return build(webhook_secret=SECRET, poll={"schedule": [600]}, **account)


def told_by(sandbox: SandboxServer, hooks: Hooks, lifecycle: dict[str, Any]) -> None:
    """The sandbox posts its events to the receiver, and tries again soon where it is not acknowledged."""
    webhook = {"url": hooks.url, "secret": SECRET, "timeout": 60, "retry_delays": [0.1, 0.2, 0.5, 1, 1, 1]}
    sandbox.settings("aurogy", {"webhook": webhook, "lifecycle": lifecycle})


def sent(built: Installation, sandbox: SandboxServer, lifecycle: dict[str, Any] | None = None) -> tuple[str, str]:
    """A message that the provider has accepted: our id, and the provider's."""
    sandbox.settings("aurogy", {"lifecycle": lifecycle or SILENT})
    service = built.service()
    receipt = built.text()
    until(lambda: (service.tick(), service.pump.run_slice(1), built.client.status(receipt.id).provider_message_id)[-1])
    return receipt.id, str(built.client.status(receipt.id).provider_message_id)


def webhooks(built: Installation) -> list[dict[str, Any]]:
    return [dict(row) for row in built.rows("SELECT * FROM paceline_webhook ORDER BY id")]


def steps(built: Installation, message: str) -> list[tuple[str, str]]:
    """What was said about a message: who said it, and where it stood then."""
    return [(event.source, str(event.status)) for event in built.client.status(message).events]


def test_what_the_sandbox_tells_reaches_the_message_and_it_is_polled_no_more(
    build: Build, receive: Receive, sandbox: SandboxServer
) -> None:
    """Given a message on its way, when the provider tells of delivery and reading, then no poll is ever made."""
    built = installed(build)
    told_by(sandbox, receive(built), QUICK)
    service = built.service()
    receipt = built.text()

    until(
        lambda: (
            service.tick(),
            service.pump.run_slice(1),
            service.sweep(),
            built.client.status(receipt.id).status == "read",
        )[-1]
    )

    assert steps(built, receipt.id)[0] == ("response", "accepted")
    assert steps(built, receipt.id)[1:] in (
        [("webhook", "delivered"), ("webhook", "read")],
        [("webhook", "read")],  # both came before the answer was stored, and in the other order
    )
    assert built.rows("SELECT poll_at, unresolved FROM paceline_message") == [{"poll_at": None, "unresolved": False}]
    until(lambda: sandbox.summary("aurogy")["webhooks"]["acknowledged"] == 2)
    assert [entry.method for entry in sandbox.ledger("aurogy")] == ["POST"]


@pytest.mark.parametrize(
    ("events", "passed"),
    [
        (["delivered", "read"], ["delivered", "read"]),
        (["read", "delivered"], ["read"]),
        (["failed", "delivered"], ["failed", "delivered"]),
        (["delivered", "failed"], ["delivered"]),
        (["delivered", "delivered"], ["delivered"]),
        (["failed", "read", "delivered", "failed"], ["failed", "read"]),
    ],
)
def test_a_status_only_moves_forward(
    build: Build, receive: Receive, sandbox: SandboxServer, events: list[str], passed: list[str]
) -> None:
    """Given reports in some order, when all have come, then the message passed through rising ones alone."""
    built = installed(build)
    message, provider_id = sent(built, sandbox)
    hooks = receive(built)

    for second, status in enumerate(events):
        assert hooks.post(report(provider_id, status, at=f"2026-04-13T14:30:{second:02}Z")) == 200

    assert steps(built, message)[1:] == [("webhook", status) for status in passed]
    view = built.client.status(message)
    assert view.status == passed[-1]
    assert view.reason == ("undeliverable" if passed[-1] == "failed" else None)
    assert len(webhooks(built)) == len(events)


def test_a_repeated_event_changes_nothing(build: Build, receive: Receive, sandbox: SandboxServer) -> None:
    """Given a genuine event, when it comes again, also in other bytes, then it is acknowledged, and that is all."""
    built = installed(build)
    message, provider_id = sent(built, sandbox)
    hooks = receive(built)
    body = json.dumps(report(provider_id, "delivered")).encode()
    hooks.post(body)
    before = built.rows("SELECT * FROM paceline_message"), webhooks(built), steps(built, message)

    assert hooks.post(body) == 200
    assert hooks.post(body.replace(b": ", b":")) == 200

    assert (built.rows("SELECT * FROM paceline_message"), webhooks(built), steps(built, message)) == before


@pytest.mark.parametrize("forgery", ["", "0" * 64, "sha256=", "é" * 64, "of another secret", "of other bytes", "upper"])
def test_what_is_not_signed_rightly_changes_nothing(
    build: Build, receive: Receive, sandbox: SandboxServer, forgery: str
) -> None:
    """Given a message on its way, when a forged event of it comes, then it is refused and no row is written."""
    built = installed(build)
    message, provider_id = sent(built, sandbox)
    hooks = receive(built)
    said = report(provider_id, "delivered")
    headers = {"X-Aurogy-Signature": forgery.encode().decode("latin-1")}
    match forgery:
        case "of another secret":
            status = hooks.post(said, secret=f"{SECRET}0")
        case "of other bytes":
            body = json.dumps(said).encode()
            genuine = {"X-Aurogy-Signature": sign(body)}
            status = hooks.post(body.replace(b"delivered", b"read", 1), headers=genuine)
        case "upper":
            body = json.dumps(said).encode()
            status = hooks.post(body, headers={"X-Aurogy-Signature": sign(body).upper()})
        case "sha256=":
            body = json.dumps(said).encode()
            status = hooks.post(body, headers={"X-Aurogy-Signature": f"sha256={sign(body)}"})
        case _:
            status = hooks.post(said, headers=headers)

    assert status == 401
    assert webhooks(built) == []
    assert built.client.status(message).status == "accepted"


def test_the_provider_puts_a_wrong_signature_right(build: Build, receive: Receive, sandbox: SandboxServer) -> None:
    """Given a provider that signs wrongly once, when it tries again, then its event is taken, once."""
    built = installed(build)
    told_by(sandbox, receive(built), SILENT)
    sandbox.fault("aurogy", "webhook_signature", count=1)

    sandbox.inject("aurogy", {"event": "payment.received", "data": {"from": recipient(1)}})

    until(lambda: len(sandbox.webhooks("aurogy")) == 2)
    assert [attempt.answer for attempt in sandbox.webhooks("aurogy")] == [401, 200]
    assert [row["kind"] for row in webhooks(built)] == ["payment_received"]


def test_an_account_without_a_secret_believes_nobody(build: Build, receive: Receive) -> None:
    """Given no webhook_secret, when an event comes that is signed with an empty one, then it is refused."""
    built = build()

    assert receive(built).post(report("msg_1", "delivered"), secret="") == 401
    assert webhooks(built) == []


def test_an_event_that_comes_before_its_messages_id_is_matched_later(
    build: Build, receive: Receive, sandbox: SandboxServer
) -> None:
    """Given an answer that is held back while its events come, when it is stored, then the sweep applies them."""
    built = installed(build)
    told_by(sandbox, receive(built), QUICK)
    service = built.service()
    receipt = built.text()

    with answers_held(service):
        until(lambda: sandbox.summary("aurogy")["webhooks"]["acknowledged"] == 2)
        assert [row["match_at"] is not None for row in webhooks(built)] == [True, True]
        assert built.client.status(receipt.id).status == "sending"
    assert built.client.status(receipt.id).status == "accepted"
    until(lambda: (service.sweep(), built.client.status(receipt.id).status == "read")[-1])

    assert steps(built, receipt.id)[-1] == ("webhook", "read")
    assert [row["match_at"] for row in webhooks(built)] == [None, None]


def test_a_message_under_way_is_not_moved_under_its_workers_hands(
    build: Build, receive: Receive, sandbox: SandboxServer
) -> None:
    """Given a failed message that is sent once more, when an event about the first sending comes, then it waits."""
    built = installed(build)
    message, provider_id = sent(built, sandbox)
    built.run("UPDATE paceline_message SET status = 'queued', poll_at = NULL")

    assert receive(built).post(report(provider_id, "failed")) == 200

    assert built.client.status(message).status == "queued"
    assert webhooks(built)[0]["match_at"] is not None


def test_an_event_of_which_no_message_of_ours_can_be_meant_waits_for_nothing(
    build: Build, receive: Receive, sandbox: SandboxServer
) -> None:
    """Given that nothing is on the wire or unknown, when an event bears a strange id, then it is not parked."""
    built = installed(build)
    sent(built, sandbox)

    assert receive(built).post(report("msg_strange00001", "delivered")) == 200

    assert [row["match_at"] for row in webhooks(built)] == [None]


def test_events_of_one_account_speak_of_all_accounts_of_its_key(
    build: Build, receive: Receive, sandbox: SandboxServer
) -> None:
    """Given two accounts of one key and one of another, when events come to one, then its key's messages move."""
    url = json.dumps(sandbox.base_url("aurogy"))
    secret = json.dumps(SECRET)
    others = "".join(
        f'\n[accounts.{name}]\nprovider = "aurogy"\nbase_url = {url}\napi_key = "{key}"\nwebhook_secret = {secret}\n'
        for name, key in (("twin", "auro_test_sk_0123456789abcdef"), ("stranger", "auro_test_sk_another0123456"))
    )
    built = installed(build, accounts=others)
    message, provider_id = sent(built, sandbox)
    hooks = receive(built)

    assert hooks.post(report(provider_id, "read"), account="stranger") == 200
    assert built.client.status(message).status == "accepted"
    assert hooks.post(report(provider_id, "delivered"), account="twin") == 200
    assert built.client.status(message).status == "delivered"
    built.run("UPDATE paceline_message SET account = 'twin'")
    assert hooks.post(report(provider_id, "read")) == 200
    assert built.client.status(message).status == "read"


def test_an_unknown_message_is_settled_by_its_event(build: Build, receive: Receive, sandbox: SandboxServer) -> None:
    """Given an answer that was lost, when the event has waited for a lease and nothing else can be meant, then it is
    that message's, which has the provider's id from then on."""
    built = installed(build)
    sandbox.settings("aurogy", {"lifecycle": SILENT})
    sandbox.fault("aurogy", "close", accept=True, count=1)
    service = built.service()
    receipt = built.text(1)
    until(lambda: (service.tick(), service.pump.run_slice(1), built.client.status(receipt.id).status == "unknown")[-1])
    hooks = receive(built)
    hooks.post(report("msg_unheardof", "delivered", recipient(1)))
    hooks.post(report("msg_unheardof", "read", recipient(1)))

    aged(built, 10)
    service.sweep()
    assert built.client.status(receipt.id).status == "unknown", "another request may still be under way"
    aged(built, 120)
    service.sweep()

    view = built.client.status(receipt.id)
    assert (view.status, view.provider_message_id) == ("read", "msg_unheardof")
    assert steps(built, receipt.id)[-2:] == [("webhook", "delivered"), ("webhook", "read")]
    assert [attempt.outcome for attempt in view.attempts] == ["accepted"]
    assert [row["match_at"] for row in webhooks(built)] == [None, None]


@pytest.mark.parametrize(
    ("verdict", "said", "status", "reason"),
    [
        ("failed", "delivered", "delivered", None),
        ("delivered", "read", "read", None),
        ("delivered", "delivered", "delivered", "resolved by an operator"),
        ("failed", "failed", "failed", "resolved by an operator"),
    ],
)
def test_what_an_operator_settled_moves_forward_by_its_event(
    build: Build, receive: Receive, sandbox: SandboxServer, verdict: str, said: str, status: str, reason: str | None
) -> None:
    """Given an answer that was lost and an operator's verdict, when the event comes after all, then it is heard."""
    built = installed(build)
    sandbox.settings("aurogy", {"lifecycle": SILENT})
    sandbox.fault("aurogy", "close", accept=True, count=1)
    service = built.service()
    receipt = built.text(1)
    until(lambda: (service.tick(), service.pump.run_slice(1), built.client.status(receipt.id).status == "unknown")[-1])
    resolve(built.engine, receipt.id, verdict)
    receive(built).post(report("msg_unheardof", said, recipient(1)))

    aged(built, 120)
    service.sweep()

    view = built.client.status(receipt.id)
    assert (view.status, view.reason, view.provider_message_id) == (status, reason, "msg_unheardof")
    assert [row["match_at"] for row in webhooks(built)] == [None]


@pytest.mark.parametrize("doubt", ["two attempts", "two events", "another recipient", "sent after the event"])
def test_an_unknown_message_stays_unknown_where_two_could_be_meant(
    build: Build, receive: Receive, sandbox: SandboxServer, doubt: str
) -> None:
    """Given an answer that was lost, when the event could be about something else, then nobody guesses."""
    built = installed(build)
    sandbox.settings("aurogy", {"lifecycle": SILENT})
    sandbox.fault("aurogy", "close", accept=True, count=2)
    service = built.service()
    for _ in range(2 if doubt == "two attempts" else 1):
        built.text(1)
    until(lambda: (service.tick(), service.pump.run_slice(1), set(built.statuses()) == {"unknown"})[-1])
    hooks = receive(built)
    hooks.post(report("msg_one", "delivered", recipient(2 if doubt == "another recipient" else 1)))
    if doubt == "two events":
        hooks.post(report("msg_two", "delivered", recipient(1)))
    if doubt == "sent after the event":
        built.run("UPDATE paceline_attempt SET at = at + 1000")

    aged(built, 120)
    service.sweep()

    assert set(built.statuses()) == {"unknown"}


def aged(built: Installation, seconds: float) -> None:
    """As if so much time had passed for what is parked, and for what was tried."""
    built.run(
        "UPDATE paceline_webhook SET received_at = received_at - :seconds, match_at = match_at - :seconds",
        seconds=seconds,
    )
    built.run("UPDATE paceline_attempt SET at = at - :seconds", seconds=seconds)


def test_what_speaks_of_nobody_is_looked_for_less_and_less_and_then_no_more(
    build: Build, receive: Receive, sandbox: SandboxServer
) -> None:
    """Given a send that is unknown and an event of a strange id, when a day has passed, then that is left alone."""
    built = installed(build)
    sent(built, sandbox)
    built.run("UPDATE paceline_attempt SET outcome = 'unknown'")
    service = built.service()
    receive(built).post(report("msg_foreign", "delivered"))

    for age, waits in ((100.0, 100.0), (10_000.0, 10_000.0), (90_000.0, None)):
        built.run("UPDATE paceline_webhook SET match_at = 1, received_at = received_at - :age", age=age)
        service.sweep()
        [left] = built.rows("SELECT match_at - received_at - :age AS wait FROM paceline_webhook", age=age)
        if waits is None:
            assert left["wait"] is None
        else:
            assert left["wait"] >= waits - 5


def test_inbound_events_are_kept_with_what_they_say(build: Build, receive: Receive, sandbox: SandboxServer) -> None:
    """Given each inbound event there is, and one that is new to us, when they come, then the application reads them."""
    built = installed(build)
    told_by(sandbox, receive(built), SILENT)
    sandbox.settings("aurogy", {"webhook": {"concurrency": 1}})
    service = built.service()
    kinds = ["message.received", "conversation.started", "payment.received", "reaction.added"]
    bodies = [sandbox.inject("aurogy", {"event": kind, "data": {"from": recipient(1)}}) for kind in kinds]
    until(lambda: len(webhooks(built)) == 4)

    service.tick()

    events = built.client.events()
    assert [event.kind for event in events] == [kind.replace(".", "_") for kind in kinds]
    assert [event.data for event in events] == [body["data"] for body in bodies]
    assert {(event.message_id, event.account, event.source, event.status) for event in events} == {
        (None, ACCOUNT, "webhook", None)
    }
    assert "auro_usr" not in repr(events)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"event": 1}',
        b"\x00" * 99,
        b'{"event": "message.delivered", "data": 3}',
    ],
)
def test_what_is_genuine_and_makes_no_sense_is_kept_for_people(build: Build, receive: Receive, body: bytes) -> None:
    """Given bytes with a right signature, when they cannot be read, then they are stored once and acknowledged."""
    built = installed(build)
    hooks = receive(built)

    assert [hooks.post(body), hooks.post(body)] == [200, 200]

    [row] = webhooks(built)
    assert (row["kind"], row["match_at"]) == ("unreadable", None)
    assert json.loads(row["data"])["body"].encode() == body.decode("utf-8", "backslashreplace").encode()
    assert built.rows("SELECT * FROM paceline_event") == []


def test_in_any_order_duplicated_and_lost_the_end_is_the_same(
    build: Build, receive: Receive, sandbox: SandboxServer
) -> None:
    """Given a provider that duplicates and reorders, when twenty messages are read, then all are, each step once."""
    built = installed(build, limits={"send": ["1000/minute"]})
    hooks = receive(built)
    told_by(sandbox, hooks, QUICK)
    sandbox.fault("aurogy", "webhook_duplicate", copies=3, probability=0.5)
    sandbox.fault("aurogy", "webhook_reorder", event="message.delivered", hold=0.3, probability=0.5)
    service = built.service()
    for number in range(20):
        built.text(number)

    def settled() -> bool:
        built.run("UPDATE paceline_webhook SET match_at = 1 WHERE match_at IS NOT NULL")
        service.tick()
        service.pump.run_slice(0.2)
        service.sweep()
        return built.statuses() == {"read": 20}

    until(settled, 60)

    for row in built.rows("SELECT id FROM paceline_message"):
        passed = [status for _, status in steps(built, str(row["id"]))]
        ranks = ["accepted", "delivered", "read"]
        assert passed == sorted(set(passed), key=ranks.index)
