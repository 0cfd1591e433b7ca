"""The keys under which content is encrypted, and the one place that knows the package which does it.

A key is 32 random bytes. From it are derived (HKDF-SHA256) what encrypts and the id by which values name it. A value is
AES-256-GCM with a random nonce of 96 bits: more than 2³² values under one key would make two equal nonces likely enough
to matter, so that a key should be replaced before.
"""

import base64
import binascii
import os
from collections.abc import Iterable, Sequence

from paceline.errors import ConfigurationError, PacelineError

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
except ImportError:  # the extra `encryption` installs it
    AESGCM = None  # type: ignore[assignment,misc]

SEALED = "enc1:"  # how an encrypted value begins; its key's id and a colon follow
SEARCHED = "siv1:"  # and one that is always encrypted alike, so that it can be searched

_LENGTH = 32  # bytes of a key
_NONCE = 12  # bytes
_RULE = (
    "must hold keys of 32 bytes in base64, as `openssl rand -base64 32` prints one; several with commas between, "
    "the one that encrypts first"
)


class Unreadable(PacelineError):
    """A stored value cannot be decrypted: its key is missing, it was changed, or it belongs to another row."""


def parse_keys(value: object) -> tuple[bytes, ...]:
    """The keys of a setting: a text with commas, or a list of texts. Raises ValueError without its subject."""
    listed = value if isinstance(value, list) else [value]
    parts = [part for item in listed for part in (item.split(",") if isinstance(item, str) else [""])]
    keys = [_key(part.strip()) for part in parts]
    if not keys:
        raise ValueError(_RULE)
    if len(set(keys)) < len(keys):
        raise ValueError("must hold each key once")
    return tuple(keys)


def ciphers(keys: Sequence[bytes]) -> "dict[str, Cipher]":
    """By its id what each key does, in their order. Raises `ConfigurationError` if the package is missing."""
    if keys and AESGCM is None:
        raise ConfigurationError(
            ["content.key: encryption needs the package cryptography: pip install 'paceline[encryption]'"]
        )
    return {cipher.id: cipher for cipher in map(Cipher, keys)}


class Cipher:
    """One key. `place` names what a value is bound to: a value that stands anywhere else cannot be opened."""

    def __init__(self, key: bytes) -> None:
        self.id = _derived(key, "id", 4).hex()
        self.mark = f"{SEALED}{self.id}:"
        self._aead = AESGCM(_derived(key, "encrypt", _LENGTH))

    def seal(self, text: str, place: Iterable[str]) -> str:
        """The value: `enc1:`, the key's id, and nonce, ciphertext and tag in base64."""
        nonce = os.urandom(_NONCE)
        sealed = self._aead.encrypt(nonce, text.encode("utf-8", "surrogatepass"), _bound(place))
        return self.mark + base64.b64encode(nonce + sealed).decode()

    def open(self, packed: str, place: Iterable[str]) -> str:
        """What was sealed, from the base64 of it. Raises `Unreadable`."""
        try:
            raw = base64.b64decode(packed, validate=True)
            return self._aead.decrypt(raw[:_NONCE], raw[_NONCE:], _bound(place)).decode("utf-8", "surrogatepass")
        except (InvalidTag, ValueError):
            raise Unreadable("its content cannot be decrypted: it was changed, or belongs to another row") from None


class Searched:
    """Encrypts the same alike, with AES-256-SIV: what is the same can be seen, and what it is cannot."""

    def __init__(self, secret: bytes) -> None:
        self._aead = AESSIV(_derived(secret, "search", 2 * _LENGTH))

    def seal(self, text: str) -> str:
        """`siv1:`, and the rest in base64."""
        return SEARCHED + base64.b64encode(self._aead.encrypt(text.encode("utf-8", "surrogatepass"), None)).decode()

    def open(self, sealed: str) -> str:
        """What was sealed. Raises `Unreadable`."""
        try:
            raw = base64.b64decode(sealed.removeprefix(SEARCHED), validate=True)
            return self._aead.decrypt(raw, None).decode("utf-8", "surrogatepass")
        except (InvalidTag, ValueError):
            raise Unreadable("it cannot be decrypted: it was changed") from None


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _LENGTH:
        raise ValueError(_RULE)
    return key


def _derived(key: bytes, purpose: str, length: int) -> bytes:
    return HKDF(SHA256(), length, salt=None, info=f"paceline content 1 {purpose}".encode()).derive(key)


def _bound(place: Iterable[str]) -> bytes:
    return "\x1f".join(("paceline", *place)).encode("utf-8", "surrogatepass")
