"""Whatever is written into a file or handed to the door, the answer is the documented error, and quotes no secret."""

import json
import math
import os
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from config.settings import SECTIONS, load
from paceline.broadcast.file import load as load_broadcast
from paceline.broadcast.recipients import BadRecipients, Row, read
from paceline.door import check_extras, check_key, check_priority, check_times, payload_of
from paceline.errors import ConfigurationError, InvalidMessage
from paceline.limit import Limit, parse_duration
from paceline.messages import KINDS, Message, from_json
from providers.registry import PROVIDERS

SECRET = "hunter4711planted"
ENVIRON = {"SECRET": SECRET}
FEW = settings(deadline=None, max_examples=150)  # a busy machine is not a defect

WORDS = [
    *SECTIONS, *PROVIDERS, "url", "bind", "processes", "task", "queue", "broker", "provider", "api_key", "base_url",
    "limits", "send", "status", "retry", "schedule", "poll", "give_up_after", "options", "timeout", "reserve", "guard",
    "on_unknown", "basic_auth", "public_url", "webhook_secret", "session_id", "project_id", "content", "main", "sms",
]  # fmt: skip
TEXTS = (
    st.sampled_from([
        SECRET, "${SECRET}", "${UNSET}", "${", "${}", f"https://{SECRET}@h", f"redis://:{SECRET}@h/x",
        f"postgresql://u:{SECRET}@h:x/d", f"sentinel://{SECRET}", "127.0.0.1:1", "100/minute", "1/day@Nowhere", "30s",
        "aurogy", "augnet", "aulm", "embedded", "http://h", "a:b", "${SECRET}:80", "-1", "5%",
    ])
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=8)
)  # fmt: skip
NAMES = st.sampled_from(WORDS) | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=5)
SCALARS = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | TEXTS | st.datetimes()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=6
)
ACCOUNT = st.fixed_dictionaries(
    {"provider": st.sampled_from(sorted(PROVIDERS)) | VALUES},
    optional={name: VALUES for name in WORDS if name not in (*SECTIONS, *PROVIDERS, "provider")},
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.dictionaries(NAMES, VALUES, max_size=4) | VALUES for name in SECTIONS if name != "accounts"},
        "accounts": st.dictionaries(NAMES, ACCOUNT, max_size=2) | VALUES,
    },
)


def toml(value: Any) -> str:
    """The value as TOML writes it inline."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {toml(item)}" for name, item in value.items()) + "}"
    return repr(value)


def refusal(kind: type[Exception], call: Callable[[], object]) -> str:
    """What the call says when it refuses; nothing if it does not."""
    try:
        call()
    except kind as error:
        return f"{type(error).__name__} {error}"
    return ""


def refused(file: Path) -> str:
    """What is said about the file; nothing if it can be used."""
    try:
        settings = load(file, environ=ENVIRON)
    except ConfigurationError as error:
        return str(error)
    assert SECRET not in repr(settings)
    return ""


@FEW
@given(DOCUMENTS)
def test_any_toml_is_a_configuration_or_is_refused_without_a_secret(document: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "paceline.toml"
        file.write_text("".join(f"{name} = {toml(value)}\n" for name, value in document.items()))

        said = refused(file)

    assert SECRET not in said
    assert all(line.startswith(str(file)) for line in said.splitlines())


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_field_of_an_account_quotes_what_it_was_given(provider: str, tmp_path: Path) -> None:
    """Given a secret in a field where it does not belong, read from the environment, then no sentence quotes it."""
    known = PROVIDERS[provider]
    inner: dict[str, Any] = {"limits": {name: ["${SECRET}"] for name in known.limits}}
    inner |= {"retry": {"schedule": ["${SECRET}"]}}
    inner |= {"poll": {"schedule": ["${SECRET}"], "give_up_after": "${SECRET}"}}
    inner |= {"options": dict.fromkeys(known.options, "${SECRET}")}
    fields = [credential.name for credential in known.credentials]
    fields += ["base_url", "timeout", "reserve", "on_unknown", "guard", "region"]
    file = tmp_path / "paceline.toml"
    account = {"provider": provider, **dict.fromkeys(fields, "${SECRET}"), **inner}
    file.write_text(f"accounts = {{main = {toml(account)}}}\n")

    said = refused(file)

    assert said.count("\n") > 5
    assert SECRET not in said


@FEW
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace")))
@example(b"[accounts.a]\napi_key = 'hunter4711planted\n")
@example(b"\xff\xfe")
def test_any_bytes_are_a_configuration_or_are_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "paceline.toml"
        file.write_bytes(data)

        assert SECRET not in refused(file)


DEEP = b"a." * 2000
OUTSIZED = [
    b"x = " + b"[" * 100_000,
    b"x = " + b"{a = " * 5000,
    b"[worker]\nprocesses = " + b"9" * 5000,
    b"accounts.a." + DEEP + b"a = 1",
    b"[accounts.a]\nprovider = 'aurogy'\noptions." + DEEP + b"a = 1",
]


@pytest.mark.parametrize("data", OUTSIZED, ids=["lists", "tables", "digits", "keys", "options"])
def test_what_is_too_deep_or_too_long_is_refused_in_a_sentence(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "paceline.toml"
    file.write_bytes(data)

    assert refused(file).startswith(f"{file}: must ")


@pytest.mark.parametrize("data", OUTSIZED, ids=["lists", "tables", "digits", "keys", "options"])
def test_nor_is_it_a_broadcast(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "sale.toml"
    file.write_bytes(data)

    assert refusal(InvalidMessage, lambda: load_broadcast(file))


def test_a_configuration_is_no_pipe(tmp_path: Path) -> None:
    """Given a pipe that nobody writes to, then nobody waits for it."""
    os.mkfifo(tmp_path / "paceline.toml")

    assert "not a pipe" in refused(tmp_path / "paceline.toml")


CELLS = st.sampled_from([SECRET, "to", "name", '"', ",", ";", "\n", "\r\n", "\t", "{", "}", ":", "[", "null", "\x00"])
ROWS = st.lists(CELLS | st.text(max_size=3), max_size=30).map(lambda cells: "".join(cells).encode("utf-8", "replace"))
OBJECTS = st.lists(st.dictionaries(st.sampled_from(["to", "a"]), VALUES, max_size=3) | VALUES, max_size=4).map(
    lambda rows: "\n".join(json.dumps(row, default=str) for row in rows).encode("utf-8", "replace")
)


@FEW
@given(st.binary(max_size=300) | ROWS | OBJECTS, st.sampled_from([".csv", ".jsonl", ".json", ".ndjson", ".txt", ""]))
@example(b"[" * 100_000, ".jsonl")
@example(b'{"a": ' + b"9" * 5000 + b"}", ".jsonl")
@example(b'{"a": 1e999}', ".jsonl")
@example(b'to\n"' + b"x" * 2_000_000, ".csv")
@example(b"to\r+1\r+2\r", ".csv")
def test_any_file_is_recipients_or_is_refused(data: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / f"people{suffix}"
        file.write_bytes(data)
        rows: list[Row] = []
        said = refusal(BadRecipients, lambda: rows.extend(read(file)))
    assert SECRET not in said + repr(rows)
    assert bool(said) or bool(rows)
    assert all(isinstance(cell, str) for row in rows for cell in row.columns.values())


@pytest.mark.parametrize("name", ["people.csv", "people.jsonl"])
def test_recipients_are_no_pipe(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)

    assert "not a pipe" in refusal(BadRecipients, lambda: list(read(tmp_path / name)))


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


OVERGROWN = {"deep": nested(60), "very deep": nested(100_000), "long": 10**400, "very long": -(10**5000)}


@pytest.mark.parametrize("name", OVERGROWN)
def test_options_that_nobody_can_write_are_refused(name: str) -> None:
    said = refusal(InvalidMessage, lambda: check_extras(None, {"extra": {"in": OVERGROWN[name]}}))

    assert said.startswith("InvalidMessage options.extra: must ")


@pytest.mark.parametrize("value", [nested(10), 10**300, True, {"a": [{"b": 1.5}]}], ids=str)
def test_what_is_large_and_can_be_written_is_taken(value: Any) -> None:
    check_extras(None, {"extra": value})
    assert payload_of({}, None, {"extra": value})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(SECRET),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted({name for kind in KINDS.values() for name in kind.__dataclass_fields__})


@FEW
@given(st.sampled_from(sorted(KINDS)), st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), JSON))
def test_any_json_is_a_message_or_is_refused(kind: str, data: dict[str, Any]) -> None:
    found: list[Message] = []
    said = refusal(InvalidMessage, lambda: found.append(from_json({"kind": kind, **data})))
    assert SECRET not in said + repr(found)
    assert bool(said) != bool(found)
    assert all(from_json(json.loads(json.dumps(message.as_json()))) == message for message in found)


@FEW
@given(JSON, JSON)
def test_any_metadata_and_options_can_be_stored_or_are_refused(metadata: Any, options: Any) -> None:
    stored: list[str] = []

    def store() -> None:
        check_extras(metadata, options)
        stored.append(payload_of({"kind": "text"}, metadata, options))

    said = refusal(InvalidMessage, store)
    assert SECRET not in said or SECRET in _names(metadata, options)
    for text in stored:
        json.loads(text.encode(), parse_constant=_none_such)
        assert "\\u0000" not in text.replace("\\\\", "")


def _names(*given: Any) -> str:
    return str([list(each) for each in given if isinstance(each, dict)])


def _none_such(word: str) -> None:
    raise AssertionError(f"{word} is not JSON")


@FEW
@given(JSON | st.datetimes(), JSON | st.datetimes(), JSON, JSON)
def test_any_time_key_and_priority_is_one_or_is_refused(start: Any, end: Any, key: Any, priority: Any) -> None:
    for check in (lambda: check_times(start, end), lambda: check_key(key), lambda: check_priority(priority)):
        assert SECRET not in refusal(InvalidMessage, check)


LIMITS = st.from_regex(r"\A[0-9]{0,4}/?([0-9]{0,3}[smhd]|day|minute|day@[A-Za-z/.]{0,12})\Z") | st.text(max_size=12)


@FEW
@given(LIMITS)
@example("1/day@../../etc/passwd")
@example("1/day@/etc/passwd")
@example("1/day@\x00")
@example("\u0661/minute")
def test_any_text_is_a_limit_or_is_refused(text: str) -> None:
    found: list[Limit] = []
    said = refusal(ValueError, lambda: found.append(Limit.parse(text)))
    assert bool(said) != bool(found)
    assert "\n" not in said
    assert all(limit.count > 0 and (limit.window is None or limit.window > 0) for limit in found)


@FEW
@given(LIMITS | st.floats() | st.integers() | st.booleans() | st.none() | st.lists(st.text(), max_size=1))
@example("9" * 400 + "h")
@example(10**400)
def test_any_value_is_a_duration_or_is_refused(value: Any) -> None:
    found: list[float] = []
    said = refusal(ValueError, lambda: found.append(parse_duration(value)))
    assert bool(said) != bool(found)
    assert all(0 <= seconds < math.inf for seconds in found)
