"""Augnet's provider against Augnet in the sandbox, over real HTTP: what is sent is taken, what is told is believed."""

import base64
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from paceline.capabilities import parts
from paceline.messages import Text
from paceline.status import Status
from providers.augnet import PROVIDER, build_request, parse_event, parse_response, verify
from providers.base import (
    Accepted,
    Account,
    Event,
    Inbound,
    Misconfigured,
    Outcome,
    Refused,
    Response,
    Submission,
    Throttled,
    Unavailable,
    Unknown,
)
from sandbox import SandboxServer
from tests.contract.augnet_support import API_KEY, FAST, OTHER, PROJECT, SIGNING_KEY, TO, bill, callbacks, words
from tests.contract.sandbox_support import Hook, Receiver, ask, wait_until

MESSAGE = "01980000-0000-7000-8000-000000000001"  # an id of ours
TARGET = "/hooks/augnet-main?m=01HZX3.a%26b%25+c&x="  # to be signed as it is, byte for byte


@pytest.fixture
def hooks() -> Iterator[Receiver]:
    with callbacks(TARGET) as kept:
        yield kept


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    # One at a time, so that callbacks which a pause has made due together arrive in their order.
    settings = {
        "lifecycle": FAST,
        "webhook": {"secret": SIGNING_KEY, "retry_delays": [0.05, 0.1], "timeout": 60, "concurrency": 1},
    }
    with SandboxServer({"augnet": settings}) as server:
        yield server


def account(sandbox: SandboxServer, options: Mapping[str, Any] | None = None, **more: str) -> Account:
    credentials = {"project_id": PROJECT, "api_key": API_KEY, "sender": "ABCTAXI", "signing_key": SIGNING_KEY}
    return Account("augnet-main", sandbox.base_url("augnet"), credentials | more, options or {})


def send(sandbox: SandboxServer, own: Account, callback: str = "", to: str = TO, body: str = "Your taxi") -> Outcome:
    """One send as the worker makes it, by a plain client."""
    request = build_request(own, Submission(MESSAGE, Text(to, body), callback=callback))
    base = own.base_url
    assert request.url.startswith(base)
    answer = ask(base, request.method, request.url.removeprefix(base), request.body, key="", headers=request.headers)
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return parse_response(own, Response(answer.status, headers, answer.body, time.time()))


def arrived(hook: Hook, message_id: str = "", target: str = TARGET) -> Inbound:
    """The callback as the receiver of webhooks hands it on."""
    path, _, query = target.partition("?")
    headers = {name.lower(): value for name, value in hook.headers.items()}
    return Inbound("POST", path, query, headers, hook.body, hook.at, message_id)


def said(own: Account, hook: Hook, message_id: str = "") -> Event:
    [event] = parse_event(own, arrived(hook, message_id))
    return event


def test_a_text_is_taken_and_its_callbacks_are_believed(sandbox: SandboxServer, hooks: Receiver) -> None:
    own = account(sandbox)

    outcome = send(sandbox, own, hooks.url)

    assert isinstance(outcome, Accepted)
    told = hooks.wait_for(3)
    assert sorted(words(told)) == ["delivered", "queued", "sent"]
    for hook in told:
        assert verify(own, arrived(hook))
        assert (said(own, hook).provider_message_id, said(own, hook).recipient) == (outcome.provider_message_id, TO)
    assert {said(own, hook).status for hook in told} == {Status.ACCEPTED, Status.SENT, Status.DELIVERED}


def test_a_callback_has_the_documented_headers_and_body(sandbox: SandboxServer, hooks: Receiver) -> None:
    send(sandbox, account(sandbox), hooks.url)

    hook = hooks.wait_for(3)[0]

    headers = {name.lower(): value for name, value in hook.headers.items()}
    assert headers["content-type"] == "application/json"
    assert headers["accept"] == "application/json, application/*+json"
    assert headers["user-agent"].startswith("Apache-HttpClient/")
    assert headers["connection"] == "close"
    assert headers["host"] == urlsplit(hooks.url).netloc
    assert headers["date"].endswith(" GMT")
    assert headers["authorization"].startswith(f'Signature keyId="{PROJECT}",algorithm="hmac-sha256",headers="(requ')
    assert list(hook.json) == ["SmsSid", "SmsStatus", "AccountSid", "From", "To", "MessageStatus", "MessageSid"]
    assert (hook.json["AccountSid"], hook.json["From"], hook.json["SmsSid"]) == (
        PROJECT,
        "ABCTAXI",
        hook.json["MessageSid"],
    )


def test_what_was_changed_on_the_way_is_not_believed(sandbox: SandboxServer, hooks: Receiver) -> None:
    own = account(sandbox)
    send(sandbox, own, hooks.url)
    hook = hooks.wait_for(3)[0]

    assert not verify(own, arrived(Hook(hook.at, hook.headers, hook.body.replace(TO.encode(), b"+447700900124"))))
    assert not verify(own, arrived(hook, target=TARGET + "&"))
    assert not verify(own, arrived(hook, target=TARGET.replace("%26", "&")))
    assert not verify(account(sandbox, project_id=OTHER), arrived(hook))
    assert not verify(account(sandbox, signing_key="another"), arrived(hook))


def test_a_forged_callback_is_refused_and_its_retry_is_believed(sandbox: SandboxServer, hooks: Receiver) -> None:
    own = account(sandbox)
    sandbox.fault("augnet", kind="webhook_signature", count=1, event="queued")
    hooks.answers[:] = [401]
    send(sandbox, own, hooks.url)

    told = hooks.wait_for(4)

    assert [verify(own, arrived(hook)) for hook in told if words([hook]) == ["queued"]] == [False, True]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (base64.b64encode(b"\x00\xff signing").decode(), "base64"),
        (b"\x00\xff signing".hex(), "hex"),
        ("schlüssel", "utf8"),
    ],
)
def test_both_sides_agree_on_what_a_keys_text_stands_for(
    sandbox: SandboxServer, hooks: Receiver, text: str, encoding: str
) -> None:
    sandbox.settings("augnet", {"webhook": {"secret": text}, "signing_key_encoding": encoding})
    own = account(sandbox, {"signing_key_encoding": encoding, "signature.max_skew": 60.0}, signing_key=text)
    send(sandbox, own, hooks.url)

    assert all(verify(own, arrived(hook)) for hook in hooks.wait_for(3))


def test_without_a_signing_key_callbacks_are_unsigned_and_their_address_is_what_counts(
    sandbox: SandboxServer, hooks: Receiver
) -> None:
    sandbox.settings("augnet", {"webhook": {"secret": ""}})
    own = account(sandbox, signing_key="")
    send(sandbox, own, hooks.url)

    for hook in hooks.wait_for(3):
        assert not {"authorization", "digest"} & {name.lower() for name in hook.headers}
        assert not verify(own, arrived(hook))
        assert verify(own, arrived(hook, MESSAGE))
        assert said(own, hook, MESSAGE).message_id == MESSAGE


def test_what_has_no_address_of_its_own_is_told_to_its_projects(sandbox: SandboxServer, hooks: Receiver) -> None:
    project = {"api_key": API_KEY, "url": hooks.url, "signing_key": "of the project"}
    sandbox.settings("augnet", {"projects": {PROJECT: project}})
    own = account(sandbox, signing_key="of the project")
    send(sandbox, own)

    assert all(verify(own, arrived(hook)) for hook in hooks.wait_for(3))
    sandbox.settings("augnet", {"projects": None, "webhook": {"url": hooks.url}})
    send(sandbox, account(sandbox))
    assert all(verify(account(sandbox), arrived(hook)) for hook in hooks.wait_for(6)[3:])


@pytest.mark.parametrize("word", ["undelivered", "not delivered", "NOT_DELIVERED", "failed"])
def test_what_is_not_delivered_fails_whatever_it_is_called(sandbox: SandboxServer, hooks: Receiver, word: str) -> None:
    sandbox.settings("augnet", {"statuses": {"failed": word}, "lifecycle": {"outcomes": {"*": "failed"}}})
    own = account(sandbox)
    send(sandbox, own, hooks.url)

    told = hooks.wait_until(lambda hooks: word in words(hooks))

    [failed] = [said(own, hook) for hook in told if words([hook]) == [word]]
    assert (failed.status, failed.reason) == (Status.FAILED, "not_delivered")


def test_a_replaced_sender_is_seen_in_the_callback_alone(sandbox: SandboxServer, hooks: Receiver) -> None:
    sandbox.settings("augnet", {"senders": ["XYZ"]})
    own = account(sandbox)

    assert isinstance(send(sandbox, own, hooks.url), Accepted)
    assert {said(own, hook).reason for hook in hooks.wait_for(3)} == {"sender_replaced infomessage"}
    assert bill(sandbox)[PROJECT]["replaced"] == 1


def test_callbacks_that_nobody_expected_can_be_had_on_request(sandbox: SandboxServer, hooks: Receiver) -> None:
    own = account(sandbox)
    sandbox.settings("augnet", {"webhook": {"url": hooks.url}})
    body = sandbox.inject("augnet", {"status": "teleported", "sms_status": "sent", "project_id": PROJECT})
    [hook] = hooks.wait_for(1)

    assert hook.json == body
    assert verify(own, arrived(hook))
    assert (said(own, hook).kind, said(own, hook).status) == ("unknown_status", None)
    outcome = send(sandbox, own)
    assert isinstance(outcome, Accepted)
    sandbox.inject("augnet", {"message_id": outcome.provider_message_id, "status": "sent", "sms_status": "queued"})
    told = hooks.wait_until(
        lambda hooks: any(hook.json["SmsStatus"] != hook.json["MessageStatus"] for hook in hooks[1:])
    )
    reasons = [said(own, hook).reason for hook in told[1:]]
    assert "sms_status_differs" in reasons


@pytest.mark.usefixtures("still")
def test_a_callback_is_tried_again_by_the_ladder_of_five_thirty_and_120_seconds(hooks: Receiver) -> None:
    lifecycle = {"outcomes": {"*": "queued"}}
    with SandboxServer({"augnet": {"lifecycle": lifecycle, "webhook": {"secret": SIGNING_KEY}}}) as sandbox:
        assert sandbox.settings("augnet")["webhook"]["timeout"] == 10.0
        hooks.answers[:] = [500, 404, 307, 500]
        own = account(sandbox)
        send(sandbox, own, hooks.url)
        for number, delay in enumerate((5, 30, 120), start=1):
            wait_until(lambda number=number: len(sandbox.webhooks("augnet")) == number, "it was tried")  # type: ignore[misc]
            sandbox.advance(delay - 1)
            assert sandbox.summary("augnet")["webhooks"]["waiting"] == 1
            sandbox.advance(1)
            hooks.wait_for(number + 1)
        wait_until(lambda: sandbox.summary("augnet")["webhooks"]["dropped"] == 1, "it is dropped")
        assert all(verify(own, arrived(hook)) for hook in hooks.hooks)
        # Each attempt is dated, and so signed, anew.
        assert len({hook.headers["Date"] for hook in hooks.hooks}) == 4


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Refused),
        (401, Misconfigured),
        (402, Misconfigured),
        (403, Misconfigured),
        (404, Misconfigured),
        (415, Misconfigured),
        (422, Refused),
        (429, Throttled),
        (500, Unknown),
        (502, Unknown),
        (503, Unavailable),
        (504, Unknown),
    ],
)
def test_every_error_of_the_sandbox_is_understood(sandbox: SandboxServer, status: int, kind: type[Outcome]) -> None:
    sandbox.fault("augnet", kind="status", status=status, count=1)

    assert isinstance(send(sandbox, account(sandbox)), kind)


def test_errors_that_the_sandbox_finds_itself_are_understood(sandbox: SandboxServer) -> None:
    assert isinstance(send(sandbox, account(sandbox), to="447700900123"), Refused)
    assert isinstance(send(sandbox, account(sandbox), callback="hooks.example.com"), Refused)
    sandbox.settings("augnet", {"projects": {OTHER: {"api_key": "k"}}})
    assert isinstance(send(sandbox, account(sandbox)), Misconfigured)
    sandbox.settings("augnet", {"projects": None, "ratelimit": {"enforced": True, "send": "1/1h"}})
    assert isinstance(send(sandbox, account(sandbox)), Accepted)
    throttled = send(sandbox, account(sandbox))
    assert isinstance(throttled, Throttled)
    assert throttled.retry_after is not None
    assert 0 < throttled.retry_after <= 3600


def test_a_broken_answer_leaves_it_unknown_and_an_answer_without_a_sid_does_not(sandbox: SandboxServer) -> None:
    sandbox.fault("augnet", kind="broken_json", count=1)
    assert send(sandbox, account(sandbox)) == Unknown("unreadable_answer")
    sandbox.fault("augnet", kind="status", status=200, body={}, accept=True, count=1)
    assert send(sandbox, account(sandbox)) == Accepted(None)


@pytest.mark.parametrize("segmentation", ["documented", "gsm0338"])
@pytest.mark.parametrize("body", ["x" * 160, "x" * 161, "€" * 153 + "ж", "€" * 230, "🐢" * 100, "x" * 152 + "€" * 200])
def test_both_sides_count_the_same_parts(sandbox: SandboxServer, segmentation: str, body: str) -> None:
    sandbox.settings("augnet", {"segmentation": segmentation})
    own = account(sandbox, {"segmentation": segmentation})
    send(sandbox, own, body=body)

    assert bill(sandbox)[PROJECT]["parts"] == parts(PROVIDER.capabilities(own), Text(TO, body))
