"""Augnet, the facts: the request byte for byte, credentials, limits, and what a message may hold."""

import base64
import json
import re
from typing import Any

import pytest

from paceline.capabilities import check, parts
from paceline.errors import InvalidMessage
from paceline.messages import Email, Media, Message, Template, Text
from providers import registry
from providers.augnet import PROVIDER, build_request, capabilities
from providers.base import Submission
from tests.unit.augnet_support import API_KEY, MESSAGE, PROJECT, TO, account

TAXI = Text(TO, "Your taxi arrives in 2 minutes, registration ABC123", sender="ABCTAXI")
CALLBACK = "https://hooks.example.com/webhooks/augnet?m=01HZX3"


def test_a_send_is_byte_for_byte_the_documented_request() -> None:
    request = build_request(account(), Submission(MESSAGE, TAXI, callback=CALLBACK))

    assert (request.method, request.url) == ("POST", "https://api.prod.augnetmq.com/api/v2/message")
    assert request.body == (
        b'{"body":"Your taxi arrives in 2 minutes, registration ABC123","from":"ABCTAXI",'
        b'"statusCallback":"https://hooks.example.com/webhooks/augnet?m=01HZX3","to":"+447700900123"}'
    )
    assert request.headers == {
        "Authorization": "Basic " + base64.b64encode(f"{PROJECT}:{API_KEY}".encode()).decode(),
        "Accept": "application/json",
        "Content-Type": "application/json",
    }


def test_a_message_goes_as_it_was_written_and_without_what_it_lacks() -> None:
    request = build_request(account(), Submission(MESSAGE, Text(TO, 'Żółw — 🐢 "so"\n', sender="+441743555010")))

    assert request.body == '{"body":"Żółw — 🐢 \\"so\\"\\n","from":"+441743555010","to":"+447700900123"}'.encode()


@pytest.mark.parametrize(
    ("own", "message", "sent"), [("ABCTAXI", None, "ABCTAXI"), ("ABCTAXI", "XYZ", "XYZ"), ("", "XYZ", "XYZ")]
)
def test_the_messages_sender_goes_before_the_accounts(own: str, message: str | None, sent: str) -> None:
    request = build_request(account(sender=own), Submission(MESSAGE, Text(TO, "Hi", sender=message)))

    assert json.loads(request.body)["from"] == sent


def test_long_credentials_have_no_line_break() -> None:
    request = build_request(account(api_key="k" * 300), Submission(MESSAGE, TAXI))

    assert not re.search(r"\s", request.headers["Authorization"].removeprefix("Basic "))


def test_the_base_url_is_a_setting() -> None:
    given = account(base_url="http://127.0.0.1:8900/augnet/api/v2/")

    assert build_request(given, Submission(MESSAGE, TAXI)).url == "http://127.0.0.1:8900/augnet/api/v2/message"


def test_nothing_of_it_is_in_a_repr() -> None:
    submission = Submission(MESSAGE, TAXI, callback=CALLBACK)
    shown = repr(build_request(account(), submission)) + repr(account()) + repr(submission)

    assert not any(secret in shown for secret in (API_KEY, TO, "registration", "m=01HZX3"))


def test_another_kind_of_message_is_a_defect() -> None:
    with pytest.raises(TypeError, match="Augnet carries no media message"):
        build_request(account(), Submission(MESSAGE, Media(TO, "https://a.example.com/", "image/png")))


def test_limits_belong_to_project_and_key() -> None:
    assert PROVIDER.limits == {"send": ("10/second",)}
    assert (PROVIDER.connect_timeout, PROVIDER.timeout) == (5.0, 35.0)
    assert (PROVIDER.deduplicates_for, PROVIDER.build_poll, PROVIDER.channel) == (0.0, None, "sms")
    assert PROVIDER.webhook_credential == "signing_key"
    assert [(each.name, each.required, each.secret, each.identifies_key) for each in PROVIDER.credentials] == [
        ("project_id", True, False, True),
        ("api_key", True, True, True),
        ("sender", False, False, False),
        ("signing_key", False, True, False),
    ]
    assert registry.get("augnet") is PROVIDER


def test_in_the_sandbox_too_a_sender_must_be_named() -> None:
    assert {each.name: bool(each.sandbox) for each in PROVIDER.credentials} == {
        "project_id": True,
        "api_key": True,
        "sender": False,  # else a configuration would pass there that is refused in earnest
        "signing_key": True,
    }


def fits(credential: int, value: str) -> bool:
    return re.fullmatch(PROVIDER.credentials[credential].pattern or "", value) is not None


@pytest.mark.parametrize(
    ("value", "good"),
    [
        (PROJECT, True),
        (PROJECT.upper(), True),
        (PROVIDER.credentials[0].sandbox, True),
        (PROJECT[:-1], False),
        (PROJECT.replace("-", ""), False),
        (PROJECT + ":", False),
        (PROJECT + "\n", False),
        ("g" + PROJECT[1:], False),
    ],
)
def test_a_project_id_is_a_uuid(value: str, good: bool) -> None:
    assert fits(0, value) is good


SENDERS = ["ABCTAXI", "infomessage", "A", "Abc Taxi-1", "3com", "+441743555010", "441743555010", "60300", "123"]
NO_SENDERS = ["", "twelve chars", " ABCTAXI", "ABCTAXI ", "12", "+44 1743", "1" * 16, "Täxi", "A\n", "...", "٣٣٣٣"]


@pytest.mark.parametrize("sender", SENDERS)
def test_a_number_a_short_code_or_a_name_can_send(sender: str) -> None:
    assert fits(2, sender)
    check(capabilities(account()), "augnet-main", Text(TO, "Hi", sender=sender))


@pytest.mark.parametrize("sender", NO_SENDERS)
def test_anything_else_cannot(sender: str) -> None:
    assert not fits(2, sender)
    with pytest.raises(InvalidMessage, match=r"^sender: must "):
        check(capabilities(account()), "augnet-main", Text(TO, "Hi", sender=sender))


def refusal(message: Message, **given: Any) -> str:
    with pytest.raises(InvalidMessage) as refused:
        check(capabilities(account(**given)), "augnet-main", message)
    return str(refused.value)


def test_a_sender_is_required_of_the_account_or_of_the_message() -> None:
    assert refusal(Text(TO, "Hi")) == "sender: is required"
    check(capabilities(account(sender="ABCTAXI")), "augnet-main", Text(TO, "Hi"))


@pytest.mark.parametrize("to", ["+447700900123", "+1234567", "+" + "1" * 15])
def test_a_recipient_is_an_international_number(to: str) -> None:
    check(capabilities(account()), "augnet-main", Text(to, "Hi", sender="A"))


@pytest.mark.parametrize("to", ["", "447700900123", "+0447700900123", "+123456", "+" + "1" * 16, "+44 7700", "+4477\n"])
def test_any_other_recipient_is_refused(to: str) -> None:
    assert refusal(Text(to, "Hi", sender="A")) == "to: must be a phone number such as +447700900123 (E.164)"


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (Text(TO, "", sender="A"), "text: must have at least 1 character"),
        (Text(TO, "x" * 1601, sender="A"), "text: must fit into 10 parts, this one needs 11"),
        (Text(TO, "x", sender="A", reply_to="m"), "reply_to: account augnet-main has no such field; leave it out"),
        (Template(TO, "t", "en"), "message: account augnet-main carries text, not template"),
        (Media(TO, "https://a.example.com/", "image/png"), "message: account augnet-main carries text, not media"),
        (Email("ana@example.org", "Hi", text="Hi"), "message: account augnet-main carries text, not email"),
    ],
)
def test_what_augnet_does_not_carry_is_refused_by_name_and_rule(message: Message, sentence: str) -> None:
    assert refusal(message) == sentence


@pytest.mark.parametrize(
    ("options", "text", "count"),
    [
        ({}, "ж" * 1600, 10),
        ({"segmentation": "gsm0338"}, "ж" * 670, 10),
        ({"segmentation": "gsm0338"}, "x" * 1530, 10),
        ({"segmentation": "gsm0338", "max_parts": 2}, "x" * 306, 2),
        ({"max_parts": 1}, "x" * 160, 1),
    ],
)
def test_how_a_text_is_cut_and_how_often_are_settings(options: dict[str, Any], text: str, count: int) -> None:
    can = capabilities(account(options))
    message = Text(TO, text, sender="A")

    check(can, "augnet-main", message)
    assert parts(can, message) == count
    assert refusal(Text(TO, text + text[0], sender="A"), options=options) == (
        f"text: must fit into {count} parts, this one needs {count + 1}"
    )


def test_every_option_is_within_its_own_bounds() -> None:
    for name, option in PROVIDER.options.items():
        assert not option.one_of or option.default in option.one_of, name
        assert option.pattern is None or re.fullmatch(option.pattern, str(option.default)), name
    host, prefix = (PROVIDER.options[name].pattern or "" for name in ("public_host", "public_path_prefix"))
    assert all(re.fullmatch(host, value) for value in ("hooks.example.com", "hooks.example.com:8443", "[::1]:80"))
    assert not any(re.fullmatch(host, value) for value in ("https://hooks.example.com", "hooks example", "a/b"))
    assert all(re.fullmatch(prefix, value) for value in ("/paceline", "/a/b", "/a%20b"))
    assert not any(re.fullmatch(prefix, value) for value in ("paceline", "/", "/paceline/", "/a b"))
