"""Augnet's request body, judged as strictly as its documentation allows, and what it costs."""

import re
from math import ceil
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.augnet.settings import AugnetSettings, Segmentation
from sandbox.call import UNREADABLE, Call
from sandbox.model import first_problem

PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
# GSM 03.38, section 6.2.1: the basic alphabet, and what takes an escape before it.
BASIC = set("@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿")
BASIC |= set("abcdefghijklmnopqrstuvwxyzäöñüà")
EXTENSION = set("\f^{}\\[~]|€")


class Refused(Exception):
    """The request is answered with an error: a status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class MessageBody(BaseModel):
    """POST /message; numbers are not taken for strings."""

    model_config = ConfigDict(coerce_numbers_to_str=False)

    body: Annotated[str, Field(min_length=1)]
    sender: Annotated[str, Field(alias="from", min_length=1)]
    to: str
    callback: Annotated[str | None, Field(alias="statusCallback")] = None


def read_message(call: Call, settings: AugnetSettings) -> MessageBody:
    """Judges the body of a send; raises `Refused`."""
    content_type = call.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise Refused(415, "Content-Type: application/json is required.")
    if call.data is UNREADABLE:
        raise Refused(400, "The body is not JSON.")
    try:
        message = MessageBody.model_validate(
            call.data, extra="forbid" if settings.unknown_fields == "refuse" else "ignore"
        )
    except ValidationError as error:
        raise Refused(400, f"{first_problem(error)}.") from None
    if message.callback is not None and not _is_address(message.callback):
        raise Refused(400, "statusCallback: an http:// or https:// URL without credentials is required.")
    if not PHONE.fullmatch(message.to):
        raise Refused(422, "to: a phone number in international format is required.")
    return message


def parts_of(body: str, segmentation: Segmentation) -> int:
    """How many messages a text is billed as."""
    if segmentation == "documented":
        return max(1, ceil(len(body) / 160))
    units, alone, each = _units(body)
    if sum(units) <= alone:
        return 1
    filled = [0]
    for width in units:  # what takes two places is never torn apart
        if filled[-1] + width > each:
            filled.append(0)
        filled[-1] += width
    return len(filled)


def _units(body: str) -> tuple[list[int], int, int]:
    if set(body) <= BASIC | EXTENSION:
        return [1 + (character in EXTENSION) for character in body], 160, 153
    return [len(character.encode("utf-16-le", "surrogatepass")) // 2 for character in body], 70, 67


def _is_address(url: str) -> bool:
    try:
        parts: Any = urlsplit(url)
        named = bool(parts.hostname) and parts.username is None
    except ValueError:
        return False
    return named and parts.scheme in ("http", "https") and url.isascii() and not any(c.isspace() for c in url)
