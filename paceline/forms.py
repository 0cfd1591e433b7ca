"""What a pattern cannot say of a text: whether a URL's host is public, what a data URI holds, what an address is.

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
_NEVER = r"""\s@;,<>"\\\x00-\x1f\x7f"""
_EMAIL = re.compile(rf"[^{_NEVER}]{{1,64}}@(?=.{{4,255}}$)[^{_NEVER}.]+(\.[^{_NEVER}.]+)+")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
_LOCAL = (".localhost", ".local", ".internal", ".intranet", ".lan", ".home.arpa", ".localdomain")
# A name as DNS has it, underscores included: what it escapes (127%2e0.0.1) or separates otherwise, others may resolve.
# Its last label begins with a letter, because a name that ends in a number is an address to those who resolve as C does
# (127.1, 0x7f000001, 2130706433).
_NAME = re.compile(r"([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?", re.I)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that is assigned to public hosts (RFC 4291, section 2.4)
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")  # leads to the IPv4 address within it, whatever that is (RFC 3056)


def public_url(value: str) -> str | None:
    """What is wrong with a URL that somebody else is to fetch: it must be https, and its host a public one."""
    if not value.isascii() or any(character <= " " or character in '\\"<>^`{|}\x7f' for character in value):
        return "must be a URL without spaces or characters that need escaping"
    try:
        parts = urlsplit(value)
        host = (parts.hostname or "").removesuffix(".")
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


def phone(value: str) -> str | None:
    """What is wrong with a phone number: E.164 as providers take it, with its plus."""
    return None if _PHONE.fullmatch(value) else "must be a phone number in E.164, such as +447700900123"


def emails(value: str) -> str | None:
    """What is wrong with e-mail addresses that are joined by semicolons."""
    return next((rule for each in value.split(";") if (rule := email(each.strip(" "))) is not None), None)


FORMS: Mapping[str, Callable[[str], str | None]] = {
    "public_url": public_url,
    "public_url_or_data": public_url_or_data,
    "email": email,
    "emails": emails,
    "phone": phone,
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
        return _NAME.fullmatch(host) is not None and len(host) <= 253 and not f".{host.lower()}".endswith(_LOCAL)


def _public_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    if address.ipv4_mapped is not None:
        return _public_address(address.ipv4_mapped)
    # What translates to IPv4 on the way (64:ff9b::/96), or once did, lies outside global unicast.
    return address.is_global and address in _GLOBAL_UNICAST and address not in _SIX_TO_FOUR and not address.scope_id
