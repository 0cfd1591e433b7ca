"""Webhooks as a real receiver gets them: signed, retried, and spoilt on request."""

import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import SandboxServer
from tests.contract.sandbox_support import ANA, Hook, Receiver, ask, receiver, text, wait_until

SECRET = "auro_whsec_4f1d9c7b2e"
FAST = {"sent_after": 0, "delivered_after": 0.01, "read_after": 0.05, "read_share": 1}


@pytest.fixture
def hooks() -> Iterator[Receiver]:
    with receiver() as kept:
        yield kept


@pytest.fixture
def sandbox(hooks: Receiver) -> Iterator[SandboxServer]:
    # One at a time, so that events which a pause has made due together arrive in their order.
    webhook = {"url": hooks.url, "secret": SECRET, "retry_delays": [0.05, 0.1], "timeout": 60, "concurrency": 1}
    with SandboxServer({"aurogy": {"webhook": webhook, "lifecycle": FAST}}) as server:
        yield server


def send(sandbox: SandboxServer, to: str = ANA) -> str:
    return str(ask(sandbox.base_url("aurogy"), "POST", "/messages/text", text(to)).json["id"])


def rightly_signed(hook: Hook, secret: str = SECRET) -> bool:
    expected = hmac.new(secret.encode(), hook.body, hashlib.sha256).hexdigest()
    return hook.headers["X-Aurogy-Signature"] == expected


def outcomes(sandbox: SandboxServer) -> list[tuple[str, int, int | str, str]]:
    return [(item.event, item.attempt, item.answer, item.outcome) for item in sandbox.webhooks("aurogy")]


def test_delivery_and_reading_are_told_and_sending_is_not(sandbox: SandboxServer, hooks: Receiver) -> None:
    message = send(sandbox)
    told = hooks.wait_for(2)
    assert [hook.event for hook in told] == ["message.delivered", "message.read"]
    for hook, status in zip(told, ("delivered", "read"), strict=True):
        assert rightly_signed(hook)
        assert hook.headers["Content-Type"] == "application/json"
        assert list(hook.json) == ["event", "timestamp", "data"]
        data = hook.json["data"]
        assert list(data) == ["message_id", "to", "status", "timestamp"]
        assert (data["message_id"], data["to"], data["status"]) == (message, ANA, status)
    wait_until(lambda: sandbox.summary("aurogy")["webhooks"]["acknowledged"] == 2, "both are acknowledged")
    assert outcomes(sandbox) == [
        ("message.delivered", 1, 200, "acknowledged"),
        ("message.read", 1, 200, "acknowledged"),
    ]


def test_a_failure_is_told_with_its_error(sandbox: SandboxServer, hooks: Receiver) -> None:
    sandbox.settings("aurogy", {"lifecycle": {"outcomes": {"auro_usr_bad*": "failed"}}})
    send(sandbox, "auro_usr_bad1")
    [hook] = hooks.wait_for(1)
    assert hook.event == "message.failed"
    assert set(hook.json["data"]["error"]) == {"code", "message"}


def test_an_event_is_retried_by_the_ladder_with_the_same_bytes(sandbox: SandboxServer, hooks: Receiver) -> None:
    hooks.answers[:] = [500, 503]
    sandbox.inject("aurogy", {"event": "payment.received", "data": {"from": ANA}})
    told = hooks.wait_for(3)
    assert len({hook.body for hook in told}) == 1
    assert told[1].at - told[0].at >= 0.05
    assert told[2].at - told[1].at >= 0.1
    wait_until(lambda: len(outcomes(sandbox)) == 3, "the third attempt is entered")
    assert outcomes(sandbox) == [
        ("payment.received", 1, 500, "retried"),
        ("payment.received", 2, 503, "retried"),
        ("payment.received", 3, 200, "acknowledged"),
    ]


def test_after_the_last_rung_an_event_is_dropped(sandbox: SandboxServer, hooks: Receiver) -> None:
    hooks.answers[:] = [400, 307, 404]  # a redirect is no acknowledgement, and is not followed
    sandbox.inject("aurogy", {"event": "payment.received", "data": {"from": ANA}})
    wait_until(lambda: sandbox.summary("aurogy")["webhooks"]["dropped"] == 1, "the event is dropped")
    assert len(hooks.hooks) == 3
    assert sandbox.summary("aurogy")["webhooks"]["waiting"] == 0


def test_a_receiver_that_does_not_answer_in_time_has_failed(sandbox: SandboxServer, hooks: Receiver) -> None:
    sandbox.settings("aurogy", {"webhook": {"timeout": 0.1, "retry_delays": [600]}})
    hooks.answers[:] = [None]
    sandbox.inject("aurogy", {"event": "payment.received", "data": {"from": ANA}})
    wait_until(lambda: len(outcomes(sandbox)) == 1, "the first attempt is entered")
    hooks.answers.clear()
    sandbox.settings("aurogy", {"webhook": {"timeout": 60}})
    sandbox.advance(600)
    wait_until(lambda: len(outcomes(sandbox)) == 2, "the second attempt is entered")
    assert [(answer, outcome) for _, _, answer, outcome in outcomes(sandbox)] == [
        ("TimeoutError", "retried"),
        (200, "acknowledged"),
    ]


def test_a_receiver_that_is_not_there_is_tried_again(sandbox: SandboxServer, hooks: Receiver) -> None:
    sandbox.settings("aurogy", {"webhook": {"url": "http://127.0.0.1:9/", "retry_delays": [3600]}})
    sandbox.inject("aurogy", {"event": "payment.received", "data": {"from": ANA}})
    wait_until(lambda: len(outcomes(sandbox)) == 1, "the first attempt has failed")
    assert outcomes(sandbox)[0][3] == "retried"
    # When its time has come, the event goes where the settings then say.
    sandbox.settings("aurogy", {"webhook": {"url": hooks.url}})
    sandbox.advance(3600)
    hooks.wait_for(1)


def test_which_answers_acknowledge_is_a_setting(sandbox: SandboxServer, hooks: Receiver) -> None:
    sandbox.settings("aurogy", {"webhook": {"ack_statuses": [200], "retry_delays": []}})
    hooks.answers[:] = [202]
    sandbox.inject("aurogy", {"event": "payment.received", "data": {"from": ANA}})
    wait_until(lambda: sandbox.summary("aurogy")["webhooks"]["dropped"] == 1, "202 does not count")


def test_without_a_url_nothing_is_sent(sandbox: SandboxServer, hooks: Receiver) -> None:
    sandbox.settings("aurogy", {"webhook": {"url": None}})
    send(sandbox)
    wait_until(lambda: sandbox.summary("aurogy")["messages"].get("read") == 1, "the message is read")
    assert sandbox.summary("aurogy")["webhooks"]["events"] == 0
    assert hooks.hooks == []


def test_test_keys_can_be_kept_from_firing_webhooks(sandbox: SandboxServer, hooks: Receiver) -> None:
    sandbox.settings("aurogy", {"test_keys": {"webhooks": False}})
    ask(sandbox.base_url("aurogy"), "POST", "/messages/text", text(), key="auro_test_sk_abcd1234")
    live = send(sandbox)
    wait_until(lambda: sandbox.summary("aurogy")["messages"].get("read") == 2, "both messages are read")
    assert {hook.json["data"]["message_id"] for hook in hooks.wait_for(2)} == {live}


def test_an_inbound_message_is_told_and_counted_as_unread(sandbox: SandboxServer, hooks: Receiver) -> None:
    returned = sandbox.inject("aurogy", {"event": "message.received", "data": {"from": ANA, "text": "When?"}})
    [hook] = hooks.wait_for(1)
    assert hook.json == returned
    data = hook.json["data"]
    assert (data["from"], data["type"], data["text"]) == (ANA, "text", "When?")
    [conversation] = ask(sandbox.base_url("aurogy"), "GET", "/conversations").json["conversations"]
    assert (conversation["id"], conversation["unread_count"]) == (data["conversation_id"], 1)


def test_any_other_event_is_told_as_given(sandbox: SandboxServer, hooks: Receiver) -> None:
    data = {"message_id": "msg_neverseen", "to": ANA, "status": "read", "timestamp": "2026-04-13T14:30:02Z"}
    sandbox.inject("aurogy", {"event": "message.read", "data": data})
    assert hooks.wait_for(1)[0].json["data"] == data


def inject(sandbox: SandboxServer, event: str, message: str) -> None:
    sandbox.inject("aurogy", {"event": event, "data": {"message_id": message, "from": ANA}})


def test_duplicate_sends_the_same_event_again(sandbox: SandboxServer, hooks: Receiver) -> None:
    sandbox.fault("aurogy", kind="webhook_duplicate", copies=3, count=1)
    inject(sandbox, "message.read", "msg_1")
    inject(sandbox, "message.read", "msg_2")
    told = [hook.json["data"]["message_id"] for hook in hooks.wait_for(4)]
    assert sorted(told) == ["msg_1", "msg_1", "msg_1", "msg_2"]


def test_reorder_sends_an_event_after_the_next_of_its_message(sandbox: SandboxServer, hooks: Receiver) -> None:
    sandbox.fault("aurogy", kind="webhook_reorder", event="message.delivered", hold=3600)
    inject(sandbox, "message.delivered", "msg_1")
    inject(sandbox, "message.read", "msg_2")
    wait_until(lambda: len(sandbox.webhooks("aurogy")) == 1, "another message's event has been sent")
    assert sandbox.summary("aurogy")["webhooks"]["waiting"] == 1
    inject(sandbox, "message.read", "msg_1")
    told = [(hook.event, hook.json["data"]["message_id"]) for hook in hooks.wait_for(3)]
    assert told.index(("message.delivered", "msg_1")) > told.index(("message.read", "msg_1"))


def test_a_reordered_event_without_a_next_is_sent_when_it_was_held_long_enough(
    sandbox: SandboxServer, hooks: Receiver
) -> None:
    sandbox.fault("aurogy", kind="webhook_reorder", hold=3600)
    inject(sandbox, "message.delivered", "msg_1")
    assert sandbox.summary("aurogy")["webhooks"]["waiting"] == 1
    sandbox.advance(3600)
    hooks.wait_for(1)


def test_a_wrong_signature_is_put_right_by_the_retry(sandbox: SandboxServer, hooks: Receiver) -> None:
    sandbox.fault("aurogy", kind="webhook_signature", count=1)
    hooks.answers[:] = [401]
    inject(sandbox, "message.read", "msg_1")
    told = hooks.wait_for(2)
    assert [rightly_signed(hook) for hook in told] == [False, True]
    assert len(told[0].headers["X-Aurogy-Signature"]) == 64
    wait_until(lambda: len(sandbox.webhooks("aurogy")) == 2, "both attempts are entered")
    assert [item.forged for item in sandbox.webhooks("aurogy")] == [True, False]


def test_a_late_event_comes_late(sandbox: SandboxServer, hooks: Receiver) -> None:
    sandbox.fault("aurogy", kind="webhook_delay", seconds=3600, count=1)
    inject(sandbox, "message.delivered", "msg_1")
    inject(sandbox, "message.read", "msg_1")
    hooks.wait_for(1)
    sandbox.advance(3600)
    assert [hook.event for hook in hooks.wait_for(2)] == ["message.read", "message.delivered"]


def test_a_dropped_event_never_comes(sandbox: SandboxServer, hooks: Receiver) -> None:
    sandbox.fault("aurogy", kind="webhook_drop", event="message.delivered", recipient=ANA)
    inject(sandbox, "message.delivered", "msg_1")
    inject(sandbox, "message.read", "msg_1")
    hooks.wait_for(1)
    summary: dict[str, Any] = sandbox.summary("aurogy")["webhooks"]
    assert (summary["lost"], summary["waiting"]) == (1, 0)
    assert [hook.event for hook in hooks.hooks] == ["message.read"]


def test_one_at_a_time_every_event_comes_and_in_order(sandbox: SandboxServer, hooks: Receiver) -> None:
    sandbox.settings("aurogy", {"webhook": {"concurrency": 1}})
    for number in range(100):
        inject(sandbox, "message.read", f"msg_{number}")
    told = [hook.json["data"]["message_id"] for hook in hooks.wait_for(100)]
    assert told == [f"msg_{number}" for number in range(100)]
    # And when all is quiet, the next one is taken up again.
    wait_until(lambda: sandbox.summary("aurogy")["webhooks"]["acknowledged"] == 100, "all are acknowledged")
    inject(sandbox, "message.read", "msg_last")
    hooks.wait_for(101)


def test_a_slow_receiver_does_not_slow_the_api(sandbox: SandboxServer, hooks: Receiver) -> None:
    sandbox.settings("aurogy", {"webhook": {"concurrency": 16}})
    hooks.answers[:] = [None] * 50
    for number in range(50):
        inject(sandbox, "message.read", f"msg_{number}")
    hooks.wait_for(16)  # as many as go out at once
    assert send(sandbox)
    assert outcomes(sandbox) == []  # it was answered while the receiver still owed its first answer
    assert len(hooks.hooks) == 16


def test_a_new_run_tells_what_is_new_and_not_what_was_told(hooks: Receiver, tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    lifecycle = {"sent_after": 0, "delivered_after": 0.01, "read_after": 3600, "read_share": 1}
    settings = {"aurogy": {"webhook": {"url": hooks.url, "timeout": 60}, "lifecycle": lifecycle}}
    with SandboxServer(settings, ledger_file=file) as first:
        message = send(first)
        hooks.wait_for(1)
        # A request after the delivery: the run is known to have lived that long.
        assert ask(first.base_url("aurogy"), "GET", f"/messages/{message}").json["status"] == "delivered"
    with SandboxServer(settings, ledger_file=file) as second:
        assert ask(second.base_url("aurogy"), "GET", f"/messages/{message}").json["status"] == "delivered"
        second.advance(3600)
        told = [hook.event for hook in hooks.wait_for(2)]
    assert told == ["message.delivered", "message.read"]
