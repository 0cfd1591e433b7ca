"""AuroraSendCloud against the sandbox, over real HTTP: what ours writes theirs understands, and the other way round."""

import base64
import http.client
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from paceline.messages import Email, Template
from paceline.status import Status
from providers import registry
from providers.base import (
    Accepted,
    Account,
    Event,
    Inbound,
    Misconfigured,
    Provider,
    Refused,
    Report,
    Request,
    Response,
    Scope,
    Submission,
    Throttled,
    Unavailable,
    Unknown,
)
from sandbox import SandboxServer
from tests.contract.aurorasendcloud_support import ANA, NAME, PHONE, PLENTY, STILL, Hook, Receiver, receiver
from tests.contract.sandbox_support import wait_until

EMAIL, SMS = registry.get("aurorasendcloud-email"), registry.get("aurorasendcloud-sms")
FAST = {"sent_after": 0, "delivered_after": 0.01, "read_after": 0.02, "read_share": 1}
HELLO = Email(ANA, "Hello + %name%", html="<p>Hi</p>", text="Hi")
CODE = Template(PHONE, "29999", variables={"code": "492817"})


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer({NAME: STILL}) as server:
        yield server


@pytest.fixture
def hooks() -> Iterator[Receiver]:
    with receiver() as kept:
        yield kept


def account(provider: Provider, sandbox: SandboxServer, path: str = "", **options: Any) -> Account:
    credentials = {it.name: it.sandbox for it in provider.credentials if it.sandbox}
    return Account("main", sandbox.base_url(NAME) + path, credentials, options)


def send(request: Request) -> Response:
    parts = urlsplit(request.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request(request.method, parts.path, request.body, dict(request.headers))
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status, headers, answer.read(), time.time())
    finally:
        connection.close()


def sent(provider: Provider, sandbox: SandboxServer, submission: Submission, **more: Any) -> Any:
    given = account(provider, sandbox, **more)
    return provider.parse_response(given, send(provider.build_request(given, submission)))


FILE = {"filename": 'a "b".bin', "content": base64.b64encode(bytes(range(256))).decode(), "media_type": "text/plain"}
EXTENSIONS = {
    "pubsub": {"%product%": "Lamp"},
    "filters": {"open_tracking": {"settings": {"enable": "0"}}},
    "settings.unsubscribe.page_id": [562],
    "send_domain": "customer.example.com",
}
OPTIONS = {"labelName": "orders", "sendTags": ["a", "b"], "contentSummary": "Short", "useNotification": "false"}
WHOLE = Email(
    ANA,
    "Hello",
    html="<p>Hi</p>",
    text="100 % + 1",
    sender="shop@mail.example.com",
    sender_name="Żółw",
    reply_to=["a@example.org"],
    cc=["c@example.org", "d@example.org"],
    bcc=["e@example.org"],
    headers={"X-Campaign": "spring"},
    attachments=[FILE],
)


@pytest.mark.parametrize(
    ("provider", "message", "options"),
    [
        (EMAIL, HELLO, {}),
        (EMAIL, WHOLE, OPTIONS),
        (EMAIL, WHOLE, EXTENSIONS),
        (EMAIL, Template(ANA, "order_confirmation"), {"headers": {"X-Order": "1"}, "contentSummary": "x"} | EXTENSIONS),
        (EMAIL, Template(ANA, "order_confirmation", variables={"name": "Ana + 100 %"}), {"replyTo": ["a@b.org"]}),
        (SMS, CODE, {"senderID": "AC-ME_1", "customArgs": {"a": "x" * 120}}),
    ],
)
def test_a_strict_server_takes_all_that_we_send_and_recognises_it_again(
    sandbox: SandboxServer, provider: Provider, message: Any, options: dict[str, Any]
) -> None:
    taken_and_recognised(sandbox, provider, message, options)


def test_an_sms_that_says_when_it_was_made_is_taken_as_well(sandbox: SandboxServer) -> None:
    taken_and_recognised(sandbox, SMS, CODE, {"timestamp": str(int(time.time()))})


def taken_and_recognised(sandbox: SandboxServer, provider: Provider, message: Any, options: dict[str, Any]) -> None:
    submission = Submission("01HZX3TBN5", message, {"order": "4821"}, options)

    first, again = sent(provider, sandbox, submission), sent(provider, sandbox, submission)

    assert isinstance(first, Accepted)
    assert first.note == ""
    assert (first.provider_message_id or "").endswith(f"${message.to}")
    assert again == first
    assert [entry.accepted for entry in sandbox.ledger(NAME)] == [True, False]


@pytest.mark.parametrize("options", [{"paths.send": "/api/mail/send"}, {"credentials.style": "apiUser"}])
def test_the_other_spellings_are_taken_too(sandbox: SandboxServer, options: dict[str, Any]) -> None:
    assert isinstance(sent(EMAIL, sandbox, Submission("id", HELLO), **options), Accepted)


def test_the_wrong_region_closes_the_key_and_a_wrong_path_the_lane(sandbox: SandboxServer) -> None:
    abroad = sent(EMAIL, sandbox, Submission("id", HELLO), path="/us")
    lost = sent(EMAIL, sandbox, Submission("id", HELLO), **{"paths.send": "/nowhere"})

    assert (abroad.code, abroad.scope) == ("40005", Scope.KEY)
    assert "region" in abroad.reason
    assert (type(lost), lost.scope) == (Misconfigured, Scope.LANE)


def test_refusals_are_read_by_their_codes() -> None:
    settings = STILL | {
        "templates": {"waiting": {"stat": 0}},
        "verified_domains": ["other.example.com"],
        "account": {"sms_balance": 1},
        "sms": {"per_minute": 1},
    }
    with SandboxServer({NAME: settings}) as sandbox:
        domain = sent(EMAIL, sandbox, Submission("a", HELLO))
        sandbox.settings(NAME, {"verified_domains": ["*"], "account": {"mail_balance": 0}})
        poor = sent(EMAIL, sandbox, Submission("b", HELLO))
        waiting = sent(EMAIL, sandbox, Submission("c", Template(ANA, "waiting")))
        missing = sent(SMS, sandbox, Submission("d", Template(PHONE, "29999")))
        unknown = sent(SMS, sandbox, Submission("e", Template(PHONE, "7")))
        taken, again = (sent(SMS, sandbox, Submission(id_, CODE)) for id_ in "fg")
        spent = sent(SMS, sandbox, Submission("h", Template("+33612345678", "29999", variables={"code": "1"})))

    assert (domain.code, domain.scope) == ("41014", Scope.MESSAGE)
    assert poor == Throttled(3600.0, "40912")
    assert (waiting.code, waiting.scope) == ("40824", Scope.MESSAGE)
    assert missing == Refused("441 variables malformed", "441")
    assert (unknown.code, unknown.scope) == ("431", Scope.MESSAGE)
    assert isinstance(taken, Accepted)
    assert again == Throttled(60.0, "496", Scope.MESSAGE)
    assert spent == Throttled(3600.0, "499")


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ({"kind": "status", "status": 200, "code": "50000"}, Throttled(None, "50000")),
        ({"kind": "status", "status": 200, "code": "40901"}, Unavailable(None, "40901")),
        ({"kind": "status", "status": 200, "code": "12345"}, Refused("unknown_code_12345", "12345")),
        ({"kind": "status", "status": 429, "retry_after": 7}, Throttled(7.0, "429")),
        ({"kind": "status", "status": 503, "retry_after": 7}, Unavailable(7.0, "503")),
        ({"kind": "status", "status": 500, "accept": True}, Unknown("unknown_code_500", "500")),
        ({"kind": "html", "status": 502}, Unknown("http_502")),
        ({"kind": "broken_json"}, Unknown("unreadable_answer")),
    ],
)
@pytest.mark.parametrize(("provider", "message"), [(EMAIL, HELLO), (SMS, CODE)])
def test_faults_are_read_as_what_they_are(
    sandbox: SandboxServer, provider: Provider, message: Any, fault: dict[str, Any], outcome: object
) -> None:
    sandbox.fault(NAME, count=1, **fault)

    assert sent(provider, sandbox, Submission("id", message)) == outcome
    assert isinstance(sent(provider, sandbox, Submission("id", message)), Accepted)


def test_a_send_whose_answer_was_lost_is_found_again_by_repeating_it(sandbox: SandboxServer) -> None:
    sandbox.fault(NAME, "html", count=1, accept=True)

    lost, found = (sent(EMAIL, sandbox, Submission("id", HELLO)) for _ in range(2))

    assert isinstance(lost, Unknown)
    assert isinstance(found, Accepted)
    assert [(entry.accepted, entry.message_id) for entry in sandbox.ledger(NAME)] == [
        (True, found.provider_message_id),
        (False, found.provider_message_id),
    ]


def poll(sandbox: SandboxServer, id_: str) -> Any:
    given = account(EMAIL, sandbox)
    assert EMAIL.build_poll
    assert EMAIL.parse_poll
    return EMAIL.parse_poll(given, send(EMAIL.build_poll(given, id_)))


def test_polls_say_where_mails_stand() -> None:
    life = FAST | {"outcomes": {"ana@*": "delivered", "wait@*": "queued", "*": "failed"}}
    failures = {"gone@*": 406, "bye@*": 402, "full@*": 508}
    with SandboxServer({NAME: {"ratelimit": PLENTY, "lifecycle": life, "mail_failures": failures}}) as sandbox:
        ids = {}
        for who in ("ana", "wait", "gone", "bye", "full"):
            outcome = sent(EMAIL, sandbox, Submission(who, Email(f"{who}@example.org", "Hi", text="Hi")))
            ids[who] = outcome.provider_message_id
        wait_until(lambda: sandbox.summary(NAME)["messages"].get("failed") == 3, "three have failed")
        wait_until(lambda: sandbox.summary(NAME)["messages"].get("delivered") == 1, "one was delivered")
        found = {who: poll(sandbox, id_) for who, id_ in ids.items()}
        nothing = poll(sandbox, "1776090600123_1_2_3.sg-10_1_253_1-inbound0$x@example.org")

    assert found == {
        "ana": Report(Status.DELIVERED),
        "wait": Report(Status.ACCEPTED),
        "gone": Report(Status.FAILED, "406 address does not exist", opted_out=True),
        "bye": Report(Status.FAILED, "402 suppressed: unsubscribed", opted_out=True),
        "full": Report(Status.FAILED, "508 soft bounce: rejected"),
    }
    assert nothing == Report(None, "not_found")


def test_a_probe_tells_a_good_key_from_a_bad_one(sandbox: SandboxServer) -> None:
    assert EMAIL.build_probe
    assert EMAIL.parse_probe
    good, bad = account(EMAIL, sandbox), account(EMAIL, sandbox, "/hk")

    assert EMAIL.parse_probe(good, send(EMAIL.build_probe(good))) == Accepted(code="200")
    assert isinstance(EMAIL.parse_probe(bad, send(EMAIL.build_probe(bad))), Misconfigured)


def told(provider: Provider, sandbox: SandboxServer, hook: Hook) -> list[Event]:
    """What our side makes of a webhook, once it has believed it."""
    given = account(provider, sandbox)
    headers = {name.lower(): value for name, value in hook.headers.items()}
    inbound = Inbound("POST", "/hooks/main", "", headers, hook.body, time.time())
    assert provider.verify
    assert provider.parse_event
    assert provider.verify(given, inbound)
    return list(provider.parse_event(given, inbound))


@pytest.mark.parametrize("encoding", ["form", "json"])
@pytest.mark.parametrize("names", ["old", "new"])
@pytest.mark.parametrize(
    ("provider", "message", "statuses"),
    [
        (EMAIL, HELLO, {Status.ACCEPTED, Status.DELIVERED, Status.READ}),
        (SMS, CODE, {Status.ACCEPTED, Status.DELIVERED}),
    ],
)
def test_webhooks_of_both_generations_and_encodings_are_believed_and_read(
    hooks: Receiver, provider: Provider, message: Any, statuses: set[Status], names: str, encoding: str
) -> None:
    hook = {"url": hooks.url, "names": names, "encoding": encoding, "timeout": 60}
    settings = {"ratelimit": PLENTY, "lifecycle": FAST, "webhook": hook, "sms_webhook": hook}
    with SandboxServer({NAME: settings}) as sandbox:
        outcome = sent(provider, sandbox, Submission("01HZX3TBN5", message))
        events = [event for hook_ in hooks.wait_for(len(statuses)) for event in told(provider, sandbox, hook_)]

    assert {event.status for event in events} == statuses
    assert {event.provider_message_id for event in events} == {outcome.provider_message_id}
    assert {(event.recipient, event.message_id) for event in events} == {(message.to, "01HZX3TBN5")}
    assert len({event.key for event in events}) == len(statuses)


@pytest.mark.parametrize("names", ["old", "new"])
def test_failures_and_farewells_are_read(hooks: Receiver, names: str) -> None:
    farewells = ["invalid", "unsubscribe", "report_spam", "workererror"]
    hook = {"url": hooks.url, "names": names, "events": farewells, "timeout": 60}
    settings = {
        "lifecycle": FAST | {"failed_share": 1},
        "webhook": hook,
        "sms_webhook": hook,
        "mail_failures": {"*": 402},
        "sms_failures": {"*": 430},
    }
    with SandboxServer({NAME: settings}) as sandbox:
        sent(EMAIL, sandbox, Submission("a", HELLO))
        [failed] = told(EMAIL, sandbox, hooks.wait_for(1)[0])
        sent(SMS, sandbox, Submission("b", CODE))
        [stopped] = told(SMS, sandbox, hooks.wait_for(2)[1])
        sandbox.inject(NAME, {"event": "unsubscribe", "data": {"emailId": "x$y", "recipient": "ben@example.org"}})
        [farewell] = told(EMAIL, sandbox, hooks.wait_for(3)[2])

    assert (failed.status, failed.reason, failed.opted_out) == (Status.FAILED, "402 suppressed: unsubscribed", ANA)
    assert (stopped.status, stopped.reason, stopped.opted_out) == (Status.FAILED, "430 suppressed: unsubscribed", PHONE)
    assert (farewell.kind, farewell.status, farewell.opted_out) == ("unsubscribe", None, "ben@example.org")
