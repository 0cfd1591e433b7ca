"""Content at rest: recipients, bodies and what people wrote, encrypted where the installation has a key for it.

A value then begins with `enc1:`, and is bound to its table, column and row (`paceline.ciphers`). Where recipients are
compared, their column holds a keyed digest instead, `mac1:…`; and providers' ids that hold an address are encrypted so
that they can be searched, `siv1:…`. Values without a mark were stored before there was a key,
and stay readable.

Of a process' keys the first encrypts and all decrypt. The secrets of digests belong to the installation: its row holds
them, encrypted under every key, so that a new key changes no digest. That row also says whether content is encrypted
here at all: nobody writes in the clear beside others who do not.
"""

import functools
import hmac
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sqlalchemy import Connection, Engine, select

from paceline import tables
from paceline.ciphers import SEALED, SEARCHED, Cipher, Searched, Unreadable, ciphers
from paceline.errors import ContentLocked

NAMED = "mac1:"
HIDDEN: Mapping[str, Any] = {"content": "(encrypted)"}  # shown where there is no key to read it with
BROKEN: Mapping[str, Any] = {"content": "(unreadable)"}  # shown where a row was damaged, beside those that were not
VARIABLE = "PACELINE_CONTENT_KEY"

_OPTION = "paceline_keyring"  # the execution option by which every connection of an engine has its keys
_DIGITS = 40  # hexadecimal, of a digest
_PLACE = "installation"


@dataclass(frozen=True, slots=True)
class Content:
    """How content is written by an installation without keys: as it is. `secret` keys its digests."""

    clear: ClassVar[bool] = True  # nothing need be asked of it

    secret: bytes = field(default=b"", repr=False)

    def seal(self, text: str, *place: str) -> str:  # noqa: ARG002  # what encrypts needs it
        """The text as its row holds it; `place` names table, column and row. Raises `ContentLocked`."""
        return text

    def name(self, channel: str, recipient: str) -> str:  # noqa: ARG002  # likewise
        """The recipient as a column holds it that is searched. Raises `ContentLocked`."""
        return recipient

    def id(self, provider_id: str) -> str:
        """A provider's id for a message as a column holds it that is searched. Raises `ContentLocked`."""
        return provider_id

    def id_in(self, stored: str) -> str:
        """The provider's id that was stored like this; `(encrypted)` if nobody can tell. Raises `Unreadable`."""
        return HIDDEN["content"] if stored.startswith(SEARCHED) else stored

    def keyed(self, digest: str) -> str:
        """A digest of content as a column holds it: without the secret, nobody can tell of what it is."""
        return digest

    def same(self, stored: str, plain: str) -> bool:
        """Whether the stored one is `keyed` of this digest, or was stored before there was a key."""
        return stored in (plain, self.keyed(plain))


CLEAR = Content()


@dataclass(frozen=True, slots=True)
class Encrypting(Content):
    """How it is written with a key."""

    clear: ClassVar[bool] = False

    cipher: Any = field(default=None, repr=False)
    lookup: bytes = field(default=b"", repr=False)
    searched: Any = field(default=None, repr=False)

    def seal(self, text: str, *place: str) -> str:
        return text if text == tables.ERASED else str(self.cipher.seal(text, place))

    def name(self, channel: str, recipient: str) -> str:
        return self._digest("recipient", channel, recipient)

    def id(self, provider_id: str) -> str:
        # An e-mail's often ends with its recipient's address; others say nothing, and serve whoever looks for them.
        return str(self.searched.seal(provider_id)) if "@" in provider_id else provider_id

    def id_in(self, stored: str) -> str:
        return str(self.searched.open(stored)) if stored.startswith(SEARCHED) else stored

    def keyed(self, digest: str) -> str:
        return self._digest("digest", digest)

    def _digest(self, *parts: str) -> str:
        if parts[-1].startswith(NAMED):
            return parts[-1]
        said = "\x1f".join(parts).encode("utf-8", "surrogatepass")
        return NAMED + hmac.digest(self.lookup, said, "sha256").hex()[:_DIGITS]


@dataclass(frozen=True, slots=True)
class _Locked(Content):
    clear: ClassVar[bool] = False

    sentence: str = ""

    def seal(self, *_: str) -> str:
        raise ContentLocked(self.sentence)

    def name(self, *_: str) -> str:
        raise ContentLocked(self.sentence)

    def id(self, provider_id: str) -> str:
        if "@" in provider_id:
            raise ContentLocked(self.sentence)
        return provider_id

    def keyed(self, *_: str) -> str:
        raise ContentLocked(self.sentence)


class Keyring:
    """The keys of one process. Without any it reads what is in the clear, and says of the rest that it cannot.

    What the installation's row says is called `said`, empty where content is in the clear.
    """

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._ciphers: Mapping[str, Cipher] = ciphers(keys)
        self._known: tuple[tuple[str, str], Content] | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        """The keys' ids, the one that encrypts first."""
        return tuple(self._ciphers)

    def open(self, stored: str, *place: str) -> str:
        """What `seal` was given for this place; a value that was stored in the clear as it is. Raises `Unreadable`."""
        if not stored.startswith(SEALED):
            return stored
        key, _, packed = stored.removeprefix(SEALED).partition(":")
        cipher = self._ciphers.get(key)
        if cipher is None:
            raise Unreadable(f"its content is encrypted under the key {key}, which {VARIABLE} does not hold")
        return cipher.open(packed, place)

    def shown(self, stored: str, *place: str) -> Any:
        """The JSON in a stored value for people to see; `HIDDEN` without its key, `BROKEN` if it is none."""
        try:
            return json.loads(self.open(stored, *place))
        except Unreadable:
            return HIDDEN
        except (ValueError, RecursionError):
            return BROKEN

    def content(self, said: str, digest_secret: str) -> Content:
        """How content is written there; of an installation without keys `digest_secret` keys the digests."""
        asked, known = (said, digest_secret), self._known
        if known is None or known[0] != asked:
            known = self._known = (asked, self._content(said, digest_secret))
        return known[1]

    def check(self, said: str) -> None:
        """Raise `ContentLocked` unless all keys are here under which something there may be encrypted."""
        lacking = [key for key in key_ids(said) if key not in self._ciphers]
        if lacking:
            raise ContentLocked(
                f"This database's content is encrypted: {VARIABLE}, or content.key, must hold the key "
                f"{' and the key '.join(lacking)}; `paceline encrypt` takes an old key out of use."
            )
        if self._ciphers and not said:
            raise ContentLocked(
                "A content key is set, and this database holds content in the clear: run `paceline migrate` with it."
            )

    def locks(self, said: str) -> bool:
        """Whether `check` raises."""
        if not said and not self._ciphers:
            return False
        try:
            self.check(said)
        except ContentLocked:
            return True
        return False

    def prepared(self, said: str, digest_secret: str) -> str:
        """What the row says from now on: that these keys are in use. Raises `ContentLocked` if an older one is missing.

        Digests keep their secret, so that what was stored in the clear is recognised when it comes again.
        """
        if said or not self._ciphers:
            self.check(said)
        if not self._ciphers:
            return said
        fresh = {"digest": digest_secret, "lookup": os.urandom(32).hex()}
        return self._said(self._ciphers.values(), self._secrets(said) if said else fresh)

    def only_first(self, said: str) -> str:
        """What the row says once nothing is encrypted under any key but the first."""
        return self._said(list(self._ciphers.values())[:1], self._secrets(said))

    @property
    def mark(self) -> str:
        """How a value begins that is encrypted under the first key."""
        return next(iter(self._ciphers.values())).mark

    def _said(self, chosen: Iterable[Cipher], secrets: Mapping[str, str]) -> str:
        text = json.dumps(secrets)
        return json.dumps([{"key": cipher.id, "secrets": cipher.seal(text, (_PLACE,))} for cipher in chosen])

    def _secrets(self, said: str) -> dict[str, str]:
        row = next(row for row in json.loads(said) if row["key"] in self._ciphers)
        found: dict[str, str] = json.loads(self.open(row["secrets"], _PLACE))
        return found

    def _content(self, said: str, digest_secret: str) -> Content:
        known = [key for key in key_ids(said) if key in self._ciphers]
        if not known:
            try:
                self.check(said)
            except ContentLocked as locked:
                return _Locked(sentence=str(locked))
            return Content(digest_secret.encode())
        secrets = self._secrets(said)
        lookup = bytes.fromhex(secrets["lookup"])
        return Encrypting(secrets["digest"].encode(), self._ciphers[known[0]], lookup, Searched(lookup))


EMPTY = Keyring()


def key_ids(said: str) -> list[str]:
    """The ids of the keys that the installation's row names, the one that encrypts first; none if it names none."""
    return [row["key"] for row in json.loads(said)] if said else []


def attach(engine: Engine, keys: Sequence[bytes]) -> Engine:
    """The engine, its connections with these keys. Raises `ConfigurationError` if what encrypts is not installed."""
    if keys:
        engine.update_execution_options(**{_OPTION: _ring(tuple(keys))})
    return engine


@functools.lru_cache(maxsize=8)
def _ring(keys: tuple[bytes, ...]) -> Keyring:
    return Keyring(keys)


def keyring_of(connection: Connection) -> Keyring:
    """The keys that the connection's engine was given."""
    ring: Keyring = connection.get_execution_options().get(_OPTION, EMPTY)
    return ring


def content_of(connection: Connection) -> Content:
    """How content is written on this database, as its installation's row says now."""
    row = connection.execute(SAID_AND_SECRET).one_or_none()
    return CLEAR if row is None else keyring_of(connection).content(row[0], row[1])


_installation = tables.columns(tables.Installation)
SAID = _installation.c.content
SAID_AND_SECRET = select(SAID, _installation.c.digest_secret)
