"""Each fault as a client meets it, on a raw socket, and what the ledger says of it."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from sandbox import SandboxServer
from tests.contract.sandbox_support import WAIT, Raw, ask, exchange, request_bytes, text, wait_until


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer({"aurogy": {"ratelimit": {"send": "100000/1h", "window": "first-hit"}}}) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
    server.clear("aurogy")
    return server


def meet(sandbox: SandboxServer, patience: float = WAIT, **fault: Any) -> Raw:
    """What comes of one text when the fault is on, once."""
    sandbox.fault("aurogy", count=1, **fault)
    return exchange(sandbox.url, patience=patience, linger=WAIT if fault["kind"] == "hangup" else 0.1)


def entered(sandbox: SandboxServer) -> tuple[int | str, bool, str]:
    [entry] = sandbox.wait_for_requests("aurogy", 1)
    assert bool(entry.message_id) is entry.accepted
    return entry.status, entry.accepted, entry.fault


def header(raw: Raw, name: str) -> str | None:
    for line in raw.head.split("\r\n")[1:]:
        key, _, value = line.partition(": ")
        if key.lower() == name.lower():
            return value
    return None


def test_without_a_fault_the_connection_stays_open_after_a_whole_answer(sandbox: SandboxServer) -> None:
    raw = exchange(sandbox.url)
    assert (raw.status, raw.end) == (200, "open")
    assert len(raw.body) == int(header(raw, "Content-Length") or 0)
    assert entered(sandbox) == (200, True, "")


def test_delay_gives_the_right_answer_late_and_takes_the_message_at_once(sandbox: SandboxServer) -> None:
    sandbox.fault("aurogy", kind="delay", seconds=0.4, count=1)
    raw = exchange(sandbox.url)
    answered = time.time()
    assert raw.status == 200
    assert raw.seconds >= 0.4
    assert answered - sandbox.ledger("aurogy")[0].at >= 0.4  # which is when it arrived, not when it was answered
    assert entered(sandbox) == (200, True, "delay")


def test_a_client_that_leaves_before_a_late_answer_is_entered_as_closed(sandbox: SandboxServer) -> None:
    raw = meet(sandbox, patience=0.1, kind="delay", seconds=60)
    assert (raw.received, raw.end) == (b"", "open")
    wait_until(lambda: entered(sandbox) == ("closed", True, "delay"), "the entry is marked closed")


@pytest.mark.parametrize("accept", [True, False])
@pytest.mark.parametrize(("hard", "end"), [(True, "reset"), (False, "closed")])
def test_close_ends_the_connection_without_a_byte(sandbox: SandboxServer, accept: bool, hard: bool, end: str) -> None:
    raw = meet(sandbox, kind="close", accept=accept, reset=hard)
    assert (raw.received, raw.end) == (b"", end)
    assert entered(sandbox) == ("closed", accept, "close")
    # What was accepted is a message like any other.
    assert sum(sandbox.summary("aurogy")["messages"].values()) == accept


def test_drop_resets_before_the_body_is_read(sandbox: SandboxServer) -> None:
    sandbox.fault("aurogy", kind="drop", count=1)
    head, _, _ = request_bytes().partition(b"\r\n\r\n")
    raw = exchange(sandbox.url, head + b"\r\n\r\n")  # the body never comes
    assert (raw.received, raw.end) == (b"", "reset")
    assert entered(sandbox) == ("closed", False, "drop")
    assert sandbox.ledger("aurogy")[0].recipient == ""


def test_refuse_resets_new_connections_and_leaves_no_entry(sandbox: SandboxServer) -> None:
    parts = urlsplit(sandbox.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=WAIT) as before:
        before.sendall(request_bytes())
        assert before.recv(100).startswith(b"HTTP/1.1 200")
        sandbox.fault("aurogy", kind="refuse", count=2)
        # A connection that already stood goes on.
        before.sendall(request_bytes())
        assert before.recv(65536)
    assert [exchange(sandbox.url).end for _ in range(3)] == ["reset", "reset", "open"]
    assert len(sandbox.ledger("aurogy")) == 3


def test_half_an_answer_has_the_whole_length_and_a_part_of_the_body(sandbox: SandboxServer) -> None:
    raw = meet(sandbox, kind="half")
    assert (raw.status, raw.end) == (200, "closed")
    assert 0 < len(raw.body) < int(header(raw, "Content-Length") or 0)
    assert entered(sandbox) == ("closed", True, "half")


def test_half_an_answer_can_end_after_the_head(sandbox: SandboxServer) -> None:
    raw = meet(sandbox, kind="half", body_bytes=0)
    assert (raw.status, raw.body, raw.end) == (200, b"", "closed")


def test_half_an_answer_can_end_with_a_reset(sandbox: SandboxServer) -> None:
    assert meet(sandbox, kind="half", reset=True).end == "reset"


def test_silence_leaves_the_connection_open(sandbox: SandboxServer) -> None:
    raw = meet(sandbox, patience=0.3, kind="silence", accept=True)
    assert (raw.received, raw.end) == (b"", "open")
    assert entered(sandbox) == ("closed", True, "silence")


def test_hangup_closes_after_a_whole_answer_that_promised_to_stay(sandbox: SandboxServer) -> None:
    raw = meet(sandbox, kind="hangup")
    assert (raw.status, raw.end) == (200, "closed")
    assert json.loads(raw.body)["status"] == "queued"
    assert header(raw, "Connection") is None
    assert entered(sandbox) == (200, True, "hangup")


@pytest.mark.parametrize("accept", [True, False])
def test_broken_json_is_complete_http(sandbox: SandboxServer, accept: bool) -> None:
    raw = meet(sandbox, kind="broken_json", accept=accept)
    assert raw.end == "open"
    assert len(raw.body) == int(header(raw, "Content-Length") or 0)
    with pytest.raises(json.JSONDecodeError):
        json.loads(raw.body)
    assert entered(sandbox) == (200 if accept else 503, accept, "broken_json")


def test_an_html_page_takes_the_place_of_an_answer(sandbox: SandboxServer) -> None:
    raw = meet(sandbox, kind="html", status=200, accept=True)
    assert (raw.status, header(raw, "Content-Type")) == (200, "text/html; charset=utf-8")
    assert raw.body.startswith(b"<!DOCTYPE html>")
    assert entered(sandbox) == (200, True, "html")


def test_the_content_type_is_wrong_on_request(sandbox: SandboxServer) -> None:
    raw = meet(sandbox, kind="content_type", content_type="text/plain")
    assert header(raw, "Content-Type") == "text/plain"
    assert json.loads(raw.body)["status"] == "queued"


def test_an_oversized_answer_comes_whole(sandbox: SandboxServer) -> None:
    raw = meet(sandbox, kind="oversized", size=3_000_000)
    assert len(raw.body) == 3_000_000
    assert json.loads(raw.body)["status"] == "queued"


@pytest.mark.parametrize(
    ("fault", "retry_after"),
    [({}, None), ({"retry_after": 3}, "3"), ({"retry_after": 0}, "0")],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_with_retry_after_in_seconds_or_without(
    sandbox: SandboxServer, status: int, fault: dict[str, Any], retry_after: str | None
) -> None:
    raw = meet(sandbox, kind="status", status=status, **fault)
    assert (raw.status, header(raw, "Retry-After")) == (status, retry_after)
    assert json.loads(raw.body)["error"]["status"] == status
    assert entered(sandbox) == (status, False, "status")


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("skew", [0.0, 3600.0, -3600.0])
def test_a_refusal_with_a_date_is_read_against_its_own_date(sandbox: SandboxServer, status: int, skew: float) -> None:
    before = int(time.time())
    raw = meet(sandbox, kind="status", status=status, retry_after=30, retry_after_form="http-date", clock_skew=skew)
    date, until = (parsedate_to_datetime(header(raw, name) or "").timestamp() for name in ("Date", "Retry-After"))
    assert until - date == pytest.approx(30, abs=1)
    assert before - 1 <= date - skew <= time.time() + 1


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "invalid_request"),
        (401, "unauthorized"),
        (402, "payment_required"),
        (403, "forbidden"),
        (404, "not_found"),
        (500, "internal_error"),
        (502, "bad_gateway"),
        (503, "service_unavailable"),
    ],
)
def test_any_status_in_the_providers_own_words(sandbox: SandboxServer, status: int, code: str) -> None:
    error = json.loads(meet(sandbox, kind="status", status=status).body)["error"]
    assert (error["code"], error["status"]) == (code, status)


def test_any_status_headers_and_body_at_all(sandbox: SandboxServer) -> None:
    raw = meet(sandbox, kind="status", status=299, headers={"X-Odd": "1"}, body="hm", content_type="text/odd")
    assert (raw.status, header(raw, "X-Odd"), header(raw, "Content-Type"), raw.body) == (299, "1", "text/odd", b"hm")


def test_a_500_can_hide_an_accepted_message(sandbox: SandboxServer) -> None:
    assert meet(sandbox, kind="status", status=500, accept=True).status == 500
    assert entered(sandbox) == (500, True, "status")


def test_rate_headers_can_lie(sandbox: SandboxServer) -> None:
    raw = meet(sandbox, kind="headers", headers={"X-RateLimit-Remaining": "99999", "X-RateLimit-Reset": "1699999999"})
    assert header(raw, "X-RateLimit-Remaining") == "99999"
    assert header(raw, "X-RateLimit-Reset") == "1699999999"
    assert header(raw, "X-RateLimit-Limit") == "100000"


def test_a_fault_strikes_its_recipient_alone(sandbox: SandboxServer) -> None:
    sandbox.fault("aurogy", kind="status", status=500, recipient="auro_usr_bad*")
    base = sandbox.base_url("aurogy")
    statuses = [
        ask(base, "POST", "/messages/text", text(to)).status
        for to in ("auro_usr_bad1", "auro_usr_good", "auro_usr_bad2")
    ]
    assert statuses == [500, 200, 500]
    assert [(item["matched"], item["struck"]) for item in sandbox.faults("aurogy")] == [(2, 2)]


def test_a_fault_that_is_not_accepted_takes_nothing_from_the_rate_window(sandbox: SandboxServer) -> None:
    before = ask(sandbox.base_url("aurogy"), "POST", "/messages/text", text()).headers["X-RateLimit-Remaining"]
    meet(sandbox, kind="status", status=503)
    after = ask(sandbox.base_url("aurogy"), "POST", "/messages/text", text()).headers["X-RateLimit-Remaining"]
    assert int(before) - int(after) == 1


def test_faults_can_be_on_from_the_start() -> None:
    faults = [{"kind": "status", "status": 503, "count": 1}]
    with SandboxServer({"aurogy": {"faults": faults}}) as sandbox:
        assert [exchange(sandbox.url).status for _ in range(2)] == [503, 200]


def test_a_request_whose_body_never_comes_whole_is_entered_all_the_same(sandbox: SandboxServer) -> None:
    parts = urlsplit(sandbox.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=WAIT) as client:
        client.sendall(request_bytes()[:-10])
    assert entered(sandbox) == ("closed", False, "")


def test_a_client_that_asks_first_is_told_to_go_on(sandbox: SandboxServer) -> None:
    parts = urlsplit(sandbox.url)
    head, _, body = request_bytes().partition(b"\r\n\r\n")
    with socket.create_connection((parts.hostname, parts.port), timeout=WAIT) as client:
        client.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("noise", [b"noise\r\n\r\n", b"\x16\x03\x01\x00\xa5\x01", b"GET / HTTP/9.9\r\n\r\n"])
def test_noise_is_no_request(sandbox: SandboxServer, noise: bytes) -> None:
    assert exchange(sandbox.url, noise).received.startswith(b"HTTP/1.0 400 ")
    assert sandbox.ledger("aurogy") == []


def test_every_request_of_many_at_once_is_entered_once(sandbox: SandboxServer) -> None:
    base = sandbox.base_url("aurogy")

    def send(thread: int) -> None:
        for number in range(25):
            ask(base, "POST", "/messages/text", text(f"auro_usr_{thread}_{number:03}"))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    started = (time.time(), time.monotonic())
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = (time.time(), time.monotonic())

    entries = sandbox.ledger("aurogy")
    assert len({entry.recipient for entry in entries}) == len(entries) == 200
    assert [entry.seq for entry in entries] == sorted({entry.seq for entry in entries})
    assert len({entry.message_id for entry in entries}) == 200
    assert all(started[0] <= entry.at <= ended[0] for entry in entries)
    assert all(started[1] <= entry.monotonic <= ended[1] for entry in entries)
    assert sandbox.summary("aurogy")["windows"][0]["highest"] == 200
