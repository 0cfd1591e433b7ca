"""The control API below /_control: what arrived, faults, settings, events, the clock. JSON in and out.

GET    /_control                            the providers and the sandbox's time
POST   /_control/clock                      {"advance": seconds}
GET    /_control/NAME/ledger?after=&limit=  entries with a number above `after`; at most 10,000 unless told otherwise
DELETE /_control/NAME/ledger                forgets them
GET    /_control/NAME/summary               counts
GET    /_control/NAME/settings              the settings in force
PUT    /_control/NAME/settings              changes those that the body names
GET    /_control/NAME/faults                all faults with their counts
POST   /_control/NAME/faults                switches one on, and answers its number
DELETE /_control/NAME/faults[/NUMBER]       switches all, or one, off
GET    /_control/NAME/webhooks              the latest attempts to deliver events
POST   /_control/NAME/events                has an inbound event happen
DELETE /_control/NAME                       forgets everything but the settings
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from aiohttp import web

from sandbox import memory
from sandbox.call import json_body
from sandbox.clock import Clock
from sandbox.faults import parse_fault
from sandbox.model import SettingsError
from sandbox.provider import Provider
from sandbox.settings import changed
from sandbox.summary import summarize

PAGE = 10_000


class Controlled(Protocol):
    """What the control API controls."""

    @property
    def clock(self) -> Clock:
        """Its time."""

    @property
    def providers(self) -> Mapping[str, Provider]:
        """By name."""


class NotThere(Exception):
    """There is nothing at that path."""


Operation = Callable[[web.BaseRequest, Provider], Awaitable[Any]]


async def control(request: web.BaseRequest, path: list[str], sandbox: Controlled) -> web.Response:
    """Answers a request to the control API; `path` is what follows /_control, by segment."""
    try:
        return _answer(200, await _dispatch(request, path, sandbox))
    except NotThere as error:
        return _answer(404, {"error": str(error)})
    except ValueError as error:  # SettingsError too
        return _answer(400, {"error": str(error)})


async def summary_of(provider: Provider) -> dict[str, Any]:
    """All counts of a provider; the ledger's are made beside the event loop, so that arrivals are not held up."""
    with memory.undisturbed():
        counts = await asyncio.to_thread(summarize, provider.ledger.rows(), dict(provider.limits()))
    told = {"messages": dict(provider.statuses()), "webhooks": provider.webhooks.summary()}
    return counts | told | ({"bill": bill} if (bill := provider.bill()) else {})


def change_settings(provider: Provider, patch: object) -> dict[str, Any]:
    """Changes the settings that `patch` names and returns all of them; raises `SettingsError`."""
    provider.change(changed(provider.name, provider.settings, patch))
    return provider.settings.model_dump(mode="json", exclude={"faults"})


async def _dispatch(request: web.BaseRequest, path: list[str], sandbox: Controlled) -> Any:
    clock = sandbox.clock
    match request.method, path:
        case "GET", []:
            return {"providers": list(sandbox.providers), "now": clock.now(), "advanced": clock.offset}
        case "POST", ["clock"]:
            clock.advance(await _seconds(request))
            return {"now": clock.now(), "advanced": clock.offset}
        case method, [name, *rest] if name in sandbox.providers:
            operation = _OPERATIONS.get((method, *rest[:1]))
            if operation is not None and (len(rest) < 2 or (method, rest[0]) == ("DELETE", "faults")):
                return await operation(request, sandbox.providers[name])
    raise NotThere(f"The control API has no {request.method} {request.path}: its paths are in sandbox/control.py.")


async def _seconds(request: web.BaseRequest) -> float:
    match await _json(request):
        case {"advance": int() | float() as seconds}:
            return float(seconds)
    raise SettingsError('The clock takes {"advance": seconds}.')


async def _ledger(request: web.BaseRequest, provider: Provider) -> Any:
    after, limit = _number(request, "after", 0), _number(request, "limit", PAGE)
    entries = [entry._asdict() for entry in provider.ledger.entries(after, limit)]
    return {"entries": entries, "total": len(provider.ledger)}


async def _clear_ledger(_: web.BaseRequest, provider: Provider) -> Any:
    provider.ledger.clear()
    return {}


async def _summary(_: web.BaseRequest, provider: Provider) -> Any:
    return await summary_of(provider)


async def _settings(_: web.BaseRequest, provider: Provider) -> Any:
    return change_settings(provider, {})


async def _change_settings(request: web.BaseRequest, provider: Provider) -> Any:
    return change_settings(provider, await _json(request))


async def _faults(_: web.BaseRequest, provider: Provider) -> Any:
    return {"faults": provider.faults.as_json()}


async def _add_fault(request: web.BaseRequest, provider: Provider) -> Any:
    return {"id": provider.faults.add(parse_fault(await _json(request)))}


async def _remove_faults(request: web.BaseRequest, provider: Provider) -> Any:
    number = request.path.rstrip("/").rpartition("/")[2]
    if number == "faults":
        provider.faults.clear()
    elif not number.isdecimal() or not provider.faults.remove(int(number)):
        raise NotThere(f"There is no fault {number}.")
    return {}


async def _webhooks(_: web.BaseRequest, provider: Provider) -> Any:
    return {"attempts": [attempt.as_json() for attempt in provider.webhooks.attempts]}


async def _inject(request: web.BaseRequest, provider: Provider) -> Any:
    return provider.inject(await _json(request))


async def _clear(_: web.BaseRequest, provider: Provider) -> Any:
    provider.clear()
    return {}


_OPERATIONS: Mapping[tuple[str, ...], Operation] = {
    ("GET", "ledger"): _ledger,
    ("DELETE", "ledger"): _clear_ledger,
    ("GET", "summary"): _summary,
    ("GET", "settings"): _settings,
    ("PUT", "settings"): _change_settings,
    ("GET", "faults"): _faults,
    ("POST", "faults"): _add_fault,
    ("DELETE", "faults"): _remove_faults,
    ("GET", "webhooks"): _webhooks,
    ("POST", "events"): _inject,
    ("DELETE",): _clear,
}


async def _json(request: web.BaseRequest) -> Any:
    try:
        return json.loads(await request.read())
    except ValueError:
        raise SettingsError("The body is not JSON.") from None


def _number(request: web.BaseRequest, name: str, default: int) -> int:
    text = request.rel_url.query.get(name, str(default))
    if not (text.isascii() and text.isdecimal()):
        raise SettingsError(f"`{name}` is a whole number.")
    return int(text)


def _answer(status: int, value: Any) -> web.Response:
    return web.Response(status=status, body=json_body(value), content_type="application/json")
