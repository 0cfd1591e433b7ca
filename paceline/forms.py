"""What a pattern cannot say about a text: whether a URL's host is public, what a data URI holds, what is an address.

Nothing here resolves a name or opens a connection: a name that leads into a private network is the provider's to
refuse.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

_DATA_URI = re.compile(r"data:(?P<type>[a-z0-9.+-]+/[a-z0-9.+-]+);base64,(?P<content>[A-Za-z0-9+/]*={0,2})", re.I)
# Deliberately simple: one @, something before it, a dot in the domain, and nothing that could begin another header.
_EMAIL = re.compile(r"[^\s@;,<>\"\\\x00-\x1f\x7f]{1,64}@(?=.{4,255}$)[^\s@;,<>\"\\.]+(\.[^\s@;,<>\"\\.]+)+")
_LOCAL = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".localdomain")
_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+)){0,3}", re.I)


def public_url(value: str) -> str | None:
    """What is wrong with a URL that somebody else is to fetch: it must be https, and its host a public one."""
    if not value.isascii() or any(character <= " " or character in '\\"<>^`{|}' for character in value):
        return "must be a URL without spaces or characters that need escaping"
    try:
        parts = urlsplit(value)
        host = (parts.hostname or "").rstrip(".")
        _ = parts.port
    except ValueError:
        return "must be a URL"
    if parts.scheme != "https" or not host:
        return "must be an https:// URL"
    if parts.username is not None or parts.password is not None:
        return "must be a URL without a user name and password"
    return None if _is_public(host) else "must be a URL of a public host, not of a private or loopback address"


def public_url_or_data(value: str) -> str | None:
    """What is wrong with a URL as above, or with a data URI in base64."""
    if value[:5].lower() != "data:":
        return public_url(value)
    return None if data_uri(value) is not None else "must be a data URI such as data:image/png;base64,…"


def email(value: str) -> str | None:
    """What is wrong with an e-mail address."""
    return None if _EMAIL.fullmatch(value) else "must be an e-mail address such as ana@example.org"


def emails(value: str) -> str | None:
    """What is wrong with e-mail addresses that are joined by semicolons."""
    return next((rule for each in value.split(";") if (rule := email(each.strip())) is not None), None)


FORMS: Mapping[str, Callable[[str], str | None]] = {
    "public_url": public_url,
    "public_url_or_data": public_url_or_data,
    "email": email,
    "emails": emails,
}


def data_uri(value: str) -> tuple[str, bytes] | None:
    """The media type, in lower case, and the bytes of a data URI in base64; None if it is none."""
    match = _DATA_URI.fullmatch(value)
    content = None if match is None else decoded(match["content"])
    return None if match is None or content is None else (match["type"].lower(), content)


def decoded(value: str) -> bytes | None:
    """The bytes that the base64 stands for; None if it is none."""
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None


def size(value: str) -> int:
    """Bytes: of a data URI what it holds, of any other text its UTF-8."""
    found = data_uri(value) if value[:5].lower() == "data:" else None
    return len(value.encode("utf-8", "replace")) if found is None else len(found[1])


def _is_public(host: str) -> bool:
    try:
        return _public_address(ipaddress.ip_address(host))
    except ValueError:
        pass
    # 127.1, 0x7f000001 and 2130706433 are addresses too, to those who resolve them as C does.
    if _NUMERIC.fullmatch(host):
        return False
    name = host.lower()
    return "." in name and not name.endswith(_LOCAL)


def _public_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return inner.is_global if inner is not None else address.is_global and not address.is_multicast
