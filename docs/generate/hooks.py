"""The receiver of webhooks as an OpenAPI 3.1 description: what may be asked of it, and every answer there is."""

import json
from collections.abc import Mapping
from typing import Any

from providers.registry import PROVIDERS
from worker.hooks.app import LARGEST, SENTENCES

# In words, beside the sentence that the answer itself says.
MEANINGS = {
    200: "It is in the database, whether new, a repetition, or not to be understood.",
    401: "The signature is missing or wrong, or the account has no secret.",
    404: "There is no such account, or its provider sends no webhooks.",
    405: "Anything but POST; a provider that asks with GET whether somebody is there is answered 200.",
    408: "The body did not arrive within ten seconds.",
    413: "The body is larger than 1 MB.",
    503: "Our own trouble: providers try again.",
}
MALFORMED = "It is no HTTP, or its head is too large. No webhook of a provider's is."


def page() -> str:
    """The description, as JSON."""
    return json.dumps(_description(), indent=2, ensure_ascii=False) + "\n"


def _description() -> Mapping[str, Any]:
    receivers = [f"{name}-main" for name, provider in PROVIDERS.items() if provider.verify is not None]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Paceline hooks",
            "version": "1",  # of this interface: what providers are told to post to does not change with us
            "description": "Where providers post what became of messages. Written from the code by `make docs`.",
        },
        "paths": {
            "/hooks/{account}": {"post": _post(receivers)},
            "/health": {"get": _health()},
        },
    }


def _post(receivers: list[str]) -> Mapping[str, Any]:
    account = {
        "name": "account",
        "in": "path",
        "required": True,
        "description": "The account's name in the configuration; accounts of one key share their messages.",
        "schema": {"type": "string", "minLength": 1},
        "examples": {name: {"value": name} for name in receivers},
    }
    token = {
        "name": "m",
        "in": "query",
        "description": "Of a message's own address: its id and a token that nobody else knows.",
        "schema": {"type": "string"},
    }
    return {
        "operationId": "receive",
        "summary": "Take one webhook, signed as its provider signs.",
        "parameters": [account, token],
        "requestBody": {
            "required": True,
            "description": f"The provider's own bytes, at most {LARGEST:,}: the signature is over them.",
            "content": {"application/json": {}, "application/x-www-form-urlencoded": {}, "multipart/form-data": {}},
        },
        "responses": {"400": _text(MALFORMED)} | {str(status): _answer(status) for status in sorted(SENTENCES)},
    }


def _answer(status: int) -> Mapping[str, Any]:
    said = SENTENCES[status].decode()
    if not said:
        return {"description": MEANINGS[status]}
    found = _text(MEANINGS[status], said)
    return {**found, "headers": {"Allow": {"schema": {"const": "POST"}}}} if status == 405 else found


def _text(meaning: str, said: str | None = None) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"} if said is None else {"type": "string", "const": said}
    return {"description": meaning, "content": {"text/plain; charset=utf-8": {"schema": schema}}}


def _health() -> Mapping[str, Any]:
    def state(word: str) -> Mapping[str, Any]:
        schema = {
            "type": "object",
            "properties": {"status": {"const": word}},
            "required": ["status"],
            "additionalProperties": False,
        }
        return {"content": {"application/json": {"schema": schema}}}

    return {
        "operationId": "health",
        "summary": "Whether the database answers.",
        "responses": {
            "200": {"description": "It does.", **state("ok")},
            "400": _text(MALFORMED),
            "503": {"description": "It does not, or not within two seconds.", **state("database away")},
        },
    }
