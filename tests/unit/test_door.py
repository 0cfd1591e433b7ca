"""The door, where it needs no database: clocks, sizes, the digest, and the order of the checks."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest

from paceline import Email, InvalidMessage, Outgoing, Template, Text
from paceline.capabilities import ANY, Capabilities, Rule
from paceline.directory import Carrier, Via
from paceline.door import MAX_PAYLOAD, Entry, admit, digest

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FREE = Capabilities(
    kinds={
        "text": {"to": ANY, "text": ANY},
        "template": {"to": ANY, "template": ANY, "variables": ANY},
        "email": {"to": ANY, "subject": ANY, "html": ANY, "headers": ANY},
    },
    options={"label": ANY},
)
MAIN = Via("main", (Carrier("main", FREE, "main/send"),))
HELLO = Outgoing(Text(to="+15550100", text="hello"), "main", idempotency_key="k")


def enter(item: Outgoing, via: Via = MAIN, secret: bytes = b"secret") -> Entry:
    return admit(item, via, secret, NOW.timestamp())


def test_expiry_is_judged_by_the_databases_clock() -> None:
    assert enter(replace(HELLO, expires_at=NOW + timedelta(seconds=1))).expires_at == NOW.timestamp() + 1
    with pytest.raises(InvalidMessage, match="expires_at: must lie in the future"):
        enter(replace(HELLO, expires_at=NOW))


def test_times_are_unix_seconds_whatever_their_zone() -> None:
    elsewhere = datetime.fromisoformat("2026-03-01T15:00:00+03:00")

    assert enter(replace(HELLO, send_at=elsewhere)).send_at == NOW.timestamp()


@pytest.mark.parametrize(
    "same",
    [
        replace(HELLO, priority="high"),
        replace(HELLO, send_at=NOW),
        replace(HELLO, metadata={"order": "1"}),
        replace(HELLO, options={"label": "x"}),
    ],
)
def test_the_digest_is_of_the_message_and_its_via_alone(same: Outgoing) -> None:
    assert enter(same).digest == enter(HELLO).digest


@pytest.mark.parametrize(
    "other",
    [
        replace(HELLO, message=Text(to="+15550100", text="hello!")),
        replace(HELLO, message=Text(to="+15550101", text="hello")),
        replace(HELLO, message=Template(to="+15550100", template="hello")),
    ],
)
def test_another_message_has_another_digest(other: Outgoing) -> None:
    assert enter(other).digest != enter(HELLO).digest


def test_another_via_or_installation_has_another_digest() -> None:
    assert enter(HELLO, via=replace(MAIN, name="backup")).digest != enter(HELLO).digest
    assert enter(HELLO, secret=b"another").digest != enter(HELLO).digest


def test_the_order_of_variables_does_not_matter_to_the_digest() -> None:
    one, two = ({"a": "1", "b": "2"}, {"b": "2", "a": "1"})

    assert digest(b"s", "main", {"variables": one}) == digest(b"s", "main", {"variables": two})


def test_any_mapping_will_do() -> None:
    message = Template(to="+1", template="t", variables=MappingProxyType({"name": "Ada"}))

    entry = enter(Outgoing(message, "main", options=MappingProxyType({"label": MappingProxyType({"a": 1})})))

    assert entry.payload == (
        '{"kind":"template","to":"+1","template":"t","variables":{"name":"Ada"},"options":{"label":{"a":1}}}'
    )


@pytest.mark.parametrize("character", ["x", "é", "漢", "𝄞"])
def test_the_size_is_counted_in_bytes(character: str) -> None:
    most = (MAX_PAYLOAD - len('{"kind":"email","to":"a","subject":"s","html":""}')) // len(character.encode())

    enter(Outgoing(Email(to="a", subject="s", html=character * most), "main"))
    with pytest.raises(InvalidMessage, match="at most 1,000,000 bytes as JSON, attachments and data URIs aside"):
        enter(Outgoing(Email(to="a", subject="s", html=character * (most + 1)), "main"))


def test_every_account_of_a_route_must_carry_it() -> None:
    short = Capabilities(kinds={"text": {"to": ANY, "text": Rule(max_length=3)}})
    route = Via("sms", (*MAIN.carriers, Carrier("backup", short, "backup/send")))

    with pytest.raises(InvalidMessage, match="text: must have at most 3 characters"):
        enter(replace(HELLO, via="sms"), via=route)


def test_an_entry_tells_nothing_of_its_content() -> None:
    told: Any = repr(enter(HELLO)) + repr(HELLO)

    assert "hello" not in told
    assert "0100" not in told
