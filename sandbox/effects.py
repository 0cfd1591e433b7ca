"""What a fault makes of an answer: which bytes leave, when, and how the connection ends."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import formatdate
from enum import Enum
from math import ceil

from sandbox.call import Answer, json_body
from sandbox.faults import (
    BrokenJson,
    Close,
    ContentType,
    Drop,
    Half,
    Hangup,
    Headers,
    Html,
    Oversized,
    RequestFault,
    Silence,
    Status,
)

Refusal = Callable[[int, str | None], Answer]  # the provider's own error body for a status and, perhaps, a code

_PAGE = (
    b"<!DOCTYPE html><html><head><title>Error</title></head><body><h1>The server had a problem.</h1></body></html>\n"
)


class Manner(Enum):
    """How an answer goes onto the wire."""

    WHOLE = "whole"
    HANGUP = "whole, then the connection is closed unannounced"
    HALF = "head and part of the body, then closed"
    HALF_RESET = "head and part of the body, then reset"
    CLOSED = "nothing, closed"
    RESET = "nothing, reset"
    SILENT = "nothing, left open"


@dataclass(frozen=True, slots=True)
class Delivery:
    """An answer on its way out. `hold` is in seconds; `cut` is how many bytes of the body leave in half an answer."""

    answer: Answer
    manner: Manner = Manner.WHOLE
    hold: float = 0.0
    cut: int = 0

    @property
    def whole(self) -> bool:
        """Whether the client gets all of it."""
        return self.manner in (Manner.WHOLE, Manner.HANGUP)


def apply_fault(fault: RequestFault, answer: Answer, refusal: Refusal, now: float) -> Delivery:
    """What leaves when `fault` strikes `answer`: the provider's, or a placeholder where it was never asked."""
    match fault:
        case Drop():
            delivery = Delivery(answer, Manner.RESET)
        case Close():
            delivery = Delivery(answer, Manner.RESET if fault.reset else Manner.CLOSED)
        case Silence():
            delivery = Delivery(answer, Manner.SILENT)
        case Hangup():
            delivery = Delivery(answer, Manner.HANGUP)
        case Half():
            cut = len(answer.body) // 2 if fault.body_bytes is None else min(fault.body_bytes, len(answer.body) - 1)
            delivery = Delivery(answer, Manner.HALF_RESET if fault.reset else Manner.HALF, cut=max(cut, 0))
        case _:
            delivery = Delivery(_altered(fault, answer, refusal, now))
    return replace(delivery, hold=fault.seconds)


def _altered(fault: RequestFault, answer: Answer, refusal: Refusal, now: float) -> Answer:
    match fault:
        case Status():
            return _status(fault, answer, refusal, now)
        case Headers():
            kept = {name: value for name, value in answer.headers.items() if not _names(name, fault.headers)}
            added = {name: value for name, value in fault.headers.items() if value is not None}
            return replace(answer, headers=kept | added)
        case BrokenJson():
            return replace(answer, body=answer.body[: max(1, len(answer.body) * 2 // 3)])
        case Html():
            return replace(answer, status=fault.status, headers={}, body=_PAGE, content_type="text/html; charset=utf-8")
        case ContentType():
            return replace(answer, content_type=fault.content_type)
        case Oversized():
            return replace(answer, body=answer.body.ljust(fault.size))
        case _:
            return answer  # a plain delay


def _names(name: str, headers: dict[str, str | None]) -> bool:
    return name.lower() in {other.lower() for other in headers}


def _status(fault: Status, answer: Answer, refusal: Refusal, now: float) -> Answer:
    own = refusal(fault.status, fault.code)
    body, content_type = own.body, own.content_type
    if fault.body is not None:
        body = fault.body.encode() if isinstance(fault.body, str) else json_body(fault.body)
        content_type = fault.content_type
    headers = own.headers | _dates(fault, now) | fault.headers
    return replace(answer, status=fault.status, headers=headers, body=body, content_type=content_type)


def _dates(fault: Status, now: float) -> dict[str, str]:
    shown = now + fault.clock_skew
    headers = {"Date": formatdate(shown, usegmt=True)} if fault.clock_skew else {}
    if fault.retry_after is not None:
        dated = fault.retry_after_form == "http-date"
        headers["Retry-After"] = (
            formatdate(ceil(shown + fault.retry_after), usegmt=True) if dated else str(ceil(fault.retry_after))
        )
    return headers
