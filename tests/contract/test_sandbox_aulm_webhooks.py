"""The sandbox's aulm webhooks as a real receiver gets them: headers, ladder, final answers, auto-disable."""

import hashlib
import hmac
import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sandbox import SandboxServer
from sandbox.model import SettingsError
from tests.contract.sandbox_support import Hook, Receiver, ask, receiver, wait_until

LIVE = "alm_sk_live_" + "0a" * 32
TEST = "alm_sk_test_" + "0a" * 32
SESSION = "9b2f4c1e-6d3a-4e57-a1c8-0f7d5b3e2a94"
TO = "+966512345678"
SECRET = "aulm_whsec_b7e2d90c5f"
FAST = {"sent_after": 0, "delivered_after": 0.01, "read_after": 0.05, "read_share": 1}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def hooks() -> Iterator[Receiver]:
    with receiver() as kept:
        yield kept


@pytest.fixture
def sandbox(hooks: Receiver) -> Iterator[SandboxServer]:
    # One at a time, so that events which a pause has made due together arrive in their order.
    webhook = {"url": hooks.url, "secret": SECRET, "retry_delays": [0.05, 0.1], "timeout": 60, "concurrency": 1}
    with SandboxServer({"aulm": {"webhook": webhook, "lifecycle": FAST}}) as server:
        yield server


def send(sandbox: SandboxServer, key: str = LIVE, to: str = TO) -> str:
    body = {"session_id": SESSION, "to": to, "body": "hi"}
    answer = ask(sandbox.base_url("aulm"), "POST", "/v1/messages/send-text", body, key=key)
    return str(answer.json["data"]["message_id"]) if answer.status == 201 else answer.json["error"]["code"]


def written(sandbox: SandboxServer, **more: Any) -> dict[str, Any]:
    return sandbox.inject("aulm", {"event": "inbound_message", "data": {"from": TO, **more}})


def outcomes(sandbox: SandboxServer) -> list[tuple[int, int | str, str]]:
    return [(item.attempt, item.answer, item.outcome) for item in sandbox.webhooks("aulm")]


def rightly_signed(hook: Hook) -> bool:
    expected = hmac.new(SECRET.encode(), hook.body, hashlib.sha256).hexdigest()
    return hook.headers["x-aulm-signature"] == f"sha256={expected}"


def test_sending_delivery_and_reading_are_told_with_the_four_headers(sandbox: SandboxServer, hooks: Receiver) -> None:
    message = send(sandbox)
    told = hooks.wait_for(3)

    assert [hook.json["status"] for hook in told] == ["sent", "delivered", "read"]
    for hook in told:
        body = hook.json
        assert list(body) == ["event", "delivery_id", "session_id", "message_id", "status", "to", "occurred_at"]
        assert (body["event"], body["session_id"], body["message_id"], body["to"]) == (
            "message_status",
            SESSION,
            message,
            TO,
        )
        assert INSTANT.fullmatch(body["occurred_at"])
        assert hook.headers["x-aulm-event"] == "message_status"
        assert hook.headers["x-aulm-delivery-id"] == body["delivery_id"]
        assert hook.headers["x-aulm-attempt"] == "1"
        assert rightly_signed(hook)
    assert len({hook.json["delivery_id"] for hook in told}) == 3
    assert all(UUID.fullmatch(hook.json["delivery_id"]) for hook in told)
    wait_until(lambda: sandbox.summary("aulm")["messages"].get("read") == 1, "it is read")


def test_a_failure_is_told_without_a_reason(sandbox: SandboxServer, hooks: Receiver) -> None:
    sandbox.settings("aulm", {"lifecycle": {"outcomes": {"+49*": "failed"}}})
    send(sandbox, to="+4915112345678")
    told = hooks.wait_until(lambda kept: any(hook.json["status"] == "failed" for hook in kept))

    assert "error" not in told[-1].json
    wait_until(lambda: sandbox.summary("aulm")["messages"] == {"sent": 0, "failed": 1}, "it has failed")


def test_test_keys_fire_webhooks_unless_they_are_kept_from_it(sandbox: SandboxServer, hooks: Receiver) -> None:
    simulated = send(sandbox, TEST)
    assert {hook.json["message_id"] for hook in hooks.wait_for(3)} == {simulated}

    sandbox.settings("aulm", {"test_keys": {"webhooks": False}})
    send(sandbox, TEST)
    live = send(sandbox)
    assert {hook.json["message_id"] for hook in hooks.wait_for(6)[3:]} == {live}


def test_what_timed_out_and_went_out_is_told_all_the_same(sandbox: SandboxServer, hooks: Receiver) -> None:
    sandbox.settings("aulm", {"upstream": {"state": "timeout", "timeout_sends": True}})
    assert send(sandbox) == "messaging_service_timeout"

    assert [hook.json["status"] for hook in hooks.wait_for(3)] == ["sent", "delivered", "read"]


def test_what_is_written_to_a_session_goes_to_the_endpoint_of_the_key_that_uses_it(
    sandbox: SandboxServer, hooks: Receiver
) -> None:
    """Given an endpoint of one key's own, when the session that it sends by is written to, then it is told there."""
    own = {"url": hooks.url, "secret": "of its own"}
    sandbox.settings(
        "aulm", {"webhook": {"url": None, "endpoints": {LIVE: own}}, "lifecycle": {"outcomes": {"*": "queued"}}}
    )
    written(sandbox, body="to nobody yet")
    send(sandbox)
    written(sandbox, session_id=SESSION, body="hello")

    [hook] = hooks.wait_for(1)
    assert hook.json["body"] == "hello"
    assert (
        hook.headers["x-aulm-signature"] == "sha256=" + hmac.new(b"of its own", hook.body, hashlib.sha256).hexdigest()
    )


def test_a_retry_bears_the_same_delivery_and_the_next_attempt(sandbox: SandboxServer, hooks: Receiver) -> None:
    hooks.answers[:] = [503, 302]
    written(sandbox)
    told = hooks.wait_for(3)

    assert len({hook.body for hook in told}) == len({hook.headers["x-aulm-delivery-id"] for hook in told}) == 1
    assert [hook.headers["x-aulm-attempt"] for hook in told] == ["1", "2", "3"]
    wait_until(lambda: len(outcomes(sandbox)) == 3, "the third attempt is entered")
    assert outcomes(sandbox) == [(1, 503, "retried"), (2, 302, "retried"), (3, 200, "acknowledged")]


@pytest.mark.parametrize("status", [400, 401, 404, 408, 410, 499])
def test_a_4xx_is_final(sandbox: SandboxServer, hooks: Receiver, status: int) -> None:
    hooks.answers[:] = [status]
    written(sandbox)
    wait_until(lambda: outcomes(sandbox) == [(1, status, "dropped")], "it is dropped at once")
    assert sandbox.summary("aulm")["webhooks"]["waiting"] == 0


@contextmanager
def busy(retry_after: str) -> Iterator[str]:
    """A receiver that answers 429 to everything."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(429)
            self.send_header("Retry-After", retry_after)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.usefixtures("still")
def test_a_429_says_when_and_never_later_than_in_an_hour(sandbox: SandboxServer, hooks: Receiver) -> None:
    with busy("99999") as url:
        sandbox.settings("aulm", {"webhook": {"url": url}})
        written(sandbox)
        wait_until(lambda: outcomes(sandbox) == [(1, 429, "retried")], "it is put off")
    sandbox.settings("aulm", {"webhook": {"url": hooks.url}})
    sandbox.advance(3599)
    assert hooks.hooks == []  # not by the ladder, whose first rung is 50 ms
    assert sandbox.summary("aulm")["webhooks"]["waiting"] == 1
    sandbox.advance(1)
    hooks.wait_for(1)


def test_failures_in_a_row_switch_the_endpoint_off_until_it_is_switched_on(
    sandbox: SandboxServer, hooks: Receiver
) -> None:
    sandbox.settings("aulm", {"webhook": {"disable_after": 3, "retry_delays": []}})
    hooks.answers[:] = [400, 500, 200, 400, 500, 404]
    for number in range(6):
        written(sandbox)
        wait_until(lambda count=number + 1: len(outcomes(sandbox)) == count, "its answer is entered")  # type: ignore[misc]
    wait_until(lambda: sandbox.settings("aulm")["webhook"]["enabled"] is False, "it is switched off")

    written(sandbox)
    assert sandbox.summary("aulm")["webhooks"]["events"] == 6
    sandbox.settings("aulm", {"webhook": {"enabled": True}})
    written(sandbox)
    assert len(hooks.wait_for(7)) == 7


def test_an_inbound_message_is_told_as_documented(sandbox: SandboxServer, hooks: Receiver) -> None:
    returned = written(sandbox, body="STOP", session_id=SESSION)
    [hook] = hooks.wait_for(1)

    assert hook.json == returned
    assert hook.headers["x-aulm-event"] == "inbound_message"
    assert sorted(hook.json) == sorted(
        ["event", "delivery_id", "session_id", "from", "message_id", "type", "body", "received_at"]
    )
    assert (hook.json["from"], hook.json["type"], hook.json["body"]) == (TO, "text", "STOP")
    assert rightly_signed(hook)


def test_an_inbound_image_has_no_body(sandbox: SandboxServer) -> None:
    assert "body" not in written(sandbox, type="image")


def test_a_test_delivery_says_that_it_is_one(sandbox: SandboxServer, hooks: Receiver) -> None:
    for event in ("inbound_message", "message_status"):
        sandbox.inject("aulm", {"event": event, "test": True})

    assert [hook.json["test"] for hook in hooks.wait_for(2)] == [True, True]
    assert all(map(rightly_signed, hooks.hooks))


def test_any_status_of_any_message_can_be_told(sandbox: SandboxServer, hooks: Receiver) -> None:
    data = {"message_id": "3EB0", "to": TO, "status": "played"}
    sandbox.inject("aulm", {"event": "message_status", "data": data})

    assert hooks.wait_for(1)[0].json.items() >= data.items()


@pytest.mark.parametrize("event", [{}, {"event": "session_lost"}, {"data": {"from": 7}}, {"event": "message_status"}])
def test_an_event_without_its_number_is_refused(sandbox: SandboxServer, event: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"^event"):
        sandbox.inject("aulm", event)


def test_a_wrong_signature_is_one_in_the_right_form(sandbox: SandboxServer, hooks: Receiver) -> None:
    sandbox.fault("aulm", kind="webhook_signature", count=1)
    written(sandbox)
    [hook] = hooks.wait_for(1)

    assert re.fullmatch(r"sha256=[0-9a-f]{64}", hook.headers["x-aulm-signature"])
    assert not rightly_signed(hook)
