"""Aurogy, the facts: requests byte for byte, settings, limits and credentials, by its API reference 1.0."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from config.credentials import option_rule
from paceline.errors import ConfigurationError
from paceline.messages import Email, Media, Message, Template, Text
from providers import registry
from providers.aurogy import PROVIDER, build_poll, build_probe, build_request
from providers.base import Account, Response, Submission

KEY = "auro_live_sk_0123456789abcdef"
TO = "auro_usr_5m2q70x1ck"


def account(options: Mapping[str, Any] | None = None, base_url: str = PROVIDER.base_url) -> Account:
    return Account("aurogy-main", base_url, {"api_key": KEY}, options or {})


MEDIA = Media(TO, "https://cdn.example.com/a.pdf", "application/pdf")
REQUESTS: list[tuple[Message, dict[str, str], str, str]] = [
    (
        Text(TO, "Parcel 7719 leaves today."),
        {"dispatch_id": "dsp_01HZX3"},
        "https://api.aurogy.com/v1/messages/text",
        '{"to":"auro_usr_5m2q70x1ck","text":"Parcel 7719 leaves today.","metadata":{"dispatch_id":"dsp_01HZX3"}}',
    ),
    (
        Text(TO, 'Żółw — 🐢 "quoted"\n', reply_to="msg_k3v9c1t7w2b8"),
        {},
        "https://api.aurogy.com/v1/messages/text",
        '{"to":"auro_usr_5m2q70x1ck","text":"Żółw — 🐢 \\"quoted\\"\\n","reply_to":"msg_k3v9c1t7w2b8"}',
    ),
    (
        MEDIA,
        {"dispatch_id": "not a field of a media message"},
        "https://api.aurogy.com/v1/messages/media",
        '{"to":"auro_usr_5m2q70x1ck","media_url":"https://cdn.example.com/a.pdf","media_type":"application/pdf"}',
    ),
    (
        Media(TO, "https://cdn.example.com/a.pdf", "application/pdf", caption="Invoice", filename="invoice.pdf"),
        {},
        "https://api.aurogy.com/v1/messages/media",
        (
            '{"to":"auro_usr_5m2q70x1ck","media_url":"https://cdn.example.com/a.pdf","media_type":"application/pdf",'
            '"caption":"Invoice","filename":"invoice.pdf"}'
        ),
    ),
    (
        Template(TO, "order_confirmation", "en", {"name": "Ana", "order": "4821"}),
        {"dispatch_id": "not a field of a template message"},
        "https://api.aurogy.com/v1/messages/template",
        (
            '{"to":"auro_usr_5m2q70x1ck","template":"order_confirmation","language":"en",'
            '"variables":{"name":"Ana","order":"4821"}}'
        ),
    ),
    (
        Template(TO, "hello", "pt-BR"),
        {},
        "https://api.aurogy.com/v1/messages/template",
        '{"to":"auro_usr_5m2q70x1ck","template":"hello","language":"pt-BR"}',
    ),
]


@pytest.mark.parametrize(("message", "metadata", "url", "body"), REQUESTS)
def test_a_send_is_byte_for_byte_the_documented_request(
    message: Message, metadata: dict[str, str], url: str, body: str
) -> None:
    request = build_request(account(), Submission("id", message, metadata))

    assert (request.method, request.url) == ("POST", url)
    assert request.body == body.encode()
    assert request.headers == {
        "Authorization": f"Bearer {KEY}",
        "Accept": "application/json",
        "Content-Type": "application/json",
    }


def test_reply_to_may_come_as_an_option_and_the_field_of_the_message_wins() -> None:
    option = {"reply_to": "msg_option"}

    by_option = build_request(account(), Submission("id", Text(TO, "Yes"), options=option))
    by_both = build_request(account(), Submission("id", Text(TO, "Yes", reply_to="msg_field"), options=option))

    assert json.loads(by_option.body)["reply_to"] == "msg_option"
    assert json.loads(by_both.body)["reply_to"] == "msg_field"


@pytest.mark.parametrize("provider_message_id", ["msg_k3v9c1t7w2b8", "a/../b?c#d é"])
def test_a_poll_asks_for_one_message_whatever_its_id_holds(provider_message_id: str) -> None:
    request = build_poll(account(), provider_message_id)

    quoted = {"msg_k3v9c1t7w2b8": "msg_k3v9c1t7w2b8", "a/../b?c#d é": "a%2F..%2Fb%3Fc%23d%20%C3%A9"}
    assert (request.method, request.body) == ("GET", b"")
    assert request.url == f"https://api.aurogy.com/v1/messages/{quoted[provider_message_id]}"
    assert request.headers == {"Authorization": f"Bearer {KEY}", "Accept": "application/json"}


def test_a_probe_reads_the_profile() -> None:
    request = build_probe(account())

    assert (request.method, request.url, request.body) == ("GET", "https://api.aurogy.com/v1/profile", b"")


def test_undocumented_paths_and_the_base_url_are_settings() -> None:
    given = account(
        {"paths.template": "templates", "paths.status": "/status/{message_id}/now", "paths.profile": "/me"},
        base_url="http://127.0.0.1:8900/aurogy/v1/",
    )

    assert build_request(given, Submission("id", Template(TO, "hello", "en"))).url.endswith("8900/aurogy/v1/templates")
    assert build_poll(given, "msg_1").url == "http://127.0.0.1:8900/aurogy/v1/status/msg_1/now"
    assert build_probe(given).url == "http://127.0.0.1:8900/aurogy/v1/me"


def test_neither_key_nor_recipient_nor_text_is_in_a_repr() -> None:
    shown = repr(build_request(account(), Submission("id", Text(TO, "top secret")))) + repr(account())

    assert not any(secret in shown for secret in (KEY, TO, "top secret"))


def test_a_kind_that_was_not_checked_is_a_bug() -> None:
    with pytest.raises(TypeError, match="no email message"):
        build_request(account(), Submission("id", Email("ana@example.org", "Hi", text="Hi")))


def test_the_record_holds_the_documented_facts() -> None:
    assert registry.get("aurogy") is PROVIDER
    assert PROVIDER.base_url == "https://api.aurogy.com/v1"
    assert dict(PROVIDER.limits) == {
        "send": ("100/minute",),
        "status": ("300/minute",),
        "conversations": ("60/minute",),
        "profile": ("10/minute",),
    }
    assert (PROVIDER.send_class, PROVIDER.poll_class) == ("send", "status")
    assert (PROVIDER.connect_timeout, PROVIDER.timeout) == (5.0, 35.0)
    assert PROVIDER.deduplicates_for == 0
    assert PROVIDER.remaining(account(), Response(200, {"x-ratelimit-remaining": "0"}, b"", 0.0)) is None


def test_only_the_api_key_identifies_a_key_and_sandbox_values_match_their_patterns() -> None:
    key, secret = PROVIDER.credentials

    assert (key.name, key.required, key.secret, key.identifies_key) == ("api_key", True, True, True)
    assert (secret.name, secret.required, secret.secret, secret.identifies_key) == (
        "webhook_secret",
        False,
        True,
        False,
    )
    assert key.sandbox.startswith("auro_test_sk_")
    assert secret.sandbox


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        (PROVIDER.credentials[0].sandbox, True),
        (KEY, True),
        ("auro_live_sk_" + "a" * 8, True),
        ("auro_live_sk_" + "a" * 7, False),
        ("auro_test_sk_" + "_" * 128, True),
        ("auro_test_sk_" + "_" * 129, False),
        ("auro_prod_sk_" + "a" * 8, False),
        ("auro_live_sk_" + "a" * 7 + "-", False),
        (KEY + "\n", False),
    ],
)
def test_the_api_key_has_a_shape(value: str, fits: bool) -> None:
    assert (re.fullmatch(PROVIDER.credentials[0].pattern or "", value) is not None) is fits


def test_an_unknown_provider_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"^provider: must be one of aurogy") as refused:
        registry.get("aurgoy")

    assert len(refused.value.problems) == 1


def test_every_provider_is_registered_under_its_own_name() -> None:
    assert all(provider.name == name for name, provider in registry.PROVIDERS.items())


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("paths.template", "messages/template", "a path that begins with /"),
        ("paths.profile", "/profile?of=us", "a path that begins with /"),
        ("paths.status", "/messages", "holds {message_id} once"),
        ("metadata.max_len", 0, "at least 1"),
        ("webhook.freshness", -5.0, "at least 0"),
        ("webhook.freshness", float("nan"), "at least 0"),
    ],
)
def test_an_option_that_would_break_every_request_is_refused_at_start(name: str, value: object, rule: str) -> None:
    option = PROVIDER.options[name]

    assert rule in (option_rule(option, value) or "")
    assert option_rule(option, option.default) is None
