"""Messages check their own types, show nothing of themselves, and survive the way through JSON."""

import json
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.errors import InvalidMessage
from paceline.messages import KINDS, Email, Media, Message, Outgoing, Template, Text, from_json

ATTACHMENT = {"filename": "a.txt", "content": "aGk=", "media_type": "text/plain"}
FULL: list[tuple[Message, dict[str, Any]]] = [
    (
        Text("+491", "Hi", sender="Acme", reply_to="msg_1"),
        {"kind": "text", "to": "+491", "text": "Hi", "sender": "Acme", "reply_to": "msg_1"},
    ),
    (
        Media("+491", "https://a/b.png", "image/png", caption="C", filename="b.png"),
        {
            "kind": "media",
            "to": "+491",
            "url": "https://a/b.png",
            "media_type": "image/png",
            "caption": "C",
            "filename": "b.png",
        },
    ),
    (
        Template("+491", "hello", language="en", variables={"name": "Ana"}),
        {"kind": "template", "to": "+491", "template": "hello", "language": "en", "variables": {"name": "Ana"}},
    ),
    (
        Email(
            "ana@example.org",
            "Hi",
            html="<p>Hi",
            text="Hi",
            sender="a@example.com",
            sender_name="Acme",
            reply_to=["r@example.com"],
            cc=["c@example.com"],
            bcc=("b@example.com",),
            headers={"X-Order": "4821"},
            attachments=[ATTACHMENT],
        ),
        {
            "kind": "email",
            "to": "ana@example.org",
            "subject": "Hi",
            "html": "<p>Hi",
            "text": "Hi",
            "sender": "a@example.com",
            "sender_name": "Acme",
            "reply_to": ["r@example.com"],
            "cc": ["c@example.com"],
            "bcc": ("b@example.com",),
            "headers": {"X-Order": "4821"},
            "attachments": [ATTACHMENT],
        },
    ),
]
SHORT: list[tuple[Message, dict[str, Any]]] = [
    (Text("+491", ""), {"kind": "text", "to": "+491", "text": ""}),
    (Media("+491", "u", "t"), {"kind": "media", "to": "+491", "url": "u", "media_type": "t"}),
    (Template("+491", "hello"), {"kind": "template", "to": "+491", "template": "hello"}),
    (Email("a@b", "Hi"), {"kind": "email", "to": "a@b", "subject": "Hi"}),
]


@pytest.mark.parametrize(("message", "data"), FULL + SHORT)
def test_a_message_is_plain_data_and_comes_back_from_it(message: Message, data: dict[str, Any]) -> None:
    assert message.as_json() == data
    assert from_json(data) == message


@pytest.mark.parametrize(("message", "data"), FULL + SHORT)
def test_a_message_survives_real_json_and_pickle(message: Message, data: dict[str, Any]) -> None:
    stored = json.dumps(message.as_json())

    assert from_json(json.loads(stored)).as_json() == json.loads(stored)
    assert pickle.loads(pickle.dumps(message)) == message


def test_from_json_leaves_what_it_was_given_alone() -> None:
    data = {"kind": "text", "to": "+491", "text": "Hi"}

    from_json(MappingProxyType(data))

    assert data == {"kind": "text", "to": "+491", "text": "Hi"}


@pytest.mark.parametrize("kind", KINDS.values())
def test_the_kinds_are_known_by_their_own_names(kind: type[Message]) -> None:
    assert KINDS[kind.kind] is kind


@pytest.mark.parametrize(("message", "_data"), FULL)
def test_a_repr_names_the_kind_alone(message: Message, _data: dict[str, Any]) -> None:
    assert repr(message) == f"{type(message).__name__}(…)"
    assert repr(Outgoing(message, "sms", metadata={"order": "4821"})) == f"Outgoing({message!r}, via='sms')"


def test_a_message_does_not_change() -> None:
    message = Text("+491", "Hi")

    with pytest.raises(FrozenInstanceError):
        message.text = "Bye"  # type: ignore[misc]


TEXT_RULE = "must be a string"
PAIRS_RULE = "must map strings to strings"
LIST_RULE = "must be a list of strings"
ATTACHMENTS_RULE = "must be a list of mappings with filename, content and media_type"
NUL_RULE = "must not contain the character NUL"
SURROGATE_RULE = "must be valid Unicode, without lone surrogates"


@pytest.mark.parametrize(
    ("make", "field", "rule"),
    [
        (lambda bad: Text(bad, "x"), "to", TEXT_RULE),
        (lambda bad: Text("x", bad), "text", TEXT_RULE),
        (lambda bad: Text("x", "x", sender=bad), "sender", TEXT_RULE),
        (lambda bad: Text("x", "x", reply_to=bad), "reply_to", TEXT_RULE),
        (lambda bad: Media(bad, "x", "x"), "to", TEXT_RULE),
        (lambda bad: Media("x", bad, "x"), "url", TEXT_RULE),
        (lambda bad: Media("x", "x", bad), "media_type", TEXT_RULE),
        (lambda bad: Media("x", "x", "x", caption=bad), "caption", TEXT_RULE),
        (lambda bad: Media("x", "x", "x", filename=bad), "filename", TEXT_RULE),
        (lambda bad: Template("x", bad), "template", TEXT_RULE),
        (lambda bad: Template("x", "x", language=bad), "language", TEXT_RULE),
        (lambda bad: Template("x", "x", variables=bad), "variables", PAIRS_RULE),
        (lambda bad: Email("x", bad), "subject", TEXT_RULE),
        (lambda bad: Email("x", "x", html=bad), "html", TEXT_RULE),
        (lambda bad: Email("x", "x", text=bad), "text", TEXT_RULE),
        (lambda bad: Email("x", "x", sender_name=bad), "sender_name", TEXT_RULE),
        (lambda bad: Email("x", "x", reply_to=bad), "reply_to", LIST_RULE),
        (lambda bad: Email("x", "x", cc=bad), "cc", LIST_RULE),
        (lambda bad: Email("x", "x", bcc=bad), "bcc", LIST_RULE),
        (lambda bad: Email("x", "x", headers=bad), "headers", PAIRS_RULE),
        (lambda bad: Email("x", "x", attachments=bad), "attachments", ATTACHMENTS_RULE),
    ],
)
@pytest.mark.parametrize("bad", [7, b"bytes", object(), True])
def test_a_field_of_the_wrong_type_is_named(make: Callable[[Any], Message], field: str, rule: str, bad: Any) -> None:
    with pytest.raises(InvalidMessage) as refused:
        make(bad)

    assert (refused.value.field, refused.value.rule) == (field, rule)
    assert str(bad) not in str(refused.value)


@pytest.mark.parametrize(
    ("make", "field", "rule"),
    [
        (lambda: Text(None, "x"), "to", TEXT_RULE),  # type: ignore[arg-type]
        (lambda: Template("x", "x", variables={"n": 1}), "variables", PAIRS_RULE),  # type: ignore[dict-item]
        (lambda: Template("x", "x", variables={1: "n"}), "variables", PAIRS_RULE),  # type: ignore[dict-item]
        (lambda: Email("x", "x", cc="a@b"), "cc", LIST_RULE),  # a string would be a list of its letters
        (lambda: Email("x", "x", cc=["a@b", None]), "cc", LIST_RULE),  # type: ignore[list-item]
        (lambda: Email("x", "x", attachments=["a"]), "attachments", PAIRS_RULE),  # type: ignore[list-item]
    ],
)
def test_what_a_field_holds_is_checked_too(make: Callable[[], Message], field: str, rule: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        make()

    assert (refused.value.field, refused.value.rule) == (field, rule)


@pytest.mark.parametrize(("bad", "rule"), [("a\x00b", NUL_RULE), ("a\ud800b", SURROGATE_RULE)])
@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda bad: Text("x", bad), "text"),
        (lambda bad: Text("x", "x", sender=bad), "sender"),
        (lambda bad: Template("x", "x", variables={bad: "v"}), "variables"),
        (lambda bad: Template("x", "x", variables={"n": bad}), "variables"),
        (lambda bad: Email("x", "x", cc=["ok", bad]), "cc"),
        (lambda bad: Email("x", "x", attachments=[{"filename": bad}]), "attachments"),
    ],
)
def test_characters_that_no_database_stores_are_refused(
    make: Callable[[str], Message], field: str, bad: str, rule: str
) -> None:
    with pytest.raises(InvalidMessage) as refused:
        make(bad)

    assert (refused.value.field, refused.value.rule) == (field, rule)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"to": "x", "text": "x"}, "kind: must be one of text, media, template, email"),
        ({"kind": "fax", "to": "x"}, "kind: must be one of text, media, template, email"),
        ({"kind": ["text"]}, "kind: must be one of text, media, template, email"),
        ({"kind": "text", "to": "x"}, "text: is required in a text message"),
        ({"kind": "text"}, "to: is required in a text message"),
        ({"kind": "media", "to": "x", "url": "x"}, "media_type: is required in a media message"),
        (
            {"kind": "text", "to": "x", "text": "x", "html": "x"},
            "html: is not a field of a text message; it has reply_to, sender, text, to",
        ),
        ({"kind": "text", "to": 7, "text": "x"}, "to: must be a string"),
    ],
)
def test_data_that_is_no_message_is_refused_in_one_sentence(data: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        from_json(data)

    assert str(refused.value) == sentence


ANYTHING = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=2)


@settings(deadline=None)  # a busy machine is not a defect
@given(
    st.dictionaries(
        st.sampled_from(["kind", "to", "text", "url", "media_type", "template", "variables", "subject", "cc", "x"]),
        ANYTHING | st.sampled_from(list(KINDS)) | st.dictionaries(st.text(), ANYTHING, max_size=2),
    )
)
def test_any_data_is_a_message_or_is_refused(data: dict[str, Any]) -> None:
    try:
        message = from_json(data)
    except InvalidMessage:
        return
    assert from_json(message.as_json()) == message
