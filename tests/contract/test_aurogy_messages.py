"""Aurogy, what a message may hold: every field at its limit and one beyond, by its API reference 1.0."""

from typing import Any

import pytest

from paceline.capabilities import check
from paceline.errors import InvalidMessage
from paceline.messages import Email, Media, Message, Template, Text
from providers.aurogy import MEDIA_TYPES, PROVIDER
from providers.base import Account

CAPABILITIES = PROVIDER.capabilities(Account("aurogy-main", PROVIDER.base_url, {}))
TO = "auro_usr_5m2q70x1ck"
HASH = "9f86d081884c7d65"
VARIABLES = {f"v{number}": "x" for number in range(257)}
FITS: list[Message] = [
    Text(TO, "x"),
    Text(TO, "🐢" * 4096),
    Text(TO, "x", reply_to="m"),
    Media(TO, "https://a/", MEDIA_TYPES[0], caption="🐢" * 1024, filename="f" * 255),
    *(Media(TO, "https://cdn.example.com/a?b=c", media_type) for media_type in MEDIA_TYPES),
    Template(TO, "t", "en", dict(list(VARIABLES.items())[:256])),
    *(Template(TO, "t", language) for language in ("de", "gsw", "pt-BR", "zh-Hant-TW", "es-419")),
    *(
        Text(to, "x")
        for to in ("auro_usr_1", "auro_usr_8f3k29d1a7", HASH, "a" * 128, "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4I=")
    ),
]
BREAKS: list[tuple[Message, str]] = [
    (Text(TO, ""), "text: must have at least 1 character"),
    (Text(TO, "🐢" * 4097), "text: must have at most 4096 characters, this one has 4097"),
    (Text(TO, "x", reply_to=""), "reply_to: must have at least 1 character"),
    (Text(TO, "x", sender="Acme"), "sender: account aurogy-main has no such field; leave it out"),
    (Media(TO, "http://cdn.example.com/a", "image/png"), "url: must be an https:// URL"),
    (Media(TO, "HTTPS://cdn.example.com/a", "image/png"), "url: must be an https:// URL"),
    (Media(TO, "https://", "image/png"), "url: must be an https:// URL"),
    (Media(TO, "https:///path", "image/png"), "url: must be an https:// URL"),
    (Media(TO, "https://cdn.example.com/a b", "image/png"), "url: must be an https:// URL"),
    (Media(TO, "https://cdn.example.com/a\n", "image/png"), "url: must be an https:// URL"),
    (Media(TO, "data:image/png;base64,AA==", "image/png"), "url: must be an https:// URL"),
    (Media(TO, "https://a/", "image/gif"), f"media_type: must be one of {', '.join(MEDIA_TYPES)}"),
    (Media(TO, "https://a/", "IMAGE/PNG"), f"media_type: must be one of {', '.join(MEDIA_TYPES)}"),
    (
        Media(TO, "https://a/", MEDIA_TYPES[0], caption="x" * 1025),
        "caption: must have at most 1024 characters, this one ",
    ),
    (
        Media(TO, "https://a/", MEDIA_TYPES[0], filename="f" * 256),
        "filename: must have at most 255 characters, this one",
    ),
    (Template(TO, "", "en"), "template: must have at least 1 character"),
    (Template(TO, "t"), "language: is required"),
    (Template(TO, "t", ""), "language: must be a language code such as en or pt-BR"),
    (Template(TO, "t", "english"), "language: must be a language code such as en or pt-BR"),
    (Template(TO, "t", "EN"), "language: must be a language code such as en or pt-BR"),
    (Template(TO, "t", "en-"), "language: must be a language code such as en or pt-BR"),
    (Template(TO, "t", "en_GB"), "language: must be a language code such as en or pt-BR"),
    (Template(TO, "t", "en\n"), "language: must be a language code such as en or pt-BR"),
    (Template(TO, "t", "en", VARIABLES), "variables: may hold at most 256 entries, this one holds 257"),
    (
        Email("ana@example.org", "Hi", text="Hi"),
        "message: account aurogy-main carries text and media and template, not",
    ),
]
PHONE_NUMBERS_AND_NONSENSE = [
    "",
    "+4915112345678",
    "+49 151 1234 5678 90",
    "004915112345678901",
    "0049-151-123-4567-8901",
    "1234567890123456",
    "ana@example.org",
    "auro_usr_",
    "auro_usr_a b",
    HASH[:15],
    "a" * 129,
    HASH + "\n",
]


@pytest.mark.parametrize("message", FITS)
def test_a_message_at_its_limits_is_taken(message: Message) -> None:
    check(CAPABILITIES, "aurogy-main", message)


@pytest.mark.parametrize(("message", "sentence"), BREAKS)
def test_a_message_one_beyond_a_limit_is_refused_by_name_and_rule(message: Message, sentence: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        check(CAPABILITIES, "aurogy-main", message)

    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize("to", PHONE_NUMBERS_AND_NONSENSE)
@pytest.mark.parametrize("kind", ["text", "media", "template"])
def test_a_phone_number_is_no_recipient(to: str, kind: str) -> None:
    message = {
        "text": Text(to, "x"),
        "media": Media(to, "https://a/", MEDIA_TYPES[0]),
        "template": Template(to, "t", "en"),
    }

    with pytest.raises(InvalidMessage, match=r"^to: must be an Aurogy id .*, never the phone number itself$"):
        check(CAPABILITIES, "aurogy-main", message[kind])


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        ({f"k{number}": "v" for number in range(10)}, None),
        ({f"k{number}": "v" for number in range(11)}, "metadata: may hold at most 10 entries, this one holds 11"),
        ({"k" * 256: "v" * 256}, None),
        ({"k" * 257: "v"}, "metadata: must have at most 256 characters, this one has 257"),
        ({"k": "v" * 257}, "metadata: must have at most 256 characters, this one has 257"),
    ],
)
def test_metadata_holds_ten_keys_of_256_characters(metadata: dict[str, str], sentence: str | None) -> None:
    capabilities = CAPABILITIES

    if sentence is None:
        check(capabilities, "aurogy-main", Text(TO, "x"), metadata)
    else:
        with pytest.raises(InvalidMessage) as refused:
            check(capabilities, "aurogy-main", Text(TO, "x"), metadata)
        assert str(refused.value) == sentence


def test_the_meaning_of_the_metadata_limit_is_a_setting() -> None:
    capabilities = PROVIDER.capabilities(Account("aurogy-main", PROVIDER.base_url, {}, {"metadata.max_len": 300}))

    check(capabilities, "aurogy-main", Text(TO, "x"), {"k": "v" * 300})
    with pytest.raises(InvalidMessage, match="at most 300 characters"):
        check(capabilities, "aurogy-main", Text(TO, "x"), {"k": "v" * 301})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"reply_to": ""}, "options.reply_to: must have at least 1 character"),
        ({"labelName": "x"}, "options.labelName: is not an option of account aurogy-main; it takes reply_to"),
    ],
)
def test_reply_to_is_the_only_option(options: dict[str, Any], sentence: str) -> None:
    check(CAPABILITIES, "aurogy-main", Text(TO, "x"), options={"reply_to": "msg_1"})

    with pytest.raises(InvalidMessage) as refused:
        check(CAPABILITIES, "aurogy-main", Text(TO, "x"), options=options)
    assert str(refused.value) == sentence
