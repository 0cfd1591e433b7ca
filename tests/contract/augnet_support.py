"""Augnet in the sandbox, and a receiver that says where its callbacks go."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sandbox import SandboxServer
from tests.contract.sandbox_support import Answered, Hook, Receiver, ask, receiver

PROJECT = "5f0c2d7e-9a41-4b1f-8f57-2c1b7e0a9d33"
OTHER = "00000000-0000-4000-8000-000000000002"
API_KEY = "ak_live_4b9c"
SIGNING_KEY = "sk_augnet_7Qm2xV9tLr"
TO = "+447700900123"
STILL = {"lifecycle": {"outcomes": {"*": "queued"}}}  # nothing happens by itself, but `queued` is told
FAST = {"sent_after": 0.05, "delivered_after": 0.1}


def basic(project_id: str = PROJECT, api_key: str = API_KEY) -> dict[str, str]:
    """The header of these credentials."""
    return {"Authorization": "Basic " + base64.b64encode(f"{project_id}:{api_key}".encode()).decode()}


def text(**more: Any) -> dict[str, Any]:
    """The body of a send; None takes a field away."""
    fields = {"body": "Your taxi is here", "from": "ABCTAXI", "to": TO, **more}
    return {name: value for name, value in fields.items() if value is not None}


def post(sandbox: SandboxServer, data: object, headers: Mapping[str, str] | None = None) -> Answered:
    """One send."""
    given = basic() if headers is None else headers
    return ask(sandbox.base_url("augnet"), "POST", "/message", data, key="", headers=given)


def bill(sandbox: SandboxServer) -> dict[str, Any]:
    """What each project was billed for."""
    billed: dict[str, Any] = sandbox.summary("augnet").get("bill", {})
    return billed


@contextmanager
def callbacks(path: str = "/hooks/augnet-main") -> Iterator[Receiver]:
    """A receiver of callbacks at this path."""
    with receiver() as kept:
        kept.url = kept.url.replace("/hooks/aurogy-main", path)
        yield kept


def words(hooks: list[Hook]) -> list[str]:
    """The status words of callbacks, in order."""
    return [str(hook.json["MessageStatus"]) for hook in hooks]
