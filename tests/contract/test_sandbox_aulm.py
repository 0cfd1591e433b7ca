"""The sandbox as aulm: keys, sessions, quota and every error, row by row of its API reference."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox import SandboxServer
from tests.contract.sandbox_aulm_support import (
    LIVE,
    OTHER,
    QUOTA,
    SESSION,
    STILL,
    TEST,
    TO,
    failed,
    fresh,
    image,
    midnight,
    send,
    state,
    still,
    text,
)
from tests.contract.sandbox_support import ask


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with still() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
    return fresh(server)


# Answers


def test_a_text_is_sent_with_201_and_the_documented_members(sandbox: SandboxServer) -> None:
    answer = send(sandbox)

    assert answer.status == 201
    assert list(answer.json) == ["data", "request_id"]
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    data = answer.json["data"]
    assert list(data) == ["message_id", "session_id", "to", "status", "simulated"]
    assert (data["session_id"], data["to"], data["status"], data["simulated"]) == (SESSION, TO, "sent", False)
    assert re.fullmatch(r"3EB0[0-9A-F]{16}", data["message_id"])
    assert [answer.headers[name] for name in QUOTA] == ["1000", "999", midnight()]
    [entry] = sandbox.ledger("aulm")
    assert (entry.accepted, entry.recipient, entry.message_id) == (True, TO, data["message_id"])
    assert (entry.group, entry.key.partition(":")[0]) == (f"send:{SESSION}", "live")


def test_an_image_is_sent_in_the_same_shape(sandbox: SandboxServer) -> None:
    answer = send(sandbox, image(caption="Here"), action="send-image")

    assert (answer.status, answer.json["data"]["status"]) == (201, "sent")


def test_a_session_says_its_cached_state(sandbox: SandboxServer) -> None:
    answer = state(sandbox)

    assert (answer.status, answer.json["data"]) == (200, {"session_id": SESSION, "status": "connected"})
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert not any(name in answer.headers for name in QUOTA)
    sandbox.settings("aulm", {"sessions": {SESSION: {"status": "disconnected", "cached": "connected"}}})
    assert state(sandbox).json["data"]["status"] == "connected"
    assert failed(send(sandbox)) == (409, "session_not_ready")


def test_a_path_that_is_not_there_is_404(sandbox: SandboxServer) -> None:
    for method, path in (("GET", "/v1/messages/send-text"), ("POST", "/v1/sessions"), ("GET", "/v1/sessions//status")):
        assert failed(ask(sandbox.base_url("aulm"), method, path, key=LIVE)) == (404, "not_found")


# Keys


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("", "missing_authorization"),
        ("  ", "missing_authorization"),
        (f"Basic {LIVE}", "invalid_authorization"),
        (LIVE, "invalid_authorization"),
        ("Bearer", "invalid_authorization"),
        ("Bearer alm_sk_live_" + "0a" * 31, "invalid_api_key"),
        ("Bearer alm_sk_live_" + "0A" * 32, "invalid_api_key"),
        ("Bearer alm_sk_prod_" + "0a" * 32, "invalid_api_key"),
        (f"Bearer  {LIVE}", "invalid_api_key"),
    ],
)
def test_any_other_authorization_is_refused_by_name(sandbox: SandboxServer, authorization: str, code: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = ask(sandbox.base_url("aulm"), "POST", "/v1/messages/send-text", text(), key="", headers=headers)

    assert failed(answer) == (401, code)


def test_a_key_can_be_unknown_revoked_expired_or_its_account_deactivated(sandbox: SandboxServer) -> None:
    keys = [f"alm_sk_live_{digit * 64}" for digit in "1234"]
    sandbox.settings(
        "aulm",
        {
            "keys": {keys[0]: {"state": "revoked"}, keys[1]: {"state": "expired"}, keys[2]: {"account": "gone"}},
            "accounts": {"gone": {"active": False}},
        },
    )
    codes = [failed(send(sandbox, key=key)) for key in keys]

    assert codes == [
        (401, "api_key_revoked"),
        (401, "api_key_expired"),
        (401, "account_deactivated"),
        (401, "invalid_api_key"),
    ]


@pytest.mark.usefixtures("still")
def test_too_many_bad_keys_lock_the_address_out_good_keys_included(sandbox: SandboxServer) -> None:
    sandbox.settings("aulm", {"auth": {"lockout": {"failures": 3}}})
    for _ in range(3):
        assert failed(send(sandbox, key="bad")) == (401, "invalid_api_key")

    for key in (LIVE, "bad"):
        locked = send(sandbox, key=key)
        assert failed(locked) == (429, "too_many_auth_failures")
        assert locked.headers["retry-after"] == "60"
    # The header is judged before.
    assert failed(send(sandbox, key="")) == (401, "missing_authorization")
    sandbox.advance(60)
    assert send(sandbox).status == 201


@pytest.mark.usefixtures("still")
def test_bad_keys_far_apart_lock_nobody_out(sandbox: SandboxServer) -> None:
    sandbox.settings("aulm", {"auth": {"lockout": {"failures": 2, "window": 100}}})
    for _ in range(3):
        send(sandbox, key="bad")
        sandbox.advance(101)

    assert send(sandbox).status == 201


# Sessions


def test_a_session_can_be_unknown_foreign_disabled_not_allowed_or_not_ready(sandbox: SandboxServer) -> None:
    only = "alm_sk_live_" + "1" * 64
    sandbox.settings(
        "aulm",
        {
            "keys": {LIVE: {}, only: {"sessions": [OTHER]}},
            "sessions": {
                "*": None,
                "0*": {"account": "other"},
                "2*": {"disabled": True},
                "3*": {"status": "awaiting_scan"},
                OTHER: {},
            },
        },
    )
    sessions = {
        SESSION: (404, "session_not_found"),
        "0" + SESSION[1:]: (404, "session_not_found"),
        "2" + SESSION[1:]: (403, "session_disabled"),
        "3" + SESSION[1:]: (409, "session_not_ready"),
    }
    for session, expected in sessions.items():
        assert failed(send(sandbox, text(session_id=session))) == expected
        if expected[0] != 409:  # a session that is not ready says so when asked
            assert failed(state(sandbox, session)) == expected
    assert state(sandbox, "3" + SESSION[1:]).json["data"]["status"] == "awaiting_scan"
    assert send(sandbox, text(session_id=OTHER), key=only).status == 201
    assert send(sandbox, text(session_id=OTHER)).status == 201
    sandbox.settings("aulm", {"sessions": {SESSION: {}}})
    assert failed(send(sandbox, key=only)) == (403, "session_not_allowed")
    assert failed(state(sandbox, key=only)) == (403, "session_not_allowed")


def test_what_is_wrong_is_told_in_the_documented_order(sandbox: SandboxServer) -> None:
    """Each request has every fault that follows, and is refused for the first."""
    key = "alm_sk_live_" + "1" * 64
    sandbox.settings(
        "aulm",
        {
            "keys": {LIVE: {"sessions": [OTHER]}, key: {}},
            "sessions": {"*": None, "2*": {"disabled": True, "status": "lost"}, "3*": {"status": "lost"}},
            "quota": {"daily": 0},
            "upstream": {"state": "error"},
        },
    )
    two, three = "2" + SESSION[1:], "3" + SESSION[1:]
    assert failed(send(sandbox, b"{", key="alm_sk_live_x"))[1] == "invalid_api_key"
    assert failed(send(sandbox, b"{"))[1] == "invalid_json"
    assert failed(send(sandbox, text(to="7")))[1] == "invalid_request"
    assert failed(send(sandbox))[1] == "session_not_found"
    assert failed(send(sandbox, text(session_id=two)))[1] == "session_disabled"
    assert failed(send(sandbox, text(session_id=three)))[1] == "session_not_allowed"
    assert failed(send(sandbox, text(session_id=three), key=key))[1] == "session_not_ready"
    sandbox.settings("aulm", {"sessions": {"3*": {"status": "connected"}}})
    assert failed(send(sandbox, text(session_id=three), key=key), quota_headers=True)[1] == "daily_quota_exceeded"
    sandbox.settings("aulm", {"quota": None})
    assert failed(send(sandbox, text(session_id=three), key=key))[1] == "messaging_service_error"


# Quota


@pytest.mark.usefixtures("still")
def test_the_days_quota_is_counted_and_back_at_midnight(sandbox: SandboxServer) -> None:
    sandbox.settings("aulm", {"quota": {"daily": 2}})
    left = [send(sandbox).headers["x-ratelimit-remaining"] for _ in range(2)]
    spent = send(sandbox)

    assert left == ["1", "0"]
    assert failed(spent, quota_headers=True) == (429, "daily_quota_exceeded")
    reset = datetime.fromisoformat(spent.headers["x-ratelimit-reset"])
    assert (reset.hour, reset.minute, reset.second) == (0, 0, 0)
    assert spent.headers["x-ratelimit-remaining"] == "0"
    assert send(sandbox, key="alm_sk_live_" + "f" * 64).status == 429  # another key of the same account
    sandbox.advance(int(spent.headers["retry-after"]))
    assert send(sandbox).headers["x-ratelimit-remaining"] == "1"


@pytest.mark.usefixtures("still")
def test_a_trial_ends_when_it_is_used_up_and_after_its_week(sandbox: SandboxServer) -> None:
    sandbox.settings("aulm", {"accounts": {"main": {"trial": True}}, "quota": {"trial": 2}})
    first = send(sandbox)
    sandbox.advance(86_400)
    send(sandbox)
    spent = send(sandbox)

    assert first.headers["x-ratelimit-limit"] == "2"
    assert failed(spent, quota_headers=True) == (429, "trial_quota_exceeded")
    assert spent.headers["x-ratelimit-reset"] == first.headers["x-ratelimit-reset"]
    assert int(spent.headers["retry-after"]) == 6 * 86_400
    sandbox.settings("aulm", {"quota": {"trial": 50}})
    assert send(sandbox).status == 201
    sandbox.advance(6 * 86_400)
    assert failed(send(sandbox), quota_headers=True) == (429, "trial_quota_exceeded")
    # A plan has a quota of its own.
    sandbox.settings("aulm", {"accounts": {"main": {"trial": False}}})
    assert send(sandbox).headers["x-ratelimit-remaining"] == "999"


UPSTREAM = {
    "timeout": (504, "messaging_service_timeout"),
    "unreachable": (502, "messaging_service_unreachable"),
    "error": (502, "messaging_service_error"),
    "overloaded": (503, "service_unavailable"),
}


@pytest.mark.parametrize("trouble", UPSTREAM)
def test_a_slot_is_given_back_when_the_messaging_service_fails(sandbox: SandboxServer, trouble: str) -> None:
    send(sandbox)
    sandbox.settings("aulm", {"upstream": {"recipients": {"+49*": trouble}}})
    refused = send(sandbox, text(to="+4915112345678"))

    assert failed(refused) == UPSTREAM[trouble]
    assert refused.headers.get("retry-after") == ("5" if trouble == "overloaded" else None)
    assert send(sandbox).headers["x-ratelimit-remaining"] == "998"
    assert [entry.accepted for entry in sandbox.ledger("aulm")] == [True, False, True]


def test_headers_on_errors_are_a_setting(sandbox: SandboxServer) -> None:
    sandbox.settings("aulm", {"headers": {"on_error": "quota"}, "upstream": {"state": "error"}})
    try:
        assert failed(send(sandbox), quota_headers=True) == (502, "messaging_service_error")
        sandbox.settings("aulm", {"sessions": {"*": {"status": "disconnected"}}})
        assert failed(send(sandbox), quota_headers=True) == (409, "session_not_ready")
        assert failed(send(sandbox, text(to="7"))) == (400, "invalid_request")
    finally:
        sandbox.settings("aulm", {"headers": None})


def test_what_timed_out_may_have_gone_out(sandbox: SandboxServer) -> None:
    sandbox.settings("aulm", {"upstream": {"state": "timeout", "timeout_sends": True}})
    refused = send(sandbox)

    assert failed(refused) == (504, "messaging_service_timeout")
    [entry] = sandbox.ledger("aulm")
    assert (entry.accepted, entry.status) == (True, 504)
    assert sandbox.summary("aulm")["messages"] == {"sent": 1}
    sandbox.settings("aulm", {"upstream": None})
    assert send(sandbox).headers["x-ratelimit-remaining"] == "999"


# Test keys


def test_a_test_key_simulates_whatever_the_state_of_quota_session_and_service(sandbox: SandboxServer) -> None:
    sandbox.settings(
        "aulm",
        {"quota": {"daily": 0}, "sessions": {"*": {"status": "disconnected"}}, "upstream": {"state": "error"}},
    )
    answer = send(sandbox, key=TEST)

    assert answer.status == 201
    assert answer.json["data"]["simulated"] is True
    assert re.fullmatch(r"sim_[0-9a-f]+", answer.json["data"]["message_id"])
    assert failed(send(sandbox)) == (409, "session_not_ready")
    sandbox.settings("aulm", {"quota": None, "sessions": None, "upstream": None})
    assert send(sandbox).headers["x-ratelimit-remaining"] == "999"  # the simulated one took no slot


def test_a_test_key_needs_a_session_that_it_may_use(sandbox: SandboxServer) -> None:
    sandbox.settings("aulm", {"keys": {TEST: {"sessions": [OTHER]}}, "sessions": {"*": None, SESSION: {}}})

    assert failed(send(sandbox, key=TEST)) == (403, "session_not_allowed")
    assert failed(send(sandbox, text(session_id=OTHER), key=TEST)) == (404, "session_not_found")


# Faults and restarts


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "invalid_request"), (401, "invalid_api_key"), (409, "session_not_ready"), (503, "service_unavailable")],
)
def test_a_fault_of_a_status_says_it_in_aulms_words(sandbox: SandboxServer, status: int, code: str) -> None:
    sandbox.fault("aulm", kind="status", status=status, count=1, retry_after=7)
    answer = send(sandbox)

    assert (answer.status, answer.json["error"]["code"], answer.headers["Retry-After"]) == (status, code, "7")
    sandbox.fault("aulm", kind="status", status=429, code="too_many_auth_failures", count=1)
    assert send(sandbox).json["error"]["code"] == "too_many_auth_failures"


def test_a_restarted_sandbox_knows_its_messages_and_what_they_used(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    upstream = {"recipients": {"+49*": "timeout"}, "timeout_sends": True}
    settings: dict[str, Any] = {"aulm": {**STILL["aulm"], "quota": {"daily": 4}, "upstream": upstream}}
    with SandboxServer(settings, ledger_file=file) as before:
        send(before)
        send(before, key=TEST)
        send(before, text(to="+4915112345678"))
    with SandboxServer(settings, ledger_file=file) as after:
        assert after.summary("aulm")["messages"] == {"sent": 3}
        assert send(after).headers["x-ratelimit-remaining"] == "2"


def test_settings_are_read_strictly(sandbox: SandboxServer) -> None:
    shown = sandbox.settings("aulm")

    assert shown["webhook"]["retry_delays"] == [30, 120, 600, 1800, 3600]
    assert (shown["webhook"]["disable_after"], shown["webhook"]["timeout"]) == (20, 5)
    assert shown["quota"] == {"daily": 1000, "trial": 50}
    assert shown["auth"]["lockout"] == {"failures": 20, "window": 300, "seconds": 60}
    json.dumps(shown)
