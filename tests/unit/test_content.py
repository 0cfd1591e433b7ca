"""Keys and what they encrypt: what is bound to its place, what another key reads, and what nobody can."""

import base64
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import paceline
from paceline import ciphers
from paceline.ciphers import SEALED, Unreadable, parse_keys
from paceline.connection import resolve
from paceline.content import CLEAR, NAMED, Keyring, key_ids
from paceline.errors import ConfigurationError, ContentLocked

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
PLACE = ("message", "018f-1")
SECRET = "the installation's"


def printed(key: bytes) -> str:
    return base64.b64encode(key).decode()


def test_a_value_is_read_where_it_was_written_and_nowhere_else() -> None:
    ring = Keyring([OLD])
    sealed = ring.content(ring.prepared("", SECRET), "").seal('{"to": "+15550100"}', *PLACE)

    assert sealed.startswith(f"{SEALED}{ring.ids[0]}:")
    assert ring.open(sealed, *PLACE) == '{"to": "+15550100"}'
    for place in (("message", "018f-2"), ("job", "018f-1"), ("message",), ("message", "018f-1", "")):
        with pytest.raises(Unreadable, match="was changed, or belongs to another row"):
            ring.open(sealed, *place)


def test_the_same_is_never_written_the_same_way_twice() -> None:
    ring = Keyring([OLD])
    safe = ring.content(ring.prepared("", SECRET), "")

    assert len({safe.seal("the same", *PLACE) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "harm",
    [
        lambda sealed: sealed[:-5] + ("A" if sealed[-5] != "A" else "B") + sealed[-4:],
        lambda sealed: sealed[:-8],
        lambda sealed: sealed.rpartition(":")[0] + ":",
        lambda sealed: sealed.rpartition(":")[0] + ":no base64!",
    ],
    ids=["changed", "cut", "empty", "garbled"],
)
def test_what_was_changed_is_not_read(harm: Callable[[str], str]) -> None:
    ring = Keyring([OLD])
    sealed = ring.content(ring.prepared("", SECRET), "").seal("+15550100", *PLACE)

    with pytest.raises(Unreadable, match="cannot be decrypted") as refused:
        ring.open(harm(sealed), *PLACE)
    assert "15550100" not in str(refused.value)


def test_what_was_stored_before_there_was_a_key_is_read_as_it_is() -> None:
    assert Keyring([OLD]).open('{"to": "+15550100"}', *PLACE) == '{"to": "+15550100"}'
    assert Keyring().open('{"to": "+15550100"}', *PLACE) == '{"to": "+15550100"}'


def test_what_is_erased_is_not_encrypted_so_that_retention_knows_it() -> None:
    ring = Keyring([OLD])

    assert ring.content(ring.prepared("", SECRET), "").seal("{}", *PLACE) == "{}"


def test_a_new_key_encrypts_and_the_old_one_still_reads() -> None:
    before = Keyring([OLD])
    said = before.prepared("", SECRET)
    old = before.content(said, "")
    sealed, name = old.seal("+15550100", *PLACE), old.name("sms", "+15550100")

    after = Keyring([NEW, OLD])
    rotated = after.prepared(said, "")
    new = after.content(rotated, "")

    assert key_ids(rotated) == list(after.ids)
    assert after.open(sealed, *PLACE) == "+15550100"
    assert new.seal("x", *PLACE).startswith(f"{SEALED}{after.ids[0]}:")
    assert (new.name("sms", "+15550100"), new.secret) == (name, SECRET.encode())  # digests know nothing of the new key
    with pytest.raises(Unreadable, match=f"under the key {after.ids[0]}, which PACELINE_CONTENT_KEY does not hold"):
        before.open(new.seal("x", *PLACE), *PLACE)


def test_nobody_writes_under_a_key_that_the_installation_does_not_know_yet() -> None:
    """A producer that was given the new key before `migrate` was goes on with the old one: the workers have that."""
    said = Keyring([OLD]).prepared("", SECRET)
    early = Keyring([NEW, OLD])

    assert early.content(said, "").seal("x", *PLACE).startswith(f"{SEALED}{Keyring([OLD]).ids[0]}:")


def test_a_key_is_needed_until_nothing_is_encrypted_under_it() -> None:
    both, new = Keyring([NEW, OLD]), Keyring([NEW])
    said = both.prepared(Keyring([OLD]).prepared("", SECRET), "")

    assert new.locks(said)
    with pytest.raises(ContentLocked, match=f"must hold the key {both.ids[1]}; `paceline encrypt`"):
        new.check(said)
    assert not new.locks(both.only_first(said))
    assert new.content(both.only_first(said), "").secret == SECRET.encode()


@pytest.mark.parametrize("keys", [[], [OTHER]], ids=["no key", "another key"])
def test_without_the_key_nothing_is_written_and_what_is_there_is_called_encrypted(keys: list[bytes]) -> None:
    said, ring = Keyring([OLD]).prepared("", SECRET), Keyring(keys)
    locked = ring.content(said, "")

    acts: list[Callable[[], str]] = [
        lambda: locked.seal("x", *PLACE),
        lambda: locked.name("sms", "x"),
        lambda: locked.keyed("x"),
        lambda: locked.id("1447$ana@example.org"),
    ]
    for act in acts:
        with pytest.raises(ContentLocked, match="content is encrypted: PACELINE_CONTENT_KEY, or"):
            act()
    with pytest.raises(ContentLocked):
        ring.prepared(said, "")
    assert ring.shown(Keyring([OLD]).content(said, "").seal('{"a": 1}', *PLACE), *PLACE) == {"content": "(encrypted)"}


@pytest.mark.parametrize("stored", ["not json", "[" * 100_000])
def test_what_was_damaged_is_shown_as_that_beside_what_was_not(stored: str) -> None:
    assert Keyring().shown(stored, *PLACE) == {"content": "(unreadable)"}


def test_a_key_that_the_installation_knows_nothing_of_writes_nothing_either() -> None:
    """Or its workers, who have none, could not read it."""
    with pytest.raises(ContentLocked, match="run `paceline migrate` with it"):
        Keyring([OLD]).content("", SECRET).seal("x", *PLACE)


def test_without_keys_everything_is_as_it_was() -> None:
    safe = Keyring().content("", SECRET)

    assert (safe.seal("x", *PLACE), safe.name("sms", "+1"), safe.keyed("abc")) == ("x", "+1", "abc")
    assert safe.secret == SECRET.encode()
    assert safe.clear
    assert not Keyring().locks("")
    assert CLEAR.same("abc", "abc")


def test_a_digest_tells_nothing_without_the_installations_secret_and_is_made_once() -> None:
    one, another = (ring.content(ring.prepared("", SECRET), "") for ring in (Keyring([OLD]), Keyring([OLD])))
    name = one.name("sms", "+15550100")

    assert name.startswith(NAMED)
    assert len({name, one.name("whatsapp", "+15550100"), one.name("sms", "+15550101"), one.keyed("+15550100")}) == 4
    assert name != another.name("sms", "+15550100")
    assert one.name("sms", name) == name
    assert one.same(one.keyed("abc"), "abc")
    assert one.same("abc", "abc")  # stored before there was a key
    assert not one.same(one.keyed("abd"), "abc")


def test_no_repr_and_no_stored_text_tells_a_key() -> None:
    ring = Keyring([OLD])
    said = ring.prepared("", SECRET)

    for text in (said, repr(ring.content(said, "")), repr(ring)):
        assert SECRET not in text
        assert "oooo" not in text
        assert printed(OLD) not in text


@pytest.mark.parametrize(
    "text", ["", "short", "o" * 32, printed(b"o" * 31), printed(b"o" * 33), f"{printed(OLD)},", "ö"]
)
def test_a_key_that_is_none_is_named_by_its_rule_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="keys of 32 bytes in base64, as `openssl rand -base64 32`") as refused:
        parse_keys(text)
    assert not text or text not in str(refused.value)


def test_keys_are_a_text_with_commas_or_a_list() -> None:
    assert parse_keys(f"{printed(NEW)}, {printed(OLD)}") == (NEW, OLD)
    assert parse_keys([printed(NEW), printed(OLD)]) == (NEW, OLD)
    assert parse_keys(base64.urlsafe_b64encode(b"\xff" * 32).decode()) == (b"\xff" * 32,)
    for wrong in ([], [printed(OLD), 7], None, 7):
        with pytest.raises(ValueError, match="keys of 32 bytes"):
            parse_keys(wrong)
    with pytest.raises(ValueError, match="each key once"):
        parse_keys([printed(OLD), printed(OLD)])


def test_without_the_package_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ciphers, "AESGCM", None)

    assert Keyring().ids == ()
    with pytest.raises(ConfigurationError, match=r"pip install 'paceline\[encryption\]'"):
        Keyring([OLD])


def test_nothing_of_the_package_is_needed_until_there_is_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    monkeypatch.delitem(sys.modules, "paceline.ciphers")
    monkeypatch.setattr(paceline, "ciphers", ciphers)  # which the import below replaces

    again = importlib.import_module("paceline.ciphers")

    assert again.ciphers(()) == {}
    with pytest.raises(ConfigurationError, match="needs the package cryptography"):
        again.ciphers([OLD])


def test_the_key_comes_from_the_environment_or_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    Path("paceline.toml").write_text('[content]\nkey = ["${NEW_KEY}", "${OLD_KEY}"]\n')
    environ = {"NEW_KEY": printed(NEW), "OLD_KEY": printed(OLD)}

    assert resolve(environ=environ).content_keys == (NEW, OLD)
    assert resolve(environ=environ | {"PACELINE_CONTENT_KEY": printed(OTHER)}).content_keys == (OTHER,)
    assert "OTHER" not in repr(resolve(environ=environ))
    with pytest.raises(ConfigurationError, match=r"content\.key: reads the environment variable OLD_KEY, which is not"):
        resolve(environ={"NEW_KEY": printed(NEW)})
    with pytest.raises(
        ConfigurationError, match=r"paceline\.toml: content\.key: must hold keys of 32 bytes"
    ) as refused:
        resolve(environ=environ | {"NEW_KEY": "secret-and-short"})
    assert "secret-and-short" not in str(refused.value)
    with pytest.raises(ConfigurationError, match=r"^the environment variable PACELINE_CONTENT_KEY: must hold"):
        resolve(environ=environ | {"PACELINE_CONTENT_KEY": "secret-and-short"})


def test_another_key_of_its_section_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    Path("paceline.toml").write_text(f"[content]\nkeys = {json.dumps(printed(OLD))}\n")

    with pytest.raises(ConfigurationError, match=r"content\.keys: is not a key of this table; it has key"):
        resolve(environ={})
