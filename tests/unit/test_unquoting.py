"""What is kept and logged of a provider's answer never says what the message says, or whom it is for."""

import json
from typing import Any

import pytest

from paceline.messages import Text
from providers.base import Accepted, Misconfigured, Outcome, Refused, Throttled, Unavailable, Unknown
from worker.delivery import QUOTED, _request_id, unquoting

NUMBER = "+447700900123"
PAYLOAD = json.dumps(
    {**Text(NUMBER, "thunder").as_json(), "metadata": {"note": "lightning"}, "options": {"tags": ["rain", 3, None]}},
    separators=(",", ":"),
)


@pytest.mark.parametrize("word", ["thunder", "lightning", "rain", NUMBER])
@pytest.mark.parametrize(
    ("outcome", "left"),
    [
        (lambda code: Refused(f"{code}: no", code), Refused(QUOTED)),
        (lambda code: Refused(code, code, opted_out=True), Refused(QUOTED, opted_out=True)),
        (lambda code: Unknown(code, code), Unknown(QUOTED)),
        (lambda code: Misconfigured(f"{code}: look", code), Misconfigured(QUOTED)),
        (lambda code: Throttled(3.0, code), Throttled(3.0)),
        (lambda code: Unavailable(None, code), Unavailable()),
        (lambda code: Accepted("m1", code=code), Accepted("m1")),
    ],
)
def test_a_code_that_quotes_the_message_is_none(outcome: Any, left: Outcome, word: str) -> None:
    assert unquoting(outcome(word), PAYLOAD) == left


@pytest.mark.parametrize("code", ["", "bad_request", "text", "to", "kind", "metadata", "thunderstorm"])
def test_every_other_code_is_kept(code: str) -> None:
    """The names of the message's own fields among them."""
    outcome = Refused(f"{code}: no", code)
    assert unquoting(outcome, PAYLOAD) is outcome


@pytest.mark.parametrize("request_id", ["9fadc2bc-c4bb-477a-89bd-39542a48150e", "r-1", "Root=1-67:af/x", "a" * 200])
def test_a_request_id_is_kept_as_it_came(request_id: str) -> None:
    assert _request_id(request_id, PAYLOAD) == request_id


@pytest.mark.parametrize(
    "request_id",
    [
        "447700900123",
        NUMBER,
        "req-447700900123",
        "thunder",
        "a thunder",
        "",
        "a" * 201,
        "a\x00b",
        "né",
    ],
)
def test_what_is_no_request_id_or_quotes_the_message_is_dropped(request_id: str) -> None:
    assert _request_id(request_id, PAYLOAD) is None


SECRET = "auro_live_sk_opensesame"


@pytest.mark.parametrize("quoted", [NUMBER[1:], SECRET, SECRET.upper()])
@pytest.mark.parametrize(
    ("outcome", "left"),
    [
        (lambda word: Refused(f"blocked_{word}", f"blocked_{word}"), Refused("blocked_…")),
        (lambda word: Unknown(f"http_500 ({word})"), Unknown("http_500 (…)")),
        (lambda word: Misconfigured(f"{word}: check api_key", word), Misconfigured("…: check api_key")),
        (lambda word: Throttled(3.0, f"to_{word}"), Throttled(3.0)),
        (lambda word: Accepted("m1", note=f"simulated {word}"), Accepted("m1", note="simulated …")),
    ],
)
def test_a_recipient_and_a_credential_are_left_out_of_what_is_said(outcome: Any, left: Outcome, quoted: str) -> None:
    assert unquoting(outcome(quoted), PAYLOAD, (SECRET,)) == left


def test_an_id_may_hold_its_recipient_but_no_credential() -> None:
    """Given ids as AuroraSendCloud's, which name the recipient, then they are kept, since statuses come under them."""
    named = Accepted(f"1_2.sg${NUMBER}")
    assert unquoting(named, PAYLOAD, (SECRET,)) is named
    assert unquoting(Accepted(f"1_{SECRET}"), PAYLOAD, (SECRET,)) == Accepted()


def test_a_recipient_as_short_as_a_word_leaves_words_alone() -> None:
    outcome = Refused("http_400 (text)", "")
    assert unquoting(outcome, json.dumps({"kind": "text", "to": "text", "text": "hello"})) is outcome


@pytest.mark.parametrize("request_id", [SECRET, f"Bearer/{SECRET}", SECRET.upper()])
def test_a_request_id_that_quotes_a_credential_is_dropped(request_id: str) -> None:
    assert _request_id(request_id, PAYLOAD, (SECRET,)) is None


def test_the_recipient_is_found_in_any_json() -> None:
    request_id = "req-447700900123"
    assert _request_id(request_id, json.dumps({"kind": "text", "to": NUMBER})) is None
    assert _request_id(request_id, "{}") == request_id
