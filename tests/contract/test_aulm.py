"""aulm, the facts: requests byte for byte, settings, limits and credentials, by its API reference 1.0.0."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from config.credentials import option_rule
from paceline.errors import InvalidMessage
from paceline.limit import Limit
from paceline.messages import Media, Message, Template, Text
from providers import registry
from providers.aulm import OPTIONS, PROVIDER, build_probe, build_request
from providers.base import Account, Submission

KEY = "alm_sk_live_" + "0123456789abcdef" * 4
SESSION = "9b2f4c1e-6d3a-4e57-a1c8-0f7d5b3e2a94"
TO = "+966512345678"
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def account(options: Mapping[str, Any] | None = None, base_url: str = PROVIDER.base_url) -> Account:
    return Account("aulm-main", base_url, {"api_key": KEY, "session_id": SESSION}, options or {})


REQUESTS: list[tuple[Message, str, str]] = [
    (
        Text(TO, "Your appointment is at 16:00."),
        "https://api.aulm.io/v1/messages/send-text",
        f'{{"session_id":"{SESSION}","to":"+966512345678","body":"Your appointment is at 16:00."}}',
    ),
    (
        Text(TO, 'موعدك — 🐢 "quoted"\n'),
        "https://api.aulm.io/v1/messages/send-text",
        f'{{"session_id":"{SESSION}","to":"+966512345678","body":"موعدك — 🐢 \\"quoted\\"\\n"}}',
    ),
    (
        Media(TO, "https://cdn.example.com/a.png", "image/png"),
        "https://api.aulm.io/v1/messages/send-image",
        f'{{"session_id":"{SESSION}","to":"+966512345678","image":"https://cdn.example.com/a.png"}}',
    ),
    (
        Media(TO, PIXEL, "image/png", caption="Map"),
        "https://api.aulm.io/v1/messages/send-image",
        f'{{"session_id":"{SESSION}","to":"+966512345678","image":"{PIXEL}","caption":"Map"}}',
    ),
    (
        Media(TO, PIXEL, "image/png", caption=""),
        "https://api.aulm.io/v1/messages/send-image",
        f'{{"session_id":"{SESSION}","to":"+966512345678","image":"{PIXEL}"}}',
    ),
]


@pytest.mark.parametrize(("message", "url", "body"), REQUESTS)
def test_a_send_is_byte_for_byte_the_documented_request(message: Message, url: str, body: str) -> None:
    request = build_request(account(), Submission("id", message, {"order_id": "aulm has no field for it"}))

    assert (request.method, request.url) == ("POST", url)
    assert request.body == body.encode()
    assert request.headers == {
        "Authorization": f"Bearer {KEY}",
        "Accept": "application/json",
        "Content-Type": "application/json",
    }


def test_a_probe_asks_for_the_sessions_state() -> None:
    request = build_probe(account())

    assert (request.method, request.body) == ("GET", b"")
    assert request.url == f"https://api.aulm.io/v1/sessions/{SESSION}/status"
    assert request.headers == {"Authorization": f"Bearer {KEY}", "Accept": "application/json"}


def test_the_base_url_is_a_setting() -> None:
    given = account(base_url="http://127.0.0.1:8900/aulm/")

    assert (
        build_request(given, Submission("id", Text(TO, "x"))).url == "http://127.0.0.1:8900/aulm/v1/messages/send-text"
    )
    assert build_probe(given).url == f"http://127.0.0.1:8900/aulm/v1/sessions/{SESSION}/status"


@pytest.mark.parametrize("uri", ["data:image/png;base64,AA==", "data:IMAGE/PNG;base64,AA=="])
def test_a_data_uri_must_be_of_the_media_type_beside_it(uri: str) -> None:
    assert build_request(account(), Submission("id", Media(TO, uri, "image/png")))
    with pytest.raises(InvalidMessage) as refused:
        build_request(account(), Submission("id", Media(TO, uri, "image/jpeg")))

    assert str(refused.value) == "media_type: must be the data URI's own media type"


def test_neither_key_nor_recipient_nor_text_is_in_a_repr() -> None:
    shown = repr(build_request(account(), Submission("id", Text(TO, "top secret")))) + repr(account())

    assert not any(secret in shown for secret in (KEY, TO, "top secret"))


def test_a_kind_that_was_not_checked_is_a_bug() -> None:
    with pytest.raises(TypeError, match="no template message"):
        build_request(account(), Submission("id", Template(TO, "hello", "en")))


def test_the_record_holds_the_documented_facts_and_the_choices() -> None:
    assert registry.get("aulm") is PROVIDER
    assert (PROVIDER.base_url, PROVIDER.channel) == ("https://api.aulm.io", "whatsapp")
    assert dict(PROVIDER.limits) == {"send": ("1/3s", "1000/day"), "session": ("20/minute",)}
    assert (PROVIDER.pace_credential, PROVIDER.pace_jitter) == ("session_id", 0.4)
    assert (PROVIDER.send_class, PROVIDER.probe_class, PROVIDER.poll_class) == ("send", "session", None)
    assert (PROVIDER.connect_timeout, PROVIDER.timeout) == (5.0, 50.0)
    assert PROVIDER.deduplicates_for == 0
    assert PROVIDER.webhook_credential == "webhook_secret"


def test_there_is_a_day_limit_for_the_providers_own_count_to_tighten() -> None:
    assert [limit.is_day for limit in map(Limit.parse, PROVIDER.limits["send"])] == [False, True]


def test_the_key_alone_identifies_a_key_and_the_session_is_no_secret() -> None:
    facts = {item.name: (item.required, item.secret, item.identifies_key) for item in PROVIDER.credentials}

    assert facts == {
        "api_key": (True, True, True),
        "session_id": (True, False, False),
        "webhook_secret": (False, True, False),
    }


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("api_key", KEY, True),
        ("api_key", PROVIDER.credentials[0].sandbox, True),
        ("api_key", "alm_sk_test_" + "f" * 64, True),
        ("api_key", "alm_sk_test_" + "f" * 63, False),
        ("api_key", "alm_sk_test_" + "f" * 65, False),
        ("api_key", "alm_sk_test_" + "F" * 64, False),
        ("api_key", "alm_sk_prod_" + "f" * 64, False),
        ("api_key", KEY + "\n", False),
        ("session_id", SESSION, True),
        ("session_id", SESSION.upper(), True),
        ("session_id", PROVIDER.credentials[1].sandbox, True),
        ("session_id", SESSION.replace("-", ""), False),
        ("session_id", SESSION[:-1], False),
        ("session_id", SESSION[:-1] + "g", False),
        ("session_id", "../" + SESSION, False),
    ],
)
def test_key_and_session_have_a_shape(name: str, value: str, fits: bool) -> None:
    [pattern] = [item.pattern for item in PROVIDER.credentials if item.name == name]

    assert (re.fullmatch(pattern or "", value) is not None) is fits


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("image.max_bytes", 1, True),
        ("image.max_bytes", 0, False),
        ("image.basis", "text", True),
        ("image.basis", "pixels", False),
        ("image.types", "image/jpeg image/heic", True),
        ("image.types", "image/jpeg, image/heic", False),
        ("image.types", "video/mp4", False),
    ],
)
def test_the_options_have_bounds(name: str, value: object, fits: bool) -> None:
    assert option_rule(OPTIONS[name], OPTIONS[name].default) is None
    assert (option_rule(OPTIONS[name], value) is None) is fits
