"""A broadcast's definition as its row holds it: JSON, encrypted where the installation's content is."""

import json
from collections.abc import Mapping
from typing import Any

from paceline.broadcast.definition import Definition
from paceline.ciphers import Unreadable
from paceline.content import BROKEN, HIDDEN, Content, Keyring
from paceline.errors import PacelineError

PLACE = "broadcast"


def written(safe: Content, id: str, data: Mapping[str, Any]) -> str:  # noqa: A002  # the broadcast's id
    """What the row of the broadcast with this id holds. Raises `ContentLocked`."""
    return safe.seal(json.dumps(data, ensure_ascii=False), PLACE, id)


def definition_in(keys: Keyring, id: str, stored: str) -> Definition:  # noqa: A002  # the broadcast's id
    """The definition that was written there. Raises `Unreadable`."""
    said = keys.open(stored, PLACE, id)
    try:
        return Definition.from_json(json.loads(said))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, PacelineError):
        raise Unreadable("its row was damaged") from None


def metadata_in(keys: Keyring, id: str, stored: str) -> Mapping[str, Any]:  # noqa: A002  # the broadcast's id
    """Its metadata, for people to see: also where there is no key to read them with, or the row was damaged."""
    try:
        keys.open(stored, PLACE, id)
    except Unreadable:
        return HIDDEN
    try:
        return definition_in(keys, id, stored).metadata
    except Unreadable:
        return BROKEN
