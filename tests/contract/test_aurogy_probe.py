"""Aurogy's harmless question: what its answers mean, and which limit they name."""

import json

import pytest

from providers.answers import answered_at
from providers.aurogy import PROVIDER, parse_probe, reported_limit
from providers.base import (
    Accepted,
    Account,
    Misconfigured,
    Outcome,
    Refused,
    ReportedLimit,
    Response,
    Scope,
    Throttled,
    Unavailable,
    Unknown,
)

ACCOUNT = Account("aurogy-main", PROVIDER.base_url, {"api_key": "auro_test_sk_0123456789abcdef"})


def answer(status: int, body: bytes = b"", **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, 1_776_090_600.0)


def error(code: str) -> bytes:
    return json.dumps({"error": {"code": code, "message": "A sentence of theirs.", "status": 0}}).encode()


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (answer(200, b'{"name": "Acme Corp", "verified": true}'), Accepted()),
        (answer(200, b"<html>A portal.</html>"), Unknown("unreadable_answer")),
        (answer(404, error("not_found")), Unknown("http_404: check options.paths.profile", "not_found")),
        (answer(405), Unknown("http_405: check options.paths.profile")),
        (answer(429, error("rate_limited"), retry_after="12"), Throttled(12.0, "rate_limited")),
        (answer(503, retry_after="30"), Unavailable(30.0)),
        (answer(500, error("internal_error")), Unavailable(None, "internal_error")),
        (answer(400, error("bad_request")), Refused("bad_request", "bad_request")),
    ],
)
def test_an_answer_says_whether_the_account_can_send(response: Response, outcome: Outcome) -> None:
    assert parse_probe(ACCOUNT, response) == outcome


@pytest.mark.parametrize(("status", "scope"), [(401, Scope.KEY), (402, Scope.KEY), (403, Scope.LANE)])
def test_a_key_that_may_not_is_a_matter_for_an_operator(status: int, scope: Scope) -> None:
    outcome = parse_probe(ACCOUNT, answer(status, error("unauthorized")))

    assert isinstance(outcome, Misconfigured)
    assert outcome.scope is scope


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        ("600", ReportedLimit(600, 60.0)),
        ("", None),
        ("many", None),
        ("-1", None),
        ("1.5", None),
        ("٦٠٠", None),
        ("9" * 500, None),
    ],
)
def test_the_limit_of_an_answer_is_by_the_minute(value: str, limit: ReportedLimit | None) -> None:
    assert reported_limit(ACCOUNT, answer(200, x_ratelimit_limit=value)) == limit
    assert reported_limit(ACCOUNT, answer(200)) is None


def test_the_providers_clock_is_its_date_header() -> None:
    assert answered_at(answer(200, date="Mon, 13 Apr 2026 14:30:00 GMT")) == 1_776_090_600.0
    assert answered_at(answer(200, date="yesterday")) is None
    assert answered_at(answer(200)) is None
