"""What an account carries is data: it survives the database, and refuses the first field that breaks a rule."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paceline.capabilities import ANY, Capabilities, Rule, check
from paceline.errors import InvalidMessage
from paceline.messages import Email, Media, Message, Template, Text

TO = Rule(required=True, pattern=r"\+[1-9]\d{6,14}", hint="a phone number such as +4915112345678")
CAPABILITIES = Capabilities(
    kinds={
        "text": {"to": TO, "text": Rule(required=True, min_length=1, max_length=5), "sender": Rule(max_length=11)},
        "template": {
            "to": TO,
            "template": ANY,
            "language": Rule(required=True),
            "variables": Rule(max_items=2, max_length=3),
        },
        "email": {
            "to": ANY,
            "subject": ANY,
            "cc": Rule(max_items=2, max_length=7, pattern=r".+@.+", hint="addresses"),
            "attachments": Rule(max_items=1, max_length=9),
        },
    },
    metadata=Rule(max_items=2, max_length=4),
    options={
        "tag": Rule(min_length=2, one_of=("ab", "abc")),
        "ttl": Rule(max_number=10),
        "tags": Rule(required=True, max_items=1),
        "args": Rule(max_json=12),
        "names": Rule(names="[a-z]", names_hint="single letters"),
        "deep": Rule(members={"inner": Rule(required=True, members={"ab": Rule(one_of=("a", "b"))})}),
        "of_text": Rule(needs="text", unless=("sender",)),
    },
)
JSON_RULE = "must be text, a finite number, true or false, or a list or mapping of these"
PHONE = "+4915112345678"


def refusal(message: Message, metadata: Any = None, options: Any = None) -> str:
    with pytest.raises(InvalidMessage) as refused:
        check(CAPABILITIES, "main", message, metadata, options)
    return str(refused.value)


@pytest.mark.parametrize(
    "message",
    [
        Text(PHONE, "x"),
        Text(PHONE, "🐢🐢🐢🐢🐢"),  # code points, not bytes
        Text(PHONE, "x", sender="ElevenChars"),
        Template(PHONE, "hello", "en", {"abc": "abc", "b": ""}),
        Email("anything", "", cc=["a@b", "abc@def"]),
        Email("anything", "", attachments=[{"filename": "nine.text"}]),
    ],
)
def test_a_message_within_the_rules_passes(message: Message) -> None:
    check(CAPABILITIES, "main", message, {"four": "four", "k": ""}, {"tag": "ab", "ttl": 10, "tags": ["x"]})
    check(CAPABILITIES, "main", message, options={"args": {"a": "1234"}, "deep": {"inner": {}}, "names": {"a": "x"}})


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            Media(PHONE, "https://a/b", "image/png"),
            "message: account main carries text and template and email, not media",
        ),
        (Text("4915112345678", "x"), "to: must be a phone number such as +4915112345678"),
        (Text(PHONE + "\n", "x"), "to: must be a phone number such as +4915112345678"),
        (Text(PHONE, ""), "text: must have at least 1 character"),
        (Text(PHONE, "123456"), "text: must have at most 5 characters, this one has 6"),
        (Text(PHONE, "x", sender="TwelveChars!"), "sender: must have at most 11 characters, this one has 12"),
        (Text(PHONE, "x", reply_to="m"), "reply_to: account main has no such field; leave it out"),
        (Template(PHONE, "hello"), "language: is required"),
        (
            Template(PHONE, "t", "en", {"a": "1", "b": "2", "c": "3"}),
            "variables: may hold at most 2 entries, this one holds 3",
        ),
        (Template(PHONE, "t", "en", {"abcd": "1"}), "variables: must have at most 3 characters, this one has 4"),
        (Template(PHONE, "t", "en", {"a": "1234"}), "variables: must have at most 3 characters, this one has 4"),
        (Email("x", "x", cc=["a@b", "a@c", "a@d"]), "cc: may hold at most 2 entries, this one holds 3"),
        (Email("x", "x", cc=["a@b", "abcd@efg"]), "cc: must have at most 7 characters, this one has 8"),
        (Email("x", "x", cc=["a@b", "nobody"]), "cc: must be addresses"),
        (Email("x", "x", html="<p>"), "html: account main has no such field; leave it out"),
        (Email("x", "x", headers={"X-A": "1"}), "headers: account main has no such field; leave it out"),
        (Email("x", "x", attachments=[{"a": "1"}] * 2), "attachments: may hold at most 1 entries, this one holds 2"),
        (
            Email("x", "x", attachments=[{"filename": "ten.texttt"}]),
            "attachments: must have at most 9 characters, this one has 10",
        ),
    ],
)
def test_a_message_that_breaks_a_rule_is_refused_in_one_sentence(message: Message, sentence: str) -> None:
    assert refusal(message) == sentence


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        ({"a": "1", "b": "2", "c": "3"}, "metadata: may hold at most 2 entries, this one holds 3"),
        ({"fives": "1"}, "metadata: must have at most 4 characters, this one has 5"),
        ({"k": "fives"}, "metadata: must have at most 4 characters, this one has 5"),
        ({"k": 1}, "metadata: must map strings to strings"),
        ({1: "k"}, "metadata: must map strings to strings"),
        ({"k": None}, "metadata: must map strings to strings"),
        (["k"], "metadata: must map strings to strings"),
        ({"k": "a\x00"}, "metadata: must not contain the character NUL"),
        ({"\ud800": "v"}, "metadata: must be valid Unicode, without lone surrogates"),
    ],
)
def test_metadata_has_a_rule_of_its_own(metadata: Any, sentence: str) -> None:
    assert refusal(Text(PHONE, "x"), metadata=metadata) == sentence


def test_metadata_without_a_rule_is_only_checked_for_its_types() -> None:
    silent = Capabilities(kinds={"text": {"to": ANY, "text": ANY}})

    check(silent, "main", Text("x", "x"), {"k" * 1000: "v" * 1000})
    with pytest.raises(InvalidMessage, match="metadata: must map strings to strings"):
        check(silent, "main", Text("x", "x"), {"k": 1})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"labelName": "x"},
            "options.labelName: is not an option of account main; it takes tag, ttl, tags, args, names, deep, of_text",
        ),
        ({"tag": "a"}, "options.tag: must have at least 2 characters"),
        ({"tag": "abcd"}, "options.tag: must be one of ab, abc"),
        ({"ttl": 10.5}, "options.ttl: must be at most 10"),
        ({"tags": ["a", "b"]}, "options.tags: may hold at most 1 entries, this one holds 2"),
        ({"tags": []}, "options.tags: is required"),
        ({"tag": 7}, "options.tag: must be a string"),
        ({"tag": {"ab": 7}}, "options.tag: must be a string"),
        ({"tag": "a\x00"}, "options.tag: must not contain the character NUL"),
        ({"tags": [{7: "x"}]}, "options.tags: must be a string"),
        ({"tags": [object()]}, f"options.tags: {JSON_RULE}"),
        ({"ttl": float("nan")}, f"options.ttl: {JSON_RULE}"),
        ({"ttl": "10"}, "options.ttl: must be a number"),
        ({"ttl": True}, "options.ttl: must be a number"),
        ({"args": {"a": "12345"}}, "options.args: must have at most 12 characters as JSON, this one has 13"),
        ({"args": '{ "a" : "12345" }'}, "options.args: must have at most 12 characters as JSON, this one has 13"),
        ({"args": "[1]"}, "options.args: must be a JSON object"),
        ({"args": "{"}, "options.args: must be a JSON object"),
        ({"args": 7}, "options.args: must be a JSON object"),
        ({"args": '{"a":NaN}'}, f"options.args: {JSON_RULE}"),
        ({"names": {"a": "x", "ab": "x"}}, "options.names: must have only names that are single letters"),
        ({"names": "a"}, "options.names: must map names to texts"),
        ({"deep": "x"}, "options.deep: must be a mapping with inner"),
        ({"deep": {"other": {}}}, "options.deep.other: is not a member of it; it has inner"),
        ({"deep": {"inner": None}}, "options.deep.inner: is required"),
        ({"deep": {"inner": {"ab": "c"}}}, "options.deep.inner.ab: must be one of a, b"),
    ],
)
def test_an_option_has_a_rule_of_its_own(options: Any, sentence: str) -> None:
    assert refusal(Text(PHONE, "x"), options=options) == sentence


def test_an_option_goes_with_some_fields_and_without_others() -> None:
    given = {"of_text": "x"}

    check(CAPABILITIES, "main", Text(PHONE, "x"), options=given)
    check(CAPABILITIES, "main", Template(PHONE, "t", "en"), options=given)  # which has neither field
    check(CAPABILITIES, "main", Text(PHONE, "x", sender="A"), options={"of_text": ""})  # which is as good as none
    assert refusal(Text(PHONE, "x", sender="A"), options=given) == (
        "options.of_text: does not go with sender: give one of the two"
    )
    rules = Capabilities({"email": {"to": ANY, "subject": ANY, "text": ANY}}, options={"x": Rule(needs="html")})
    with pytest.raises(InvalidMessage, match=r"^options\.x: goes with html only: give that too, or leave it out$"):
        check(rules, "main", Email("a", "b", text="c"), options={"x": "y"})


def test_an_account_without_options_says_so() -> None:
    silent = Capabilities(kinds={"text": {"to": ANY, "text": ANY}})

    with pytest.raises(InvalidMessage, match=r"^options\.x: is not an option of account main; it takes none$"):
        check(silent, "main", Text("x", "x"), options={"x": 1})


def test_a_refusal_never_repeats_the_value() -> None:
    secret = "secret-recipient"

    assert secret not in refusal(Text(secret, "x"))
    assert secret not in refusal(Text(PHONE, secret))
    assert secret not in refusal(Text(PHONE, "x"), metadata={"k": secret})
    assert secret not in refusal(Text(PHONE, "x"), options={"tag": secret})


def test_capabilities_survive_the_database() -> None:
    stored = json.loads(json.dumps(CAPABILITIES.as_json()))

    assert Capabilities.from_json(stored) == CAPABILITIES


def test_only_what_a_rule_says_is_stored() -> None:
    stored = Capabilities(kinds={"text": {"to": ANY, "text": Rule(required=True, max_length=5)}}).as_json()

    assert stored["kinds"] == {"text": {"to": {}, "text": {"required": True, "max_length": 5}}}
    assert (stored["metadata"], stored["options"], stored["calls"]) == (None, {}, {})


def test_members_that_a_newer_worker_added_are_ignored() -> None:
    stored = {
        "kinds": {"text": {"to": {"max_length": 5, "min_words": 2}}},
        "webhooks": {"events": ["read"]},
        "metadata": {"max_items": 3, "min_words": 2},
        "options": {"tag": {"one_of": ["a", "b"], "min_words": 2}},
    }

    assert Capabilities.from_json(stored) == Capabilities(
        kinds={"text": {"to": Rule(max_length=5)}},
        metadata=Rule(max_items=3),
        options={"tag": Rule(one_of=("a", "b"))},
    )


NUMBERS = st.none() | st.integers(0, 10_000)
RULES = st.builds(
    Rule,
    required=st.booleans(),
    min_length=NUMBERS,
    max_length=NUMBERS,
    max_items=NUMBERS,
    pattern=st.none() | st.sampled_from([r"[a-z]+", r"\+\d{7,15}"]),
    hint=st.text(),
    one_of=st.lists(st.text()).map(tuple),
    max_number=st.none() | st.floats(0, 1e9),
    names=st.text(),
    members=st.none() | st.dictionaries(st.text(), st.builds(Rule, required=st.booleans()), max_size=2),
    max_json=NUMBERS,
    needs=st.text(),
    unless=st.lists(st.text()).map(tuple),
)
FIELDS = st.dictionaries(st.text(), RULES, max_size=3)


@settings(deadline=None)  # a busy machine is not a defect
@given(
    st.builds(
        Capabilities,
        kinds=st.dictionaries(st.sampled_from(["text", "media"]), FIELDS),
        metadata=RULES | st.none(),
        options=FIELDS,
    )
)
def test_any_capabilities_survive_the_database(capabilities: Capabilities) -> None:
    assert Capabilities.from_json(json.loads(json.dumps(capabilities.as_json()))) == capabilities
