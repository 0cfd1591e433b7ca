"""Aurogy with a few operations more, made of its own endpoints: what jobs do that no single call shows."""

import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from paceline.capabilities import Rule
from providers.aurogy import PROVIDER
from providers.aurogy.wire import declined, request
from providers.base import Account, Done, Job, Next, Operation, Outcome, Provider, Request, Response, Unknown
from providers.registry import PROVIDERS

PATHS = {"": "/profile", "second": "/conversations", "third": "/profile"}
ORDER = {"": "second", "second": "third"}


def _build(account: Account, job: Job) -> Request:
    return request(account, "GET", f"{PATHS[job.step]}?walk={job.id}&step={job.step or 'first'}")


def _walk(_account: Account, job: Job, response: Response) -> Next | Done | Outcome:
    """Three steps; each leaves what it was for the next one."""
    if response.status != 200:
        return declined(response, "") or Unknown("http_500")
    seen = [*job.memory.get("seen", []), job.step]
    if job.step == "third":
        return Done(seen)
    waits = job.arguments.get("wait", 0)
    return Next(ORDER[job.step], {"seen": seen, "progress": len(seen)}, waits)


def _change(account: Account, job: Job) -> Request:
    return request(account, "PUT", "/profile", {"name": job.id[:128]})


def _changed(_account: Account, _job: Job, response: Response) -> Next | Done | Outcome:
    if response.status != 200:
        return declined(response, "") or Unknown("http_500")
    return Done(json.loads(response.body)["name"])


def _broken(_account: Account, job: Job) -> Request:
    raise KeyError(job.arguments["secret"])


def _unreadable(_account: Account, job: Job, _response: Response) -> Next | Done | Outcome:
    raise KeyError(job.arguments["secret"])


SECRET = {"secret": Rule()}
OPERATIONS: Mapping[str, Operation] = {
    "walk": Operation("three steps", "conversations", _build, _walk, {"wait": Rule(max_number=60)}),
    "aside": Operation("a question on the lane of sends", "send", _build, lambda *_: Done("aside")),
    "change": Operation(
        "a change that nobody recognises", "profile", _change, _changed, repeatable=lambda _step: False
    ),
    "recognised": Operation("a change that is recognised", "profile", _change, _changed),
    "unbuildable": Operation("a bug", "profile", _broken, _changed, SECRET),
    "unreadable": Operation("a bug", "profile", _change, _unreadable, SECRET),
    "unreadable_change": Operation("a bug", "profile", _change, _unreadable, SECRET, repeatable=lambda _step: False),
    "unwritable": Operation("a bug", "profile", _change, lambda *_: Done(object())),
    "kept": Operation("a question whose answer serves", "profile", _change, _changed, fresh_for=60.0),
}

OFFERING: Provider = replace(PROVIDER, operations=MappingProxyType({**PROVIDER.operations, **OPERATIONS}))
PROVIDERS_OFFERING: Mapping[str, Provider] = {**PROVIDERS, "aurogy": OFFERING}
