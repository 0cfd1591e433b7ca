"""AuroraSendCloud through the whole service: sends, lost answers, and what both of its webhooks tell."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlencode

import pytest

from paceline import Email, Template
from sandbox import SandboxServer
from tests.contract.aurorasendcloud_support import NAME, PLENTY
from tests.support.installation import Installation, turn, until
from tests.support.receiver import Hooks, receiving, sign

Build = Callable[..., Installation]
QUICK = {"sent_after": 0, "delivered_after": 0.05, "read_after": 0.1, "read_share": 1}
MAIL_SECRET, SMS_SECRET = "sc_app_mail", "sc_app_sms"
HELLO = Email("ana@example.org", "Hello", html="<p>Hi</p>")
CODE = Template("+447700900123", "29999", variables={"code": "492817"})
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def receive() -> Iterator[Callable[[Installation], Hooks]]:
    with ExitStack() as stack:
        yield lambda built: stack.enter_context(receiving(built.engine, built.topology))


Receive = Callable[[Installation], Hooks]


def accounts(sandbox: SandboxServer, retry: str, polled: str) -> str:
    base = sandbox.base_url(NAME)
    return f"""
[accounts.mail-main]
provider = "aurorasendcloud-email"
base_url = "{base}"
api_user = "acme_api"
api_key = "k_demo"
sender = "news@mail.example.com"
webhook_secret = "{MAIL_SECRET}"
retry.schedule = [{retry}]
poll.schedule = [{polled}]
[accounts.sms-main]
provider = "aurorasendcloud-sms"
base_url = "{base}"
sms_user = "acme_sms"
sms_key = "k_demo"
webhook_secret = "{SMS_SECRET}"
retry.schedule = [{retry}]
"""


@pytest.fixture
def installed(build: Build, sandbox: SandboxServer) -> Callable[..., Installation]:
    """An installation with both accounts; webhooks go nowhere unless a test says so."""

    def made(retry: str = "0.1, 0.1, 0.1", polled: str = "600") -> Installation:
        sandbox.settings(NAME, {"ratelimit": PLENTY, "lifecycle": QUICK})
        return build(accounts=accounts(sandbox, retry, polled))

    return made


def tell(sandbox: SandboxServer, hooks: Hooks) -> None:
    """The sandbox posts what happens to the receiver, once that has answered its GET."""
    base, ladder = f"http://127.0.0.1:{hooks.port}/hooks", [0.1, 0.2, 0.5, *[1] * 30]
    common = {"retry_delays": ladder, "timeout": 30}
    mail = {"url": f"{base}/mail-main", "secret": MAIL_SECRET, **common}
    text = {"url": f"{base}/sms-main", "secret": SMS_SECRET, **common}
    sandbox.settings(NAME, {"webhook": mail, "sms_webhook": text})


def reaches(built: Installation, service: Any, message: str, status: str) -> None:
    until(
        lambda: (
            turn(service, 0.2),
            service.sweep(),
            built.client.status(message).status == status,
        )[-1]
    )


@pytest.mark.parametrize(("message", "via", "last"), [(HELLO, "mail-main", "read"), (CODE, "sms-main", "delivered")])
def test_what_is_sent_is_followed_to_its_end_by_webhooks(
    installed: Callable[..., Installation], receive: Receive, sandbox: SandboxServer, message: Any, via: str, last: str
) -> None:
    built = installed()
    tell(sandbox, receive(built))
    service = built.service()

    receipt = built.client.enqueue(message, via=via, metadata={"order": "4821"})
    reaches(built, service, receipt.id, last)

    view = built.client.status(receipt.id)
    assert (view.provider_message_id or "").endswith(f"${message.to}")
    assert {event.source for event in view.events} == {"response", "webhook"}
    [entry] = sandbox.ledger(NAME)
    assert (entry.dispatch_id, entry.accepted) == (receipt.id, True)


def test_without_webhooks_a_mail_is_polled(installed: Callable[..., Installation], sandbox: SandboxServer) -> None:
    built = installed(polled="1")
    service = built.service()

    receipt = built.client.enqueue(HELLO, via="mail-main")
    reaches(built, service, receipt.id, "delivered")

    assert {entry.group for entry in sandbox.ledger(NAME)} == {"send", "status"}


@pytest.mark.parametrize(("message", "via"), [(HELLO, "mail-main"), (CODE, "sms-main")])
def test_a_lost_answer_is_asked_for_again_and_nothing_is_sent_twice(
    installed: Callable[..., Installation], sandbox: SandboxServer, message: Any, via: str
) -> None:
    built = installed()
    service = built.service()
    sandbox.fault(NAME, "close", count=1, accept=True)

    receipt = built.client.enqueue(message, via=via)
    reaches(built, service, receipt.id, "accepted")

    entries = [entry for entry in sandbox.ledger(NAME) if entry.group != "status"]
    assert [entry.accepted for entry in entries] == [True, False]
    assert {entry.dispatch_id for entry in entries} == {receipt.id}
    assert built.client.status(receipt.id).provider_message_id == entries[0].message_id


def test_a_webhook_settles_a_mail_whose_answer_was_lost(
    installed: Callable[..., Installation], receive: Receive, sandbox: SandboxServer
) -> None:
    built = installed(retry="600")
    tell(sandbox, receive(built))
    service = built.service()
    sandbox.fault(NAME, "close", count=1, accept=True)

    receipt = built.client.enqueue(HELLO, via="mail-main")
    reaches(built, service, receipt.id, "read")

    [entry] = sandbox.ledger(NAME)
    assert built.client.status(receipt.id).provider_message_id == entry.message_id


def test_a_template_that_is_not_approved_fails_its_message_and_holds_up_nobody(
    installed: Callable[..., Installation], sandbox: SandboxServer
) -> None:
    built = installed()
    sandbox.settings(NAME, {"sms_templates": {"7": {"stat": 0}}})
    service = built.service()

    waiting = built.client.enqueue(Template(CODE.to, "7"), via="sms-main")
    good = built.client.enqueue(CODE, via="sms-main")
    reaches(built, service, waiting.id, "failed")
    reaches(built, service, good.id, "accepted")

    assert (built.client.status(waiting.id).reason or "").startswith("432 template not submitted or not approved")


def proven(token: str, **fields: str) -> dict[str, str]:
    timestamp = str(int(time.time() * 1000))
    proof = {"timestamp": timestamp, "token": token, "signature": sign(f"{timestamp}{token}".encode(), MAIL_SECRET)}
    return fields | proof


def genuine(token: str, **fields: str) -> bytes:
    return urlencode(proven(token, **fields)).encode()


def test_a_token_serves_one_body_and_a_get_is_answered(
    installed: Callable[..., Installation], receive: Receive
) -> None:
    built = installed()
    hooks = receive(built)
    first = genuine("t" * 50, event="deliver", emailId="1_2_3$ana@example.org")
    forged = first.replace(b"event=deliver", b"event=unsubscribe")

    def post(body: bytes) -> int:
        return hooks.ask("POST", "/hooks/mail-main", body, FORM)[0]

    assert [post(first), post(first), post(forged), post(first)] == [200, 200, 401, 200]
    assert post(genuine("u" * 50, event="deliver", emailId="x$y")[:-64] + b"0" * 64) == 401
    assert [hooks.ask(method, "/hooks/mail-main")[0] for method in ("GET", "HEAD")] == [200, 200]
    assert hooks.ask("GET", "/hooks/sms-main")[0] == 200
    assert [row["kind"] for row in built.rows("SELECT kind FROM paceline_webhook WHERE kind <> 'nonce'")] == ["status"]


def test_who_unsubscribed_is_written_to_no_more(
    installed: Callable[..., Installation], receive: Receive, sandbox: SandboxServer
) -> None:
    built = installed()
    tell(sandbox, receive(built))
    sandbox.inject(NAME, {"event": "unsubscribe", "data": {"emailId": "1_2$ana@example.org", "recipient": HELLO.to}})

    until(lambda: built.rows("SELECT * FROM paceline_suppression"))
    [row] = built.rows("SELECT * FROM paceline_suppression")
    assert row["channel"] == "email"


def test_half_a_character_in_a_name_is_stored_as_a_question_mark(
    installed: Callable[..., Installation], receive: Receive
) -> None:
    """Given JSON that escapes half of a surrogate pair, which no database can hold, then the list can still be read."""
    built = installed()
    body = json.dumps(proven("t" * 50, event="unsubscribe", recipient="\ud800ana@example.org")).encode()

    assert receive(built).ask("POST", "/hooks/mail-main", body, {"Content-Type": "application/json"})[0] == 200

    assert [entry.recipient for entry in built.client.suppressions("email")] == ["?ana@example.org"]


def test_an_application_may_ask_where_mails_stand(
    installed: Callable[..., Installation], working: Callable[[Any], None], sandbox: SandboxServer
) -> None:
    built = installed()
    working(built.service())
    receipt = built.client.enqueue(HELLO, via="mail-main")
    until(lambda: built.client.status(receipt.id).provider_message_id)

    found = built.client.call("mail-main", "mail_status", days=1, email=HELLO.to)

    assert [mail["id"] for mail in found["mails"]] == [built.client.status(receipt.id).provider_message_id]
    assert built.client.call("mail-main", "quota") == {"quota": None, "used_today": 1}
