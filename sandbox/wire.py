"""Putting an answer on the wire, whole or as a fault wants it."""

import asyncio
from email.utils import formatdate
from http.client import responses

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from sandbox.call import Answer
from sandbox.clock import Clock
from sandbox.effects import Delivery, Manner
from sandbox.listener import reset


class Nothing(web.StreamResponse):
    """Tells aiohttp that the connection has ended and nothing is left to say."""

    async def prepare(self, _: web.BaseRequest) -> AbstractStreamWriter | None:
        """Raises what aiohttp takes for a client that has gone."""
        raise ConnectionResetError("The sandbox ended the connection.")


async def put(request: web.BaseRequest, delivery: Delivery, clock: Clock) -> web.StreamResponse:
    """Does what `delivery` says, and returns what is left for aiohttp to send. The Date header follows `clock`.

    Raises:
        ConnectionResetError: the client was gone before.
    """
    if delivery.hold:
        await asyncio.sleep(delivery.hold)
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("The client has gone.")
    date = clock.now() if clock.offset else None  # else aiohttp's own, which it need not format each time
    match delivery.manner:
        case Manner.WHOLE:
            return _response(delivery.answer, date)
        case Manner.HANGUP:
            transport.write(_head(delivery.answer, date) + delivery.answer.body)
            transport.close()
        case Manner.HALF | Manner.HALF_RESET:
            transport.write(_head(delivery.answer, date) + delivery.answer.body[: delivery.cut])
            if delivery.manner is Manner.HALF_RESET:
                reset(transport)
            else:
                transport.close()
        case Manner.CLOSED:
            transport.close()
        case Manner.RESET:
            reset(transport)
        case Manner.SILENT:
            await asyncio.get_running_loop().create_future()  # until the client leaves or the sandbox stops
    return Nothing()


def _response(answer: Answer, date: float | None) -> web.Response:
    headers = answer.headers | {"Content-Type": answer.content_type}
    if date is not None:
        headers.setdefault("Date", formatdate(date, usegmt=True))
    return web.Response(status=answer.status, headers=headers, body=answer.body)


def _head(answer: Answer, date: float | None) -> bytes:
    headers = {
        "Content-Type": answer.content_type,
        "Content-Length": str(len(answer.body)),
        "Date": formatdate(date, usegmt=True),
    }
    lines = [f"{name}: {value}" for name, value in (headers | answer.headers).items()]
    status = f"HTTP/1.1 {answer.status} {responses.get(answer.status, 'Unknown')}"
    return "\r\n".join([status, *lines, "\r\n"]).encode("latin-1")
