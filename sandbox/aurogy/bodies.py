"""Aurogy's request bodies, judged as strictly as its API reference allows."""

import base64
import hashlib
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.aurogy.settings import AurogySettings
from sandbox.call import UNREADABLE, Call
from sandbox.model import first_problem

PHONE = re.compile(r"\+[0-9 ().-]*|[0-9]{5,15}")
RECIPIENT = re.compile(r"[!-~]{8,256}")  # an Aurogy id, or a phone hash, whose encoding is not documented
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")

MediaType = Literal["image/jpeg", "image/png", "video/mp4", "audio/ogg", "application/pdf"]


class Refused(Exception):
    """The request is answered with an error: a `code` of Aurogy's table and a sentence."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class Body(BaseModel):
    """A JSON object; numbers are not taken for strings."""

    model_config = ConfigDict(coerce_numbers_to_str=False)


class ToRecipient(Body):
    """What all sends share."""

    to: Annotated[str, Field(min_length=1)]


class TextBody(ToRecipient):
    """POST /messages/text."""

    text: Annotated[str, Field(min_length=1, max_length=4096)]
    reply_to: Annotated[str, Field(min_length=1)] = ""
    metadata: dict[str, str] = {}


class MediaBody(ToRecipient):
    """POST /messages/media."""

    media_url: str
    media_type: MediaType
    caption: Annotated[str, Field(max_length=1024)] = ""
    filename: Annotated[str, Field(min_length=1, max_length=255)] = ""


class TemplateBody(ToRecipient):
    """POST /messages/template."""

    template: Annotated[str, Field(min_length=1)]
    language: str
    variables: Annotated[dict[str, str], Field(max_length=256)] = {}


class ProfileBody(Body):
    """PUT /profile: only what changes."""

    name: Annotated[str, Field(min_length=1, max_length=128)] = ""
    description: Annotated[str, Field(max_length=512)] = ""
    avatar_url: str = ""


B = TypeVar("B", bound=Body)


def read_text(call: Call, settings: AurogySettings) -> TextBody:
    """Judges the body of a text message; raises `Refused`."""
    body = _read(TextBody, call, settings)
    _check_recipient(body.to, settings)
    rules = settings.metadata
    if len(body.metadata) > rules.max_keys:
        raise Refused("invalid_request", f"metadata: at most {rules.max_keys} keys.")
    if any(len(part) > rules.max_len for pair in body.metadata.items() for part in pair):
        raise Refused("invalid_request", f"metadata: at most {rules.max_len} characters in each key and value.")
    return body


def read_media(call: Call, settings: AurogySettings) -> MediaBody:
    """Judges the body of a media message; raises `Refused`."""
    body = _read(MediaBody, call, settings)
    _check_https("media_url", body.media_url)
    _check_recipient(body.to, settings)
    if size_of(body.media_url, settings.media.sizes) > settings.media.max_bytes:
        raise Refused("media_too_large", f"media_url: the file is larger than {settings.media.max_bytes} bytes.")
    return body


def read_template(call: Call, settings: AurogySettings) -> TemplateBody:
    """Judges the body of a template message; raises `Refused`."""
    body = _read(TemplateBody, call, settings)
    if not LANGUAGE.fullmatch(body.language):
        raise Refused("invalid_request", "language: a code such as en or pt-BR is required.")
    _check_recipient(body.to, settings)
    template = settings.templates.get(body.template)
    if template is None or not template.approved:
        raise Refused("invalid_template", "template: no approved template has this name.")
    if template.languages and body.language not in template.languages:
        raise Refused("invalid_template", "template: it is not approved in this language.")
    missing = [name for name in template.variables if name not in body.variables]
    if missing:
        raise Refused("invalid_request", f"variables: {missing[0]} is required.")
    return body


def read_profile(call: Call, settings: AurogySettings) -> dict[str, str]:
    """Judges a profile update and returns the fields it names; raises `Refused`."""
    body = _read(ProfileBody, call, settings)
    changes: dict[str, str] = body.model_dump(exclude_unset=True)
    if not changes:
        raise Refused("invalid_request", "the body: name, description or avatar_url is required.")
    if "avatar_url" in changes:
        _check_https("avatar_url", body.avatar_url)
        if size_of(body.avatar_url, settings.media.sizes) > settings.media.avatar_max_bytes:
            limit = settings.media.avatar_max_bytes
            raise Refused("invalid_request", f"avatar_url: the image is larger than {limit} bytes.")
    return changes


def size_of(url: str, sizes: Mapping[str, int]) -> int:
    """The bytes behind a URL: as its longest known suffix says, else 0."""
    known = [suffix for suffix in sizes if url.endswith(suffix)]
    return sizes[max(known, key=len)] if known else 0


def content_id(url: str) -> str:
    """A content id in the shape of IPFS, the same for the same URL."""
    return "bafybei" + base64.b32encode(hashlib.sha256(url.encode()).digest()).decode().lower().rstrip("=")


def _read(model: type[B], call: Call, settings: AurogySettings) -> B:
    content_type = call.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise Refused("invalid_request", "Content-Type: application/json is required.")
    if call.data is UNREADABLE:
        raise Refused("invalid_request", "the body: it is not JSON.")
    try:
        return model.model_validate(call.data, extra="forbid" if settings.unknown_fields == "refuse" else "ignore")
    except ValidationError as error:
        raise Refused("invalid_request", f"{first_problem(error)}.") from None


def _check_recipient(to: str, settings: AurogySettings) -> None:
    if PHONE.fullmatch(to):
        raise Refused("invalid_recipient", "to: a phone hash or an Aurogy ID is required, not a phone number.")
    unknown = any(fnmatchcase(to, glob) for glob in settings.unknown_recipients)
    if unknown or not RECIPIENT.fullmatch(to):
        raise Refused("invalid_recipient", "No Aurogy user matches this recipient.")


def _check_https(field: str, url: str) -> None:
    try:
        good = url.startswith("https://") and bool(urlsplit(url).hostname) and not any(c.isspace() for c in url)
    except ValueError:
        good = False
    if not good:
        raise Refused("invalid_request", f"{field}: an https:// URL is required.")
