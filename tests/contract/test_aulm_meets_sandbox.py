"""aulm's requests, answers and webhooks against the sandbox, which was written from the reference by itself."""

import http.client
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from paceline.messages import Media, Message, Text
from paceline.status import Status
from providers.aulm import PROVIDER, build_probe, build_request, parse_probe, parse_response
from providers.aulm.events import parse_event, verify
from providers.base import (
    Accepted,
    Account,
    Event,
    Inbound,
    Misconfigured,
    Outcome,
    Refused,
    Request,
    Response,
    Scope,
    Submission,
    Throttled,
    Unavailable,
    Unknown,
)
from sandbox import SandboxServer
from tests.contract.sandbox_support import Receiver, receiver

LIVE = "alm_sk_live_" + "0a" * 32
SESSION = "9b2f4c1e-6d3a-4e57-a1c8-0f7d5b3e2a94"
SECRET = "aulm_whsec_b7e2d90c5f"
TO = "+966512345678"
FAST = {"sent_after": 0, "delivered_after": 0.01, "read_after": 0.05, "read_share": 1}
NOW = 1_779_963_342.0


@pytest.fixture
def hooks() -> Iterator[Receiver]:
    with receiver() as kept:
        yield kept


@pytest.fixture
def sandbox(hooks: Receiver) -> Iterator[SandboxServer]:
    # One at a time, so that events which a pause has made due together arrive in their order.
    webhook = {"url": hooks.url, "secret": SECRET, "timeout": 60, "concurrency": 1}
    with SandboxServer({"aulm": {"webhook": webhook, "lifecycle": FAST}}) as server:
        yield server


def account(sandbox: SandboxServer, key: str = LIVE) -> Account:
    credentials = {"api_key": key, "session_id": SESSION, "webhook_secret": SECRET}
    return Account("aulm-main", sandbox.base_url("aulm"), credentials)


def put(request: Request) -> Response:
    parts = urlsplit(request.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request(request.method, parts.path, request.body or None, dict(request.headers))
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Response(answer.status, headers, answer.read(), NOW)
    finally:
        connection.close()


def sent(sandbox: SandboxServer, message: Message | None = None, key: str = LIVE) -> tuple[Response, Outcome]:
    given = account(sandbox, key)
    response = put(build_request(given, Submission("id", message or Text(TO, "hi"))))
    return response, parse_response(given, response)


def heard(sandbox: SandboxServer, hooks: Receiver, count: int) -> list[Event]:
    given = account(sandbox)
    events: list[Event] = []
    for hook in hooks.wait_for(count):
        inbound = Inbound("POST", "/", "", {name.lower(): v for name, v in hook.headers.items()}, hook.body, hook.at)
        assert verify(given, inbound)
        events += parse_event(given, inbound)
    return events


@pytest.mark.parametrize(
    "message",
    [
        Text(TO, "موعدك 🐢"),
        Media(TO, "https://cdn.example.com/map.png", "image/png", caption="Here"),
        Media(TO, "data:image/png;base64,iVBORw0KGgo=", "image/png"),
    ],
    ids=["text", "URL", "data URI"],
)
def test_a_message_is_sent_and_what_becomes_of_it_is_heard(
    sandbox: SandboxServer, hooks: Receiver, message: Message
) -> None:
    response, outcome = sent(sandbox, message)

    assert isinstance(outcome, Accepted)
    assert (outcome.status, outcome.note) == (Status.SENT, "")
    left = PROVIDER.remaining(account(sandbox), response)
    assert left is not None
    assert (left.window, left.left) == (86_400.0, 999)
    assert 0 < left.reset_in <= 86_400
    events = heard(sandbox, hooks, 3)
    assert [event.status for event in events] == [Status.SENT, Status.DELIVERED, Status.READ]
    assert {(event.provider_message_id, event.recipient) for event in events} == {(outcome.provider_message_id, TO)}
    assert len({event.key for event in events}) == 3


def test_a_test_key_is_told_apart(sandbox: SandboxServer) -> None:
    _, outcome = sent(sandbox, key=PROVIDER.credentials[0].sandbox)

    assert isinstance(outcome, Accepted)
    assert outcome.note == "simulated"
    assert (outcome.provider_message_id or "").startswith("sim_")


TROUBLE: list[tuple[dict[str, Any], Outcome]] = [
    ({"sessions": {"*": {"status": "disconnected"}}}, Unavailable(None, "session_not_ready", probe_first=True)),
    ({"upstream": {"state": "overloaded", "retry_after": 9}}, Unavailable(9.0, "service_unavailable")),
    ({"upstream": {"state": "unreachable"}}, Unavailable(None, "messaging_service_unreachable")),
    ({"upstream": {"state": "error"}}, Unavailable(None, "messaging_service_error")),
    ({"upstream": {"state": "timeout"}}, Unknown("messaging_service_timeout", "messaging_service_timeout")),
]


@pytest.mark.parametrize(("settings", "expected"), TROUBLE, ids=lambda value: str(value)[:60])
def test_passing_trouble_is_read_as_such(sandbox: SandboxServer, settings: dict[str, Any], expected: Outcome) -> None:
    sandbox.settings("aulm", settings)

    assert sent(sandbox)[1] == expected


@pytest.mark.parametrize(
    ("settings", "code", "scope"),
    [
        ({"keys": {LIVE: {"state": "revoked"}}}, "api_key_revoked", Scope.KEY),
        ({"accounts": {"main": {"active": False}}}, "account_deactivated", Scope.KEY),
        ({"sessions": {"*": None}}, "session_not_found", Scope.LANE),
        ({"sessions": {"*": {"disabled": True}}}, "session_disabled", Scope.LANE),
        ({"keys": {LIVE: {"sessions": []}}}, "session_not_allowed", Scope.LANE),
        ({"accounts": {"main": {"trial": True}}, "quota": {"trial": 0}}, "trial_quota_exceeded", Scope.KEY),
    ],
)
def test_what_an_operator_must_mend_closes_key_or_lane(
    sandbox: SandboxServer, settings: dict[str, Any], code: str, scope: Scope
) -> None:
    sandbox.settings("aulm", settings)
    _, outcome = sent(sandbox)

    assert isinstance(outcome, Misconfigured)
    assert (outcome.code, outcome.scope) == (code, scope)


def test_a_spent_day_waits_for_midnight_on_the_whole_key(sandbox: SandboxServer) -> None:
    sandbox.settings("aulm", {"quota": {"daily": 0}})
    response, outcome = sent(sandbox)

    assert isinstance(outcome, Throttled)
    assert outcome.scope is Scope.KEY
    left = PROVIDER.remaining(account(sandbox), response)
    assert left is not None
    assert left.left == 0
    assert left.reset_in == pytest.approx(outcome.retry_after, abs=2.0)


def test_bad_keys_end_in_a_wait_of_the_whole_address(sandbox: SandboxServer) -> None:
    sandbox.settings("aulm", {"auth": {"lockout": {"failures": 1}}})
    bad = "alm_sk_live_" + "0" * 63
    assert isinstance(sent(sandbox, key=bad)[1], Misconfigured)

    assert sent(sandbox)[1] == Throttled(60.0, "too_many_auth_failures", Scope.ADDRESS)


def test_what_the_door_lets_through_by_mistake_is_refused(sandbox: SandboxServer) -> None:
    assert sent(sandbox, Text("966512345678", "hi"))[1] == Refused("invalid_request", "invalid_request")


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        ({"status": "connected"}, Accepted()),
        ({"status": "awaiting_scan"}, Unavailable(None, "awaiting_scan", probe_first=True)),
    ],
)
def test_a_probe_says_whether_the_number_is_connected(
    sandbox: SandboxServer, session: dict[str, str], expected: Outcome
) -> None:
    sandbox.settings("aulm", {"sessions": {SESSION: session}})
    given = account(sandbox)

    assert parse_probe(given, put(build_probe(given))) == expected


def test_who_writes_stop_is_heard_and_a_test_delivery_says_nothing(sandbox: SandboxServer, hooks: Receiver) -> None:
    sandbox.inject("aulm", {"test": True})
    sandbox.inject("aulm", {"data": {"from": TO, "body": "Stop"}})
    [said] = heard(sandbox, hooks, 2)

    assert (said.kind, said.opted_out, said.data["body"]) == ("inbound_message", TO, "Stop")
