"""From a request to its answer: read, perhaps struck by a fault, judged, entered in the ledger, answered."""

import asyncio

from aiohttp import web

from sandbox.call import Answer, Call, Trace
from sandbox.clock import Clock
from sandbox.effects import Delivery, apply_fault
from sandbox.faults import RequestFault
from sandbox.ledger import CLOSED
from sandbox.listener import ARRIVAL
from sandbox.provider import Provider
from sandbox.wire import Nothing, put


async def serve(request: web.BaseRequest, provider: Provider, path: str, clock: Clock) -> web.StreamResponse:
    """Answers one request to `provider`; `path` is what follows the provider's prefix."""
    head = _call(request, path, b"", clock)
    drop = provider.faults.head(head)
    if drop is not None:
        return await _finish(request, provider, head, provider.trace(head), drop, provider.refusal(503))
    try:
        _invite_body(request)
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return await _finish(request, provider, head, provider.trace(head), None, provider.refusal(413))
    except (asyncio.CancelledError, ConnectionError, web.RequestPayloadError):  # it never came whole
        provider.ledger.record(head, provider.trace(head), status=CLOSED)
        raise
    call = _call(request, path, body, clock) if body else head
    trace = provider.trace(call)
    fault = provider.faults.request(call, trace.recipient)
    if len(body) > provider.max_body:
        answer = provider.refusal(413)
    elif fault is None or fault.accept:
        answer = provider.answer(call)
    else:
        answer = provider.refusal(503)
    return await _finish(request, provider, call, trace, fault, answer)


def _invite_body(request: web.BaseRequest) -> None:
    """A client that asks first is told to go on; aiohttp does that only for its own applications."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _call(request: web.BaseRequest, path: str, body: bytes, clock: Clock) -> Call:
    arrival = request[ARRIVAL]
    return Call(
        method=request.method,
        path=path,
        query=request.rel_url.query,
        headers=request.headers,
        body=body,
        at=arrival.at + clock.offset,
        monotonic=arrival.monotonic + clock.offset,
        lag=arrival.lag,
        secure=request.secure,
        address=request.remote or "",
    )


async def _finish(
    request: web.BaseRequest,
    provider: Provider,
    call: Call,
    trace: Trace,
    fault: RequestFault | None,
    answer: Answer,
) -> web.StreamResponse:
    now = provider.clock.now()
    delivery = Delivery(answer) if fault is None else apply_fault(fault, answer, provider.refusal, now)
    seq = provider.ledger.record(
        call,
        trace,
        status=delivery.answer.status if delivery.whole else CLOSED,
        message_id=answer.message_id,
        accepted=answer.accepted,
        fault=fault.kind if fault else "",
        keep_body=provider.settings.keep_bodies,
    )
    try:
        return await put(request, delivery, provider.clock)
    except (asyncio.CancelledError, ConnectionResetError) as gone:
        if delivery.whole:
            provider.ledger.mark_closed(seq)
        if isinstance(gone, asyncio.CancelledError):
            raise
        return Nothing()
