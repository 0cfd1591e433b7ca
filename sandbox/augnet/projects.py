"""Augnet's credentials: who presents them, whether they are good, and how the ledger names them."""

import base64
import re
from dataclasses import dataclass

from sandbox.augnet.settings import UUID, AugnetSettings
from sandbox.call import fingerprint

_BASIC = re.compile(r"Basic ([A-Za-z0-9+/]+={0,2})")
_PROJECT = re.compile(UUID)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who presents credentials, good or bad. `project_id` is empty where they name none."""

    known: bool
    mark: str  # how the ledger names them
    project_id: str


def read_caller(authorization: str, settings: AugnetSettings) -> Caller:
    """Reads the value of an Authorization header, or an empty string for its absence.

    Where no projects are listed, every project id and key is good that could be one.
    """
    user, colon, key = _credentials(authorization).partition(":")
    if not colon or not _PROJECT.fullmatch(user):
        return Caller(False, fingerprint(authorization) if authorization else "", "")
    project = settings.project(user)
    known = bool(key) if not settings.projects else project is not None and project.api_key == key
    return Caller(known, f"{user}:{fingerprint(key)}", user)


def project_of(mark: str) -> str:
    """The project that the ledger names so."""
    return mark.partition(":")[0]


def _credentials(authorization: str) -> str:
    match = _BASIC.fullmatch(authorization)
    try:
        return base64.b64decode(match[1], validate=True).decode() if match else ""
    except ValueError:  # neither base64 nor UTF-8
        return ""
