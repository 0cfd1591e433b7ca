"""What the tests of the sandbox's aulm share: requests, and what an error looks like."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox import SandboxServer
from tests.contract.sandbox_support import Answered, ask

LIVE = "alm_sk_live_" + "0a" * 32
TEST = "alm_sk_test_" + "0a" * 32
SESSION = "9b2f4c1e-6d3a-4e57-a1c8-0f7d5b3e2a94"
OTHER = "1b2f4c1e-6d3a-4e57-a1c8-0f7d5b3e2a94"
TO = "+966512345678"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
QUOTA = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
STILL = {"aulm": {"lifecycle": {"outcomes": {"*": "queued"}}}}


@contextmanager
def still() -> Iterator[SandboxServer]:
    """An aulm in which nothing happens by itself."""
    with SandboxServer(STILL) as sandbox:
        yield sandbox


def fresh(server: SandboxServer) -> SandboxServer:
    """The same one, with nothing in it and its first settings."""
    server.clear("aulm")
    server.settings("aulm", dict.fromkeys(("keys", "accounts", "sessions", "auth", "quota", "image", "upstream")))
    return server


def text(**more: Any) -> dict[str, Any]:
    return {"session_id": SESSION, "to": TO, "body": "Your appointment is at 16:00.", **more}


def image(**more: Any) -> dict[str, Any]:
    return {"session_id": SESSION, "to": TO, "image": "https://cdn.example.com/map.png", **more}


def send(sandbox: SandboxServer, data: object = None, key: str = LIVE, action: str = "send-text") -> Answered:
    return ask(sandbox.base_url("aulm"), "POST", f"/v1/messages/{action}", text() if data is None else data, key=key)


def state(sandbox: SandboxServer, session: str = SESSION, key: str = LIVE) -> Answered:
    return ask(sandbox.base_url("aulm"), "GET", f"/v1/sessions/{session}/status", key=key)


def failed(answer: Answered, quota_headers: bool = False) -> tuple[int, str]:
    """Status and code of an error in aulm's form, whose headers are the documented ones."""
    assert list(answer.json) == ["error"]
    assert list(answer.json["error"]) == ["code", "message"]
    assert UUID.fullmatch(answer.headers["x-request-id"])
    assert all((name in answer.headers) is quota_headers for name in QUOTA)
    return answer.status, answer.json["error"]["code"]


def midnight() -> str:
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    return f"{tomorrow.isoformat()}T00:00:00.000Z"
