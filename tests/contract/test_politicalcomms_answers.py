"""Political Comms, what its answers mean: every row of its error table, in both generations' bodies."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.base import (
    Accepted,
    Account,
    Done,
    Job,
    Misconfigured,
    Next,
    Outcome,
    Refused,
    Response,
    Scope,
    Throttled,
    Unavailable,
    Unknown,
)
from providers.politicalcomms import PROVIDER, parse_response
from providers.politicalcomms.words import REMEDIES

ACCOUNT = Account("pc-main", PROVIDER.base_url, {"api_key": "pc_live_0123456789abcdef", "organization_id": "org_1"})
NOW = 1_768_412_400.0
TO = "+15555550100"


def answer(status: int, body: object = b"", headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, headers or {}, body if isinstance(body, bytes) else json.dumps(body).encode(), NOW)


def error(status: int, code: str, generation: int, **more: Any) -> Response:
    body = {"error": f"No luck with {TO}.", "code": code, **more}
    body |= {"success": False, "statusCode": status} if generation == 1 else {"correlationId": "cor_1"}
    return answer(status, body)


def advised(code: str) -> Refused:
    return Refused(f"{code}: {REMEDIES[code]}", code)


BALANCE = "add money at Political Comms, then open the account"
RIGHTS = "check what api_key may do at Political Comms"
# status, code, what a reply makes of it, what a question makes of it, what a change makes of it; None: the same.
TABLE: list[tuple[int, str, Outcome, Outcome | None, Outcome | None]] = [
    *(
        (400, code, Refused(code, code), advised(code), None)
        for code in ("VALIDATION_ERROR", "INVALID_DATE_FORMAT", "RANGE_TOO_LARGE", "RANGE_TOO_OLD",
                     "BRAND_ORG_MISMATCH", "INVALID_LINK_PLACEHOLDER")
    ),
    (401, "INVALID_API_KEY", Misconfigured("INVALID_API_KEY: check api_key", "INVALID_API_KEY", Scope.KEY), None, None),
    (402, "INSUFFICIENT_BALANCE",
     Misconfigured(f"INSUFFICIENT_BALANCE: {BALANCE}", "INSUFFICIENT_BALANCE", Scope.KEY), None, None),
    *(
        (403, code, Misconfigured(f"{code}: {RIGHTS}", code, Scope.LANE),
         Misconfigured(f"{code}: {RIGHTS}", code, Scope.MESSAGE), None)
        for code in ("ORG_ACCESS_DENIED", "PERMISSION_DENIED", "ONBOARDING_INCOMPLETE", "ENTITLEMENT_REQUIRED")
    ),
    (404, "CONVERSATION_NOT_FOUND", Refused("CONVERSATION_NOT_FOUND", "CONVERSATION_NOT_FOUND"), None, None),
    (409, "SENDING_PAUSED",
     Misconfigured("SENDING_PAUSED: sending is paused at Political Comms", "SENDING_PAUSED", Scope.LANE), None, None),
    *(
        (409, code, Refused(code, code), None, None)
        for code in ("CONVERSATION_NOT_SENDABLE", "PROJECT_DELETED", "PHONE_NUMBER_UNAVAILABLE",
                     "ANALYSIS_NOT_COMPLETE", "IDEMPOTENCY_KEY_REUSED")
    ),
    *(
        (409, code, Refused(code, code), advised(code), None)
        for code in ("CONTACT_LIST_IN_USE", "MEDIA_IN_USE", "CONFLICT")
    ),
    (409, "CONTACT_OPTED_OUT", Refused("CONTACT_OPTED_OUT", "CONTACT_OPTED_OUT", opted_out=True), None, None),
    (409, "IDEMPOTENCY_IN_PROGRESS", Unknown("IDEMPOTENCY_IN_PROGRESS", "IDEMPOTENCY_IN_PROGRESS"), None, None),
    (429, "RATE_LIMIT_EXCEEDED", Throttled(None, "RATE_LIMIT_EXCEEDED"), None, None),
    *(
        (status, "INTERNAL_ERROR", Unknown("INTERNAL_ERROR", "INTERNAL_ERROR"), Unavailable(None, "INTERNAL_ERROR"),
         Unknown("INTERNAL_ERROR", "INTERNAL_ERROR"))
        for status in (500, 502, 504)
    ),
    (503, "SEND_ENQUEUE_FAILED", Unavailable(None, "SEND_ENQUEUE_FAILED"), None, None),
]  # fmt: skip


def asked(response: Response) -> Any:
    return PROVIDER.operations["projects"].read(ACCOUNT, Job("job-1", {}), response)


def changed(response: Response) -> Any:
    return PROVIDER.operations["copy_project"].read(ACCOUNT, Job("job-1", {"project_id": "p"}), response)


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize(("status", "code", "sent", "question", "change"), TABLE)
def test_an_error_says_what_may_happen_next(
    status: int, code: str, sent: Outcome, question: Outcome | None, change: Outcome | None, generation: int
) -> None:
    response = error(status, code, generation)

    assert parse_response(ACCOUNT, response) == sent
    assert asked(response) == (question or sent)
    assert changed(response) == (change or question or sent)
    assert TO not in repr(parse_response(ACCOUNT, response))


@pytest.mark.parametrize(
    ("response", "sent"),
    [
        # The key check of generation 2 writes no code.
        (answer(401, {"error": "No", "message": "no"}), Misconfigured("http_401: check api_key", "", Scope.KEY)),
        (answer(403, {"error": "Forbidden", "message": "no"}), Misconfigured(f"http_403: {RIGHTS}", "", Scope.LANE)),
        (answer(301), Misconfigured("http_301: a redirect, so check base_url", "", Scope.LANE)),
        (answer(409), Refused("http_409")),
        (answer(422), Refused("http_422")),
        (answer(429), Throttled()),
        (answer(503, b"<html>Maintenance</html>"), Unavailable()),
    ],
)  # fmt: skip
def test_an_error_without_a_code(response: Response, sent: Outcome) -> None:
    assert parse_response(ACCOUNT, response) == sent
    assert changed(response) == sent


def test_what_is_not_there_is_not_within_the_keys_reach() -> None:
    assert parse_response(ACCOUNT, answer(404, b"<html>")) == Refused("http_404")
    assert asked(answer(404, b"<html>")) == Refused("http_404: there is nothing of this id that api_key reaches")


def test_a_request_is_known_by_its_header_or_by_its_errors_body() -> None:
    failed = {"error": "no", "code": "CONFLICT", "correlationId": "cor_1"}
    assert PROVIDER.request_id(answer(409, failed, {"x-request-id": "req_1"})) == "req_1"
    assert PROVIDER.request_id(answer(409, failed)) == "cor_1"
    assert PROVIDER.request_id(answer(409, {"correlationId": ["no"]})) == ""
    assert PROVIDER.request_id(answer(502, b"<html>")) == ""


FIELDS = [{"field": "message_text", "message": f"no {TO}"}, {"field": f"{TO}"}, {"path": ["test_contacts", 0]}, "x"]
STEPS = {"missingSteps": ["brand_registration", "no luck", 5]}


@pytest.mark.parametrize(
    ("status", "code", "details", "reason"),
    [
        (400, "VALIDATION_ERROR", FIELDS, "VALIDATION_ERROR (message_text, test_contacts): correct what was asked for"),
        (400, "VALIDATION_ERROR", [{"field": "unheard"}], "VALIDATION_ERROR: correct what was asked for"),
        (400, "VALIDATION_ERROR", f"no {TO}", "VALIDATION_ERROR: correct what was asked for"),
        (403, "ONBOARDING_INCOMPLETE", STEPS, f"ONBOARDING_INCOMPLETE (brand_registration): {RIGHTS}"),
        (409, "SENDING_PAUSED", {"scope": "platform"},
         "SENDING_PAUSED (platform): sending is paused at Political Comms"),
        (409, "CONTACT_LIST_IN_USE", {"projects": ["proj_new123", TO, "Hello there"]},
         "CONTACT_LIST_IN_USE (proj_new123): a project uses it"),
        (409, "SENDING_PAUSED", {"scope": TO}, "SENDING_PAUSED: sending is paused at Political Comms"),
    ],
)  # fmt: skip
def test_of_the_details_only_names_that_are_known_are_told(
    status: int, code: str, details: object, reason: str
) -> None:
    for generation in (1, 2):
        assert changed(error(status, code, generation, details=details)).reason == reason


def test_a_forbidden_operation_without_a_code_is_the_keys_own() -> None:
    assert asked(answer(403, {"error": "Forbidden", "message": "no"})).scope is Scope.LANE


RESET = int(NOW) + 1200


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30", "x-ratelimit-reset": str(RESET)}, 30.0),
        ({"retry-after": "0", "x-ratelimit-reset": str(RESET)}, 0.0),
        ({"x-ratelimit-reset": str(RESET)}, 1200.0),
        ({"x-ratelimit-reset": str(RESET), "retry-after": "soon"}, 1200.0),
        ({"x-ratelimit-reset": str(RESET), "date": "Wed, 14 Jan 2026 17:50:00 GMT"}, 600.0),
        ({"x-ratelimit-reset": str(int(NOW) - 5)}, 1.0),
        ({"x-ratelimit-reset": str(int(NOW))}, 1.0),
        ({"x-ratelimit-reset": str(RESET * 1000)}, 7.0),  # not seconds
        ({"x-ratelimit-reset": "soon"}, 7.0),
        ({}, 7.0),
    ],
)
def test_retry_after_is_trusted_most_then_the_reset_then_the_body(headers: dict[str, str], seconds: float) -> None:
    body = {"error": "Too Many Requests", "message": "slow down", "retryAfter": 7}
    for read in (lambda response: parse_response(ACCOUNT, response), asked, changed):
        assert read(answer(429, body, headers)) == Throttled(seconds)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [(0, 1.0), (2.5, 2.5), (86_400, 86_400.0), (86_401, None), (-1, None), ("7", None), (True, None), (None, None)],
)
def test_a_body_that_names_no_time_to_wait_leaves_it_to_the_backoff(said: object, seconds: float | None) -> None:
    assert parse_response(ACCOUNT, answer(429, {"error": "Too Many Requests", "retryAfter": said})) == Throttled(
        seconds
    )


@pytest.mark.parametrize(
    ("body", "id_"),
    [
        ({"success": True, "data": {"message_id": "msg_9f0e", "conversation_id": "conv_1", "to": TO}}, "msg_9f0e"),
        ({"success": True, "data": {"id": "msg_9f0e"}}, "msg_9f0e"),
        ({"success": True, "data": {"message_id": 5}}, None),
        ({"message_id": "msg_9f0e"}, "msg_9f0e"),
    ],
)
def test_a_reply_that_was_taken(body: object, id_: str | None) -> None:
    assert parse_response(ACCOUNT, answer(202, body)) == Accepted(id_)


@pytest.mark.parametrize("body", [b"", b"<html>Welcome</html>", b"[]", {"success": False, "error": "no"}])
def test_only_the_apis_own_json_is_an_acceptance(body: object) -> None:
    assert parse_response(ACCOUNT, answer(200, body)) == Unknown("unreadable_answer")
    assert changed(answer(200, body)) == Unknown("unreadable_answer")
    assert isinstance(asked(answer(200, body)), Unavailable)


def test_an_analysis_under_way_is_waited_for_under_another_key() -> None:
    operation = PROVIDER.operations["schedule_project"]
    job = Job("job-1", {"project_id": "p", "scheduled_at": "2026-03-21T09:00:00Z", "scheduled_timezone": "x"})
    found = operation.read(ACCOUNT, job, error(409, "LIST_ANALYSIS_IN_PROGRESS", 2))

    assert found == Next("#2", {}, 5.0)
    again = Job(job.id, job.arguments, "#2")
    keys = {operation.build(ACCOUNT, one).headers["Idempotency-Key"] for one in (job, again)}
    assert len(keys) == 2
    assert operation.read(ACCOUNT, again, error(409, "LIST_ANALYSIS_IN_PROGRESS", 2)) == Next("#3", {}, 10.0)
    last = Job(job.id, job.arguments, "#40")
    assert isinstance(operation.read(ACCOUNT, last, error(409, "LIST_ANALYSIS_IN_PROGRESS", 2)), Refused)


def test_a_late_estimate_is_asked_for_again_and_leaves_the_lane_alone() -> None:
    operation = PROVIDER.operations["project_throughput"]
    late = error(503, "CARRIER_ESTIMATE_TIMEOUT", 2)

    found = operation.read(ACCOUNT, Job("j", {"project_id": "p"}), late)
    assert found == Next("", {"polls": 1}, 10.0)
    assert isinstance(operation.read(ACCOUNT, Job("j", {"project_id": "p"}, memory={"polls": 40}), late), Refused)


MEMBERS = ["success", "data", "id", "import", "analysis", "status", "totals", "daily", "metrics", "by_initiator",
           "code", "pagination", "name", "test", "breakdown", "organizations"]  # fmt: skip
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize("name", sorted(PROVIDER.operations))
@settings(max_examples=25)
@given(
    body=st.binary(max_size=60) | anything.map(lambda value: json.dumps(value).encode()),
    status=st.sampled_from([200, 202, 400, 409, 429, 500, 503]),
)
def test_no_answer_makes_an_operation_raise(name: str, body: bytes, status: int) -> None:
    steps = ["", "list", "analyze", "analysis", "find", "import", "media", "create", "schedule", "project", "stats"]
    arguments = {
        **dict.fromkeys(PROVIDER.operations[name].arguments, "x"),
        "max_cost_cents": 5, "test_contacts": [], "scheduled_at": "2026-03-21T09:00:00Z", "source_url": "https://a.b/c",
    }  # fmt: skip
    memory = {"list_id": "l", "media_id": "m", "project_id": "p"}
    for step in steps:
        try:
            found = PROVIDER.operations[name].read(
                ACCOUNT, Job("j", arguments, step, memory), Response(status, {}, body, NOW)
            )
        except KeyError as missing:
            assert missing.args[0] == step  # noqa: PT017  # this operation has no such step
            continue
        json.dumps(found.result if isinstance(found, Done) else getattr(found, "memory", None))
