"""HTTP signatures as draft-cavage-http-signatures-12 has them, of the kind `hmac-sha256`: reading and checking one.

The draft's section is named beside each rule. No field of the draft's own covers the body: only the `digest` header
among the signed ones ties it to the signature (RFC 3230, section 4.3.2), so both are checked, or nothing is.
Nothing here ever raises for what came over the wire.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from providers.answers import http_date

TARGET = "(request-target)"
ALGORITHM = "hmac-sha256"
LONGEST = 4096  # characters of an Authorization header that are read; a genuine one has some 250

_PIECES = re.compile(r'(?:[^",]|"[^"]*")+')
_PARAMETER = re.compile(r'\s*([A-Za-z]+)="([^"]*)"\s*')
_KNOWN = frozenset({"keyid", "algorithm", "headers", "signature"})


@dataclass(frozen=True, slots=True)
class Signature:
    """What an Authorization header of the scheme `Signature` says; `names` are the signed headers, in lower case."""

    key_id: str
    algorithm: str
    names: tuple[str, ...]
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signed:
    """A request, as its sender signed it. `target` is path and query, byte for byte; header names in lower case."""

    method: str
    target: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def read(authorization: str) -> Signature | None:
    """The signature in an Authorization header; None if it holds none.

    Its parameters come in any order; those that are unknown or not well formed are ignored, and one that is named twice
    spoils all (section 2.2).
    """
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme.lower() != "signature" or len(authorization) > LONGEST:
        return None
    found: dict[str, str] = {}
    for piece in _PIECES.findall(rest):
        match = _PARAMETER.fullmatch(piece)
        if match is None or (name := match[1].lower()) not in _KNOWN:
            continue
        if name in found:
            return None
        found[name] = match[2]
    if found.keys() != _KNOWN:
        return None
    names = tuple(found["headers"].lower().split())
    return Signature(found["keyid"], found["algorithm"], names, found["signature"])


def signing_string(names: Sequence[str], request: Signed) -> bytes | None:
    """What is signed: a line for each name, in their order (section 2.3); None if a header is not there."""
    lines = []
    for name in names:
        if name == TARGET:
            lines.append(f"{TARGET}: {request.method.lower()} {request.target}")
        elif name in request.headers:
            lines.append(f"{name}: {request.headers[name].strip()}")
        else:
            return None
    # As they came over the wire: header values and targets are bytes that were read as latin-1.
    return "\n".join(lines).encode("latin-1", "replace")


def verify(request: Signed, key: bytes, key_id: str, covering: Sequence[str]) -> bool:
    """Whether the request bears a signature made with this key, under this id, over at least these names, and a digest
    of its body. Compared in constant time; nothing is signed with an empty key."""
    signature = read(request.headers.get("authorization", ""))
    if not key or signature is None or signature.algorithm != ALGORITHM or not set(covering) <= set(signature.names):
        return False
    text = signing_string(signature.names, request)
    if text is None or signature.key_id.lower() != key_id.lower():
        return False
    expected = base64.b64encode(hmac.digest(key, text, hashlib.sha256))
    genuine = hmac.compare_digest(expected, signature.value.encode("utf-8", "replace"))
    return genuine and has_digest(request.headers.get("digest", ""), request.body)


def has_digest(header: str, body: bytes) -> bool:
    """Whether a Digest header (RFC 3230) names the SHA-256 of these bytes, and no other."""
    items = [item.strip().partition("=") for item in header.split(",")]
    named = [value for name, _, value in items if name.lower() == "sha-256"]
    expected = base64.b64encode(hashlib.sha256(body).digest())
    return bool(named) and all(hmac.compare_digest(expected, value.encode("utf-8", "replace")) for value in named)


def age(request: Signed, now: float) -> float | None:
    """Seconds from the request's Date header to `now` (Unix seconds); None if it has none that can be read."""
    date = http_date(request.headers.get("date", ""))
    return None if date is None else now - date


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


# How the text that a provider shows stands for the bytes of a key.
ENCODINGS: Mapping[str, Callable[[str], bytes]] = {
    "utf8": str.encode,
    "base64": _from_base64,
    "hex": bytes.fromhex,
}


def key_bytes(text: str, encoding: str) -> bytes:
    """The key that the text stands for; empty, and so good for nothing, if it is not of that encoding."""
    try:
        return ENCODINGS[encoding](text)
    except (binascii.Error, ValueError):
        return b""
