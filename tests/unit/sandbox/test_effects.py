"""What a fault makes of an answer, before it meets the wire."""

import json
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from sandbox.call import Answer
from sandbox.effects import Delivery, Manner, apply_fault
from sandbox.faults import RequestFault, parse_fault

NOW = 1_795_197_930.4
BODY = b'{"id":"msg_k3v9c1t7w2b8"}'


def refusal(status: int, code: str | None) -> Answer:
    return Answer(status, json.dumps({"status": status, "code": code}).encode())


def strike(**fault: Any) -> Delivery:
    parsed = parse_fault(fault)
    assert isinstance(parsed, RequestFault)
    return apply_fault(parsed, Answer(200, BODY, {"X-RateLimit-Remaining": "9"}, message_id="msg_1"), refusal, NOW)


def test_a_delay_holds_the_right_answer_back() -> None:
    delivery = strike(kind="delay", seconds=1.5)
    assert (delivery.hold, delivery.manner, delivery.answer.body) == (1.5, Manner.WHOLE, BODY)


def test_any_fault_can_come_late() -> None:
    assert strike(kind="close", seconds=2).hold == 2


def test_a_status_is_answered_in_the_providers_own_shape_unless_told_otherwise() -> None:
    assert strike(kind="status", status=503).answer.body == b'{"status": 503, "code": null}'
    assert strike(kind="status", status=403, code="x").answer.body == b'{"status": 403, "code": "x"}'
    other = strike(kind="status", status=418, headers={"X-A": "1"}, body={"a": 1}, content_type="text/x").answer
    assert (other.status, other.headers, other.body, other.content_type) == (418, {"X-A": "1"}, b'{"a":1}', "text/x")
    assert strike(kind="status", status=200, body="not json").answer.body == b"not json"


def test_retry_after_is_seconds_or_a_date_or_absent() -> None:
    assert "Retry-After" not in strike(kind="status", status=429).answer.headers
    assert strike(kind="status", status=429, retry_after=7).answer.headers == {"Retry-After": "7"}
    dated = strike(kind="status", status=503, retry_after=7, retry_after_form="http-date").answer
    # The date is never earlier than promised: 7 s after .4 of a second is rounded up to the next whole one.
    assert parsedate_to_datetime(dated.headers["Retry-After"]).timestamp() == 1_795_197_938.0


def test_a_skewed_server_dates_its_answer_and_its_promise_by_the_same_wrong_clock() -> None:
    headers = strike(
        kind="status", status=503, retry_after=60, retry_after_form="http-date", clock_skew=3600
    ).answer.headers
    date, promise = (parsedate_to_datetime(headers[name]).timestamp() for name in ("Date", "Retry-After"))
    assert date == int(NOW + 3600)
    assert promise - date == pytest.approx(60, abs=1)


def test_headers_can_lie_or_go_missing() -> None:
    lying = strike(kind="headers", headers={"x-ratelimit-remaining": "100000", "X-RateLimit-Reset": "1"})
    assert lying.answer.headers == {"x-ratelimit-remaining": "100000", "X-RateLimit-Reset": "1"}
    assert strike(kind="headers", headers={"X-RateLimit-Remaining": None}).answer.headers == {}


def test_broken_json_does_not_parse() -> None:
    answer = strike(kind="broken_json").answer
    assert BODY.startswith(answer.body)
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.body)


def test_a_gateways_page_is_html_under_its_own_status() -> None:
    answer = strike(kind="html").answer
    assert (answer.status, answer.content_type, answer.headers) == (502, "text/html; charset=utf-8", {})
    assert answer.body.startswith(b"<!DOCTYPE html>")
    assert strike(kind="html", status=200).answer.status == 200


def test_the_content_type_can_be_wrong_while_the_body_is_right() -> None:
    answer = strike(kind="content_type", content_type="text/plain").answer
    assert (answer.content_type, answer.body) == ("text/plain", BODY)


def test_an_oversized_answer_is_still_the_same_json() -> None:
    body = strike(kind="oversized", size=100_000).answer.body
    assert len(body) == 100_000
    assert json.loads(body) == json.loads(BODY)


@pytest.mark.parametrize(
    ("fault", "manner", "cut"),
    [
        ({"kind": "half"}, Manner.HALF, len(BODY) // 2),
        ({"kind": "half", "body_bytes": 0, "reset": True}, Manner.HALF_RESET, 0),
        ({"kind": "half", "body_bytes": 10_000}, Manner.HALF, len(BODY) - 1),
        ({"kind": "close"}, Manner.RESET, 0),
        ({"kind": "close", "reset": False}, Manner.CLOSED, 0),
        ({"kind": "drop"}, Manner.RESET, 0),
        ({"kind": "silence"}, Manner.SILENT, 0),
        ({"kind": "hangup"}, Manner.HANGUP, 0),
    ],
)
def test_connections_end_as_the_fault_says(fault: dict[str, Any], manner: Manner, cut: int) -> None:
    delivery = strike(**fault)
    assert (delivery.manner, delivery.cut) == (manner, cut)
    assert delivery.whole is (manner is Manner.HANGUP)
    assert delivery.answer.message_id == "msg_1"  # what was accepted stays known
