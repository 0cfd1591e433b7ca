"""Messages' own addresses, and webhooks whose signature covers no body: what is believed, and of which message."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from paceline import Text
from sandbox.background import SandboxServer
from tests.support.installation import Installation, turn, until
from tests.support.receiver import Hooks, receiving
from worker.hooks.callbacks import Callbacks

PROJECT = "5f0c2d7e-9a41-4b1f-8f57-2c1b7e0a9d33"
AUGNET = """
[accounts.sms]
provider = "augnet"
base_url = "{url}"
project_id = "{project}"
api_key = "sandbox-private-key"
sender = "ABCTAXI"
{more}
"""
Build = Callable[..., Installation]
Receive = Callable[[Installation], Hooks]
TO = "+447700900123"


@pytest.fixture
def receive() -> Iterator[Receive]:
    with ExitStack() as stack:
        yield lambda built: stack.enter_context(receiving(built.engine, built.topology))


def installed(build: Build, sandbox: SandboxServer, more: str = "") -> Installation:
    return build(accounts=AUGNET.format(url=sandbox.base_url("augnet"), project=PROJECT, more=more))


def said(status: str, sid: str = "0b9d2f64-7c11-4e0e-9a55-3f1b8a6c2d10") -> bytes:
    body = {"SmsSid": sid, "SmsStatus": status, "AccountSid": PROJECT, "From": "ABCTAXI", "To": TO}
    return json.dumps({**body, "MessageStatus": status, "MessageSid": sid}).encode()


def sent_without_an_answer(built: Installation, hooks: Hooks, sandbox: SandboxServer) -> tuple[str, str]:
    """A message that the provider took, and whose answer was lost: its id, and the path of its own address."""
    sandbox.fault("augnet", "close", accept=True, count=1)
    service = built.service(hooks=f"http://127.0.0.1:{hooks.port}")
    receipt = built.client.enqueue(Text(TO, "Your taxi is here."), via="sms")
    until(lambda: (turn(service), built.client.status(receipt.id).status == "unknown")[-1])
    [entry] = sandbox.ledger("augnet")
    url = json.loads(entry.body or "")["statusCallback"]
    return receipt.id, url.removeprefix(f"http://127.0.0.1:{hooks.port}")


def post(hooks: Hooks, path: str, body: bytes) -> int:
    return hooks.ask("POST", path, body, {"Content-Type": "application/json"})[0]


@pytest.fixture
def silent(sandbox: SandboxServer) -> SandboxServer:
    """A sandbox that keeps what it is sent, and tells nothing by itself."""
    sandbox.settings("augnet", {"keep_bodies": True})
    sandbox.fault("augnet", "webhook_drop")
    return sandbox


def test_an_unsigned_callback_settles_the_message_whose_answer_was_lost(
    build: Build, receive: Receive, silent: SandboxServer
) -> None:
    built = installed(build, silent)
    hooks = receive(built)
    message, path = sent_without_an_answer(built, hooks, silent)

    assert post(hooks, path, said("delivered")) == 200

    view = built.client.status(message)
    assert (view.status, view.provider_message_id) == ("delivered", "0b9d2f64-7c11-4e0e-9a55-3f1b8a6c2d10")


def test_a_callback_to_another_address_is_forged(build: Build, receive: Receive, silent: SandboxServer) -> None:
    built = installed(build, silent)
    hooks = receive(built)
    message, path = sent_without_an_answer(built, hooks, silent)
    other = "0" * 8 + message[8:]

    for forged in (
        "/hooks/sms",
        path[:-1] + ("0" if path[-1] != "0" else "1"),
        path.replace(message, other),
        path + "&m=x",
    ):
        assert post(hooks, forged, said("delivered")) == 401

    assert built.client.status(message).status == "unknown"
    assert built.rows("SELECT * FROM paceline_webhook") == []


def test_who_holds_one_address_moves_no_other_message(build: Build, receive: Receive, silent: SandboxServer) -> None:
    """Given two messages, when the first one's address is told of the second's id, then only the first moves."""
    built = installed(build, silent)
    hooks = receive(built)
    message, path = sent_without_an_answer(built, hooks, silent)
    service = built.services[0]
    other = built.client.enqueue(Text("+447700900124", "And yours."), via="sms")
    until(lambda: (turn(service), built.client.status(other.id).provider_message_id)[-1])
    theirs = str(built.client.status(other.id).provider_message_id)

    assert post(hooks, path, said("undelivered", theirs)) == 200

    assert built.client.status(message).status == "failed"
    assert built.client.status(other.id).status == "accepted"


def test_what_is_to_be_sent_again_is_not_once_its_callback_comes(
    build: Build, receive: Receive, silent: SandboxServer
) -> None:
    built = installed(build, silent, 'on_unknown = "retry"\nretry.schedule = [600]')
    silent.fault("augnet", "close", accept=True, count=1)
    hooks = receive(built)
    service = built.service(hooks=f"http://127.0.0.1:{hooks.port}")
    receipt = built.client.enqueue(Text(TO, "Your taxi is here."), via="sms")
    until(lambda: (turn(service), built.client.status(receipt.id).attempts)[-1])
    assert built.client.status(receipt.id).status == "queued"
    path = re.sub(r"^http://[^/]*", "", json.loads(silent.ledger("augnet")[0].body or "")["statusCallback"])

    assert post(hooks, path, said("sent")) == 200

    assert built.client.status(receipt.id).status == "sent"
    assert built.rows("SELECT due_at, unresolved FROM paceline_message") == [{"due_at": None, "unresolved": False}]


@pytest.mark.parametrize("query", ["", "m=", "m=x", "m=.", "m=a.b", "m=%00.x", "m=é.ü", "x=1", "m" * 5000])
def test_what_is_no_address_of_ours_names_nobody(query: str) -> None:
    assert Callbacks("https://hooks.example.com", lambda: b"secret").message_id("sms", query) == ""


def test_an_address_is_the_accounts_own() -> None:
    made = Callbacks("https://hooks.example.com/", lambda: b"secret")
    url = made.url("sms", "0197")

    assert url.startswith("https://hooks.example.com/hooks/sms?m=0197.")
    query = url.partition("?")[2]
    assert made.message_id("sms", query) == "0197"
    assert made.message_id("other", query) == ""
    assert Callbacks("https://hooks.example.com/", lambda: b"another").message_id("sms", query) == ""
    assert Callbacks("", lambda: b"secret").url("sms", "0197") == ""
    assert "secret" not in repr(made)


def test_a_token_that_comes_again_with_another_body_is_refused(
    build: Build, receive: Receive, sandbox: SandboxServer
) -> None:
    """Given a signature that covers a token alone, when the token comes with another body, then that is forged."""
    url = sandbox.base_url("aurorasendcloud")
    account: dict[str, Any] = {
        "provider": "aurorasendcloud-email", "base_url": url, "api_user": "acme_api", "api_key": "k_demo_0123456789",
        "region": "sg", "sender": "news@mail.example.com", "webhook_secret": "sc_app_9d2f6b7c41e8",
    }  # fmt: skip
    lines = [f"{name} = {json.dumps(value)}" for name, value in account.items()]
    more = 'options."webhook.replay_window" = 1e12'
    built = build(accounts="\n[accounts.mail]\n" + "\n".join([*lines, more]) + "\n")
    hooks = receive(built)
    genuine = (
        b"event=deliver&message=Successfully+delivered&apiUser=acme_api&category=7041&emailId=1776090600123_7041_25239_"
        b"6195.sg-10_1_253_1-inbound0%24ana%40example.org&recipient=ana%40example.org&outIp=203.0.113.25&labelId=0&"
        b"labelName=&timestamp=1776090602345&token=Zk3vQ9sLw2YbT7nRc5XhJ8dMf1GpV6uAe4KiBo0NqStUyWxzHr&signature="
        b"a31f613c2c466efac4752345351ebd6411a5ec0d7bea798c029fbfe6c2d930ed"
    )
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    assert hooks.ask("POST", "/hooks/mail", genuine, form)[0] == 200
    assert hooks.ask("POST", "/hooks/mail", genuine, form)[0] == 200
    assert hooks.ask("POST", "/hooks/mail", genuine.replace(b"deliver&", b"invalid&"), form)[0] == 401

    kinds = [row["kind"] for row in built.rows("SELECT kind FROM paceline_webhook ORDER BY kind")]
    assert kinds == ["nonce", "status"]
    assert hooks.ask("GET", "/hooks/mail")[0] == 200
    assert hooks.ask("GET", "/hooks/aurogy-main")[0] == 405
