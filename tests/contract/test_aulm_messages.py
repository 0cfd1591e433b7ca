"""aulm, what a message may hold: every field at its limit and one beyond, by its API reference 1.0.0."""

import base64
from typing import Any

import pytest

from paceline.capabilities import Capabilities, check
from paceline.errors import InvalidMessage
from paceline.messages import Media, Message, Template, Text
from providers.aulm import PROVIDER
from providers.base import Account

TO = "+966512345678"
TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif")
MOST = 5 * 1024 * 1024
URL = "https://cdn.example.com/a.png"


def capabilities(**options: Any) -> Capabilities:
    return PROVIDER.capabilities(Account("aulm-main", PROVIDER.base_url, {}, options))


def image(size: int, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(bytes(size)).decode()}"


FITS: list[Message] = [
    Text(TO, "x"),
    Text(TO, "🐢" * 4096),
    Text("+1234567", "x"),
    Text("+123456789012345", "x"),
    Media(TO, URL, "image/png"),
    Media(TO, URL, "image/png", caption="🐢" * 1024),
    Media(TO, "HTTPS://cdn.example.com:8443/a?b=c#d", "image/png"),
    Media(TO, "https://93.184.216.34/a.png", "image/png"),
    Media(TO, "https://[2606:2800:220:1::1]/a.png", "image/png"),
    *(Media(TO, image(3, media_type), media_type) for media_type in TYPES),
    Media(TO, image(3, "IMAGE/PNG"), "image/png"),
]
ESCAPING = "must be a URL without spaces or characters that need escaping"
PUBLIC = "must be a URL of a public host, not of a private or loopback address"
KIND = f"must be an https:// URL, or a data URI of {', '.join(TYPES)}"
BREAKS: list[tuple[Message, str]] = [
    (Text(TO, ""), "text: must have at least 1 character"),
    (Text(TO, "🐢" * 4097), "text: must have at most 4096 characters, this one has 4097"),
    (Text(TO, "x", sender="Acme"), "sender: account aulm-main has no such field; leave it out"),
    (Text(TO, "x", reply_to="m"), "reply_to: account aulm-main has no such field; leave it out"),
    (Media(TO, URL, "image/png", filename="a.png"), "filename: account aulm-main has no such field; leave it out"),
    (Media(TO, URL, "image/png", caption="x" * 1025), "caption: must have at most 1024 characters, this one has 1025"),
    (Media(TO, URL, "image/tiff"), f"media_type: must be one of {', '.join(TYPES)}"),
    (Media(TO, "https://cdn.example.com/a b", "image/png"), f"url: {ESCAPING}"),
    (Media(TO, "http://cdn.example.com/a.png", "image/png"), "url: must be an https:// URL"),
    (Media(TO, "data:image/png,raw", "image/png"), "url: must be a data URI such as data:image/png;base64,…"),
    (Media(TO, "data:image/png;base64,A", "image/png"), "url: must be a data URI such as data:image/png;base64,…"),
    (Media(TO, image(3, "image/tiff"), "image/png"), f"url: {KIND}"),
    (Media(TO, image(3, "application/pdf"), "image/png"), f"url: {KIND}"),
    (Template(TO, "t", "en"), "message: account aulm-main carries text and media, not template"),
    *(
        (Media(TO, f"https://{host}/a.png", "image/png"), f"url: {PUBLIC}")
        for host in (
            "localhost",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "10.0.0.8",
            "172.16.4.1",
            "192.168.1.1",
            "169.254.169.254",
            "[::1]",
            "[fd00::1]",
            "[::ffff:127.0.0.1]",
            "intranet",
            "db.internal",
        )
    ),
]
NOT_E164 = [
    "",
    "966512345678",
    "+966 51 234 5678",
    "+0512345678",
    "+123456",
    "+1234567890123456",
    "00966512345678",
    "966512345678@c.us",
    "+966512345678\n",
    "+٩٦٦٥١٢٣٤٥٦٧٨",
]


@pytest.mark.parametrize("message", FITS)
def test_a_message_at_its_limits_is_taken(message: Message) -> None:
    check(capabilities(), "aulm-main", message)


@pytest.mark.parametrize(("message", "sentence"), BREAKS)
def test_a_message_one_beyond_a_limit_is_refused_by_name_and_rule(message: Message, sentence: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        check(capabilities(), "aulm-main", message)

    assert str(refused.value) == sentence


@pytest.mark.parametrize("to", NOT_E164)
def test_a_recipient_is_a_number_in_e164(to: str) -> None:
    with pytest.raises(InvalidMessage, match=r"^to: must be a number in E\.164, such as \+966512345678$"):
        check(capabilities(), "aulm-main", Text(to, "x"))


def test_an_image_is_measured_decoded() -> None:
    check(capabilities(), "aulm-main", Media(TO, image(MOST), "image/png"))
    with pytest.raises(InvalidMessage, match=r"^url: must have at most 5,242,880 bytes, this one has 5,242,881$"):
        check(capabilities(), "aulm-main", Media(TO, image(MOST + 1), "image/png"))


def test_its_size_its_basis_and_its_types_are_settings() -> None:
    small = {"image.max_bytes": 30, "image.types": "image/heic"}
    check(capabilities(**small), "aulm-main", Media(TO, image(30, "image/heic"), "image/heic"))
    for message in (Media(TO, image(31, "image/heic"), "image/heic"), Media(TO, image(3), "image/png")):
        with pytest.raises(InvalidMessage):
            check(capabilities(**small), "aulm-main", message)

    as_text = {"image.max_bytes": len(image(30)), "image.basis": "text"}
    check(capabilities(**as_text), "aulm-main", Media(TO, image(30), "image/png"))
    with pytest.raises(InvalidMessage, match=r"^url: must have at most 62 characters, this one has 66$"):
        check(capabilities(**as_text), "aulm-main", Media(TO, image(31), "image/png"))


def test_what_a_producer_reads_from_the_database_is_the_same() -> None:
    published = Capabilities.from_json(capabilities().as_json())

    assert published == capabilities()
