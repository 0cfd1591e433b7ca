"""aulm's request bodies, judged as strictly as its API reference allows."""

import base64
import binascii
import ipaddress
import mimetypes
import re
import socket
from fnmatch import fnmatchcase
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.aulm.settings import AulmSettings, Image
from sandbox.call import UNREADABLE, Call
from sandbox.model import first_problem

NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
SESSION_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
HOST = re.compile(r"([a-zA-Z0-9_-]+\.)+[a-zA-Z][a-zA-Z0-9-]*")
DATA_URI = re.compile(r"data:([a-zA-Z0-9.+-]+/[a-zA-Z0-9.+-]+);base64,(.*)", re.DOTALL)


class Refused(Exception):
    """The request is answered with an error: a `code` of aulm's table and a sentence."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class Send(BaseModel):
    """What all sends share; numbers are not taken for strings."""

    model_config = ConfigDict(coerce_numbers_to_str=False)

    session_id: str
    to: Annotated[str, Field(max_length=20)]


class TextBody(Send):
    """POST /v1/messages/send-text."""

    body: Annotated[str, Field(min_length=1, max_length=4096)]


class ImageBody(Send):
    """POST /v1/messages/send-image."""

    image: str
    caption: Annotated[str, Field(max_length=1024)] = ""


B = TypeVar("B", bound=Send)


def read_text(call: Call, settings: AulmSettings) -> TextBody:
    """Judges the body of a text message; raises `Refused`."""
    return _read(TextBody, call, settings)


def read_image(call: Call, settings: AulmSettings) -> ImageBody:
    """Judges the body of an image message; raises `Refused`."""
    body = _read(ImageBody, call, settings)
    if body.image.startswith("data:"):
        _check_data(body.image, settings.image)
    else:
        _check_url(body.image, settings.image)
    return body


def _read(model: type[B], call: Call, settings: AulmSettings) -> B:
    if call.data is UNREADABLE:
        raise Refused("invalid_json", "The body is not JSON.")
    try:
        body = model.model_validate(call.data, extra="forbid" if settings.unknown_fields == "refuse" else "ignore")
    except ValidationError as error:
        raise Refused("invalid_request", f"{first_problem(error)}.") from None
    if not SESSION_ID.fullmatch(body.session_id):
        raise Refused("invalid_request", "session_id: a UUID is required.")
    if not NUMBER.fullmatch(body.to):
        raise Refused("invalid_request", "to: a phone number in E.164 with + is required.")
    return body


def _check_data(uri: str, settings: Image) -> None:
    match = DATA_URI.fullmatch(uri)
    try:
        content = base64.b64decode(match[2], validate=True) if match else b""
    except (binascii.Error, ValueError):
        content = b""
    if match is None or not content:
        raise Refused("invalid_request", "image: the data URI holds no image in base64.")
    if match[1].lower() not in settings.types:
        raise Refused("invalid_request", f"image: one of {', '.join(settings.types)} is required.")
    _check_size(len(content) if settings.basis == "decoded" else len(uri), settings)


def _check_url(url: str, settings: Image) -> None:
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise Refused("invalid_request", "image: an https:// URL or a data URI is required.") from None
    if not url.startswith("https://") or not host or any(character.isspace() for character in url):
        raise Refused("invalid_request", "image: an https:// URL or a data URI is required.")
    if is_private(host) or any(fnmatchcase(host, glob) for glob in settings.private_hosts):
        raise Refused("invalid_request", "image: the host is not a public one.")
    media_type, _ = mimetypes.guess_type(parts.path)
    if media_type is not None and media_type not in settings.types:
        raise Refused("invalid_request", f"image: one of {', '.join(settings.types)} is required.")
    known = [suffix for suffix in settings.sizes if url.endswith(suffix)]
    _check_size(settings.sizes[max(known, key=len)] if known else 0, settings)


def _check_size(size: int, settings: Image) -> None:
    if size > settings.max_bytes:
        raise Refused("invalid_request", f"image: it is larger than {settings.max_bytes} bytes.")


def is_private(host: str) -> bool:
    """Whether a host leads into the provider's own network, as far as can be told without asking for its name."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        # As C reads an address: 127.1, 0x7f000001 and 2130706433 are the loopback too.
        return not _is_public(ipaddress.IPv4Address(socket.inet_aton(host)))
    except (OSError, UnicodeError):
        pass
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return not HOST.fullmatch(host)  # a name without a dot is one of a private network
    return not _is_public(address.ipv4_mapped or address.sixtofour or address)


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_global and not address.is_multicast
