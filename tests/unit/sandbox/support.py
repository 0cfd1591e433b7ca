"""Calls as the listener makes them, for tests that need no network."""

from collections.abc import Mapping

from multidict import CIMultiDict

from sandbox.call import Call, json_body

KEY = "auro_live_sk_sandbox_01"


def call(
    method: str = "POST",
    path: str = "/v1/messages/text",
    data: object = None,
    *,
    at: float = 1000.0,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
) -> Call:
    """A call with a good key and, where there is data, a JSON body."""
    given = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"} | dict(headers or {})
    body = b"" if data is None else json_body(data)
    return Call(method, path, query or {}, CIMultiDict(given), body, at, at)
