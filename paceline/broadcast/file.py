"""A broadcast as a file: TOML with the names that `Client.broadcast` takes, and the message as a table."""

import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from paceline.broadcast.recipients import URLS
from paceline.errors import InvalidMessage
from paceline.messages import from_json

REQUIRED = ("name", "message", "recipients", "via")
TEXTS = (
    "name",
    "recipients",
    "via",
    "timezone",
    "cron",
    "priority",
    "zone_column",
    "sending_hours",
    "default_region",
    "rejects",
)
TIMES = ("send_at", "expires_at")
TABLES = ("message", "options", "metadata", "defaults", "ramp_up")
OTHERS = ("weight", "paused")


def load(path: Path) -> dict[str, Any]:
    """The arguments of `Client.broadcast`. Paths in the file are beside it.

    Raises `InvalidMessage`, which names the key and what it takes.
    """
    data = _read(path)
    known = (*TEXTS, *TIMES, *TABLES, *OTHERS)
    for name in data:
        if name not in known:
            raise InvalidMessage(name, f"is not a key of a broadcast's file; it has {', '.join(sorted(known))}")
    for name in REQUIRED:
        if name not in data:
            raise InvalidMessage(name, f"is required in {path.name}")
    for names, kind, words in (
        (TEXTS, str, "text"),
        (TIMES, datetime, "a date and time, unquoted"),
        (TABLES, dict, "a table"),
    ):
        for name in names:
            if name in data and not isinstance(data[name], kind):
                raise InvalidMessage(name, f"must be {words}")
    if not isinstance(data.get("paused", False), bool):
        raise InvalidMessage("paused", "must be true or false")
    values: dict[str, Any] = {**data, "message": from_json({"kind": "text", **data["message"]})}
    if not data["recipients"].startswith(URLS):
        values["recipients"] = path.parent / data["recipients"]
    if "rejects" in data:
        values["rejects"] = path.parent / data["rejects"]
    return values


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InvalidMessage("file", f"{path.name} cannot be opened ({type(error).__name__}): check the path") from None
    except UnicodeDecodeError:
        raise InvalidMessage("file", f"{path.name} is not UTF-8: save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidMessage("file", f"{path.name} is not TOML: {error}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, lists within lists without end
        raise InvalidMessage("file", f"{path.name} holds a value that is too long or too deep to be read") from None
