"""Reading what AuroraSendCloud is sent: forms, multipart bodies with files, and query strings, all strictly."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from sandbox.aurorasendcloud.answers import Refused
from sandbox.call import Call

ADDRESS = re.compile(r"[^\s@;,<>\"]+@[^\s@;,<>\"]+\.[^\s@;,<>\".]+")
DOMAIN = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,63}", re.I)
_BOUNDARY = re.compile(r'boundary="?([!-~]{1,70}?)"?(?:;|$)')
_DISPOSITION = re.compile(
    r'^content-disposition: form-data; name="([^"\r\n]+)"(?:; filename="([^"\r\n]*)")?\r?$', re.I | re.M
)
_ESCAPES = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")


@dataclass(frozen=True, slots=True)
class Form:
    """Fields, each given once, and files: (field, filename, content)."""

    fields: Mapping[str, str] = field(default_factory=dict)
    files: tuple[tuple[str, str, bytes], ...] = ()

    def get(self, name: str) -> str:
        """The field's value; empty if it was not sent."""
        return self.fields.get(name, "")

    def first(self, *names: str) -> str:
        """The value of the first of these fields that was sent."""
        return next((self.fields[name] for name in names if name in self.fields), "")

    def flag(self, name: str, default: bool, code: int) -> bool:
        """`true` or `false`; raises `Refused` for anything else."""
        value = self.fields.get(name)
        if value not in (None, "true", "false"):
            raise Refused(code, name)
        return default if value is None else value == "true"

    def check_known(self, names: Iterable[str]) -> None:
        """Raises `Refused` for a field that is none of these."""
        unknown = [name for name in self.fields if name not in set(names)]
        if unknown:
            raise Refused(400, f"unknown field {unknown[0]}")


def read(call: Call) -> Form:
    """The form that a request carries; raises `Refused` if it carries none."""
    if call.method == "GET":
        return Form(dict(call.query))
    content_type = call.headers.get("Content-Type", "")
    match content_type.partition(";")[0].strip().lower():
        case "application/x-www-form-urlencoded":
            return _urlencoded(call.body)
        case "multipart/form-data":
            return _multipart(content_type, call.body)
    raise Refused(400, "a form is required")


def addresses(value: str, code: int) -> list[str]:
    """E-mail addresses joined by `;`; raises `Refused` with the code if one is none."""
    found = value.split(";") if value else []
    if not all(ADDRESS.fullmatch(each) for each in found):
        raise Refused(code)
    return found


def json_object(value: str, code: int) -> dict[str, Any]:
    """A JSON object; raises `Refused` with the code if it is none."""
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        raise Refused(code) from None
    if not isinstance(found, dict):
        raise Refused(code)
    return found


def _urlencoded(body: bytes) -> Form:
    fields: dict[str, str] = {}
    try:
        for pair in body.decode("ascii").split("&") if body else ():
            name, equals, value = (_decoded(part) for part in pair.partition("="))
            if not equals or name in fields:
                raise Refused(400, "each field is a name, an equals sign and a value, and is given once")
            fields[name] = value
    except UnicodeDecodeError:
        raise Refused(400, "the form is not UTF-8 in ASCII escapes") from None
    return Form(fields)


def _decoded(text: str) -> str:
    if not _ESCAPES.fullmatch(text):
        raise Refused(400, "a percent sign that escapes nothing")
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8")


def _multipart(content_type: str, body: bytes) -> Form:
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise Refused(400, "multipart without a boundary")
    first, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())
    if first or not parts or parts.pop().strip(b"\r\n") != b"--":
        raise Refused(400, "the multipart body is broken")
    fields: dict[str, str] = {}
    files = []
    for part in parts:
        head, blank, content = part.partition(b"\r\n\r\n")
        named = _DISPOSITION.search(head.decode("utf-8", "replace"))
        if named is None or not blank:
            raise Refused(400, "a part that is no form-data")
        name, filename = named[1], named[2]
        if filename is not None:
            files.append((name, filename, content))
        elif name in fields:
            raise Refused(400, f"{name} is given twice")
        else:
            fields[name] = content.decode("utf-8", "replace")
    return Form(fields, tuple(files))
