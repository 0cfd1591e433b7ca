"""Whatever a provider answers or posts: nothing raises, and what we keep of it is never a recipient or a body."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from providers.base import (
    Account,
    Done,
    Event,
    Inbound,
    Job,
    Next,
    Outcome,
    Remaining,
    Report,
    ReportedLimit,
    Response,
    Submission,
)
from providers.registry import PROVIDERS
from tests.contract.conformance.cases import EXHIBITS, account_of
from tests.contract.exhibits.base import NOW

OUTCOMES = get_args(Outcome)
TO, WORDS = "+447700900123", "Your one-time code is 492817"  # planted: neither may be kept
PLANTED = (TO, TO[1:], WORDS, "492817", "ana.planted@example.org")

# Names that some provider gives a meaning, so that what is made up is often nearly right.
MEMBERS = (
    "id", "status", "error", "code", "message", "data", "sid", "MessageSid", "MessageStatus", "SmsStatus", "To", "From",
    "result", "statusCode", "statuscode", "info", "emailIdList", "smsIds", "items", "voList", "subStatus", "success",
    "message_id", "simulated", "event", "event_type", "timestamp", "delivery_id", "to", "from", "body", "type", "test",
    "emailId", "smsId", "recipient", "phone", "eventType", "substat", "token", "signature", "userHeaders", "customArgs",
    "conversation_id", "error_code", "metrics", "pagination", "project_id", "list_id", "media_id", "import", "text",
)  # fmt: skip
HEADERS = (
    "retry-after", "date", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "content-type",
    "x-aurogy-signature", "x-aulm-signature", "x-aulm-delivery-id", "x-webhook-signature", "x-timestamp", "x-event-id",
    "x-event-type", "authorization", "digest", "host",
)  # fmt: skip
SAID = (
    *PLANTED, "queued", "sent", "delivered", "failed", "read", "connected", "message.delivered", "message_status",
    "deliver", "invalid", "request", "Failed", "unsubscribe", "true", "false", "STOP", "2026-05-28T10:15:42Z", "0",
    "9" * 400, "Thu, 28 May 2026 10:15:42 GMT", "\ud800", "\x00", "-1", "NaN", "401", "460",
    f"No user matches {TO}.", f"1776090610123_7041_2_29999_ab3xq9${TO}",
)  # fmt: skip

words = st.sampled_from(SAID) | st.text(max_size=30)
scalars = (
    st.none() | st.booleans() | st.integers(-10, 10**20) | st.floats() | words | st.sampled_from((200, 40806, 500))
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(MEMBERS) | words, inner, max_size=6),
    max_leaves=20,
)


def raw(value: object) -> bytes:
    return json.dumps(value).encode("utf-8", "replace")


objects = st.dictionaries(st.sampled_from(MEMBERS), values, max_size=8).map(raw)
forms = st.lists(st.tuples(st.sampled_from(MEMBERS), words), max_size=8).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs).encode("utf-8", "replace")
)
bodies = objects | forms | st.binary(max_size=200) | values.map(raw)
statuses = st.integers(100, 599) | st.sampled_from((200, 201, 202, 400, 401, 403, 404, 409, 429, 500, 502, 503, 504))
headers = st.dictionaries(
    st.sampled_from(HEADERS), words | st.integers(-10, 10**12).map(str), max_size=6
) | st.dictionaries(st.text(max_size=10), st.text(max_size=30), max_size=3)
responses = st.builds(Response, statuses, headers, bodies, st.just(NOW))
inbounds = st.builds(
    Inbound,
    st.sampled_from(("POST", "GET", "")),
    st.just("/hooks/main") | st.text(max_size=20),
    st.just("") | st.text(max_size=20),
    headers,
    bodies,
    st.just(NOW),
    st.sampled_from(("", "0199-message")),
)
every_provider = pytest.mark.parametrize("name", EXHIBITS)
hard = settings(max_examples=80)


def kept(found: Any) -> str:
    """What of an outcome or report is stored and logged."""
    return " ".join(str(getattr(found, name, "") or "") for name in ("reason", "code", "note"))


def clean(text: str, mine: Sequence[str] = PLANTED) -> bool:
    return not any(planted in text for planted in mine)


@every_provider
@hard
@given(response=responses)
def test_an_answer_to_a_send_is_always_an_outcome(name: str, response: Response) -> None:
    found = PROVIDERS[name].parse_response(account_of(name), response)

    assert isinstance(found, OUTCOMES)
    assert clean(kept(found))
    assert len(kept(found)) < 500


@every_provider
@hard
@given(response=responses)
def test_an_answer_to_a_question_is_always_one_too(name: str, response: Response) -> None:
    provider, account = PROVIDERS[name], account_of(name)
    asked: list[tuple[Callable[[Account, Response], Any] | None, tuple[type, ...]]] = [
        (provider.parse_poll, (Report, *OUTCOMES)),
        (provider.parse_probe, OUTCOMES),
    ]
    for parse, types in asked:
        if parse is not None:
            found = parse(account, response)
            assert isinstance(found, types)
            assert clean(kept(found))


@every_provider
@hard
@given(response=responses)
def test_headers_say_a_number_or_nothing(name: str, response: Response) -> None:
    left = PROVIDERS[name].remaining(account_of(name), response)
    limit = PROVIDERS[name].reported_limit(account_of(name), response)

    assert left is None or (isinstance(left, Remaining) and left.left >= 0 and 0 <= left.reset_in < 366 * 86_400)
    assert limit is None or (isinstance(limit, ReportedLimit) and limit.count >= 0)


@every_provider
@hard
@given(inbound=inbounds)
@example(inbound=Inbound("POST", "/", "", {}, b"[" * 100_000, NOW))
@example(inbound=Inbound("POST", "/", "", {}, b'{"a":' * 50_000, NOW))
@example(inbound=Inbound("POST", "/", "", {"content-type": "application/json"}, b"9" * 100_000, NOW))
def test_a_webhook_is_judged_and_read_whatever_it_is(name: str, inbound: Inbound) -> None:
    """Given anything at all, then nobody believes it unsigned, and reading it gives events that can be stored."""
    provider, account = PROVIDERS[name], account_of(name)
    assert provider.verify is not None
    assert provider.parse_event is not None

    assert provider.verify(account, inbound) is False
    found = provider.parse_event(account, inbound)

    for event in found:
        assert isinstance(event, Event)
        assert event.key
        assert event.kind
        assert clean(event.reason + event.kind + repr(event))
        assert event.at is None or abs(event.at) < 1e12
        json.dumps(event.data)
    if provider.nonce is not None:
        assert isinstance(provider.nonce(account, inbound), str)
    assert provider.parse_event(account, inbound) == found


@every_provider
@settings(max_examples=40)
@given(response=responses, memory=st.dictionaries(st.sampled_from(MEMBERS), scalars, max_size=3))
def test_an_operation_reads_whatever_came(name: str, response: Response, memory: Mapping[str, Any]) -> None:
    """Given any answer to any step of any operation, then it goes on, is done, or has an outcome."""
    account = account_of(name)
    for operation, step, arguments, left in steps(name):
        job = Job("0199-job", arguments, step, {**memory, **left})
        found = PROVIDERS[name].operations[operation].read(account, job, response)
        assert isinstance(found, (Next, Done, *OUTCOMES)), (operation, step)
        assert clean(kept(found)), (operation, step)


@cache
def steps(name: str) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Operations and their steps, the first and those that the exhibit names, with arguments of the right form."""
    return [
        (operation, step, {argument: sample(argument) for argument in row.arguments}, dict(memory))
        for operation, row in PROVIDERS[name].operations.items()
        for step, memory in (("", {}), *EXHIBITS[name].steps.get(operation, ()))
    ]


def sample(argument: str) -> Any:
    """An argument's value: what looks like an id serves for nearly all."""
    return 5 if argument in ("limit", "offset", "days") else "id_1"


@every_provider
@settings(max_examples=40)
@given(id_=st.text(min_size=1, max_size=64).filter(lambda text: text.isprintable()))
def test_a_request_can_be_made_under_any_id(name: str, id_: str) -> None:
    for message in EXHIBITS[name].messages.values():
        request = PROVIDERS[name].build_request(account_of(name), Submission(id_, message))
        assert request.url.isascii()
        assert all(value.isprintable() for value in request.headers.values())
