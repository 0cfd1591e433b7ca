"""Faults: what may go wrong with a request or a webhook, and when.

They are switched on out of band, by settings or the control API, never by fields of a provider's API.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, TypeAdapter, ValidationError

from sandbox.model import Model, SettingsError, first_problem

Seconds = Annotated[float, Field(ge=0)]


class Fault(Model):
    """When a fault strikes: on what its globs match, after `skip` matches, `count` times or until it is cleared."""

    kind: str
    count: int | None = Field(default=None, ge=1)  # None: until cleared
    probability: float = Field(default=1.0, gt=0, le=1)  # of striking at a match, drawn from the sandbox's seed
    skip: int = Field(default=0, ge=0)  # matches let through first
    recipient: str = "*"


class RequestFault(Fault):
    """A fault of the answer to a request."""

    method: str = "*"
    path: str = "*"  # below the provider's prefix, such as "/v1/messages/*"
    accept: bool = False  # the provider judges the request, and takes its message, before the fault strikes
    seconds: Seconds = 0.0  # how long the answer, or its absence, is held back first


class Delay(RequestFault):
    """The right answer, `seconds` late."""

    kind: Literal["delay"]
    accept: Literal[True] = True
    seconds: float = Field(gt=0)


class Status(RequestFault):
    """Any status, headers and body; without `body`, the provider's own error for that status."""

    kind: Literal["status"]
    status: int = Field(ge=200, le=599)
    code: str | None = None  # of the provider's error; None: the one its documentation gives to the status
    retry_after: Seconds | None = None
    retry_after_form: Literal["seconds", "http-date"] = "seconds"
    clock_skew: float = 0.0  # seconds by which the answer's Date, and a Retry-After date, are ahead
    headers: dict[str, str] = Field(default_factory=dict)
    body: str | dict[str, Any] | None = None
    content_type: str = "application/json"


class Headers(RequestFault):
    """The right answer with other headers, such as rate headers that lie; `null` takes a header away."""

    kind: Literal["headers"]
    accept: Literal[True] = True
    headers: dict[str, str | None]


class Close(RequestFault):
    """The request is read, and the connection closed (or reset) without a byte of an answer."""

    kind: Literal["close"]
    reset: bool = True  # RST; else FIN


class Drop(RequestFault):
    """The connection is reset once the request's head has arrived; its body is not read, so no recipient matches."""

    kind: Literal["drop"]
    accept: Literal[False] = False
    recipient: Literal["*"] = "*"


class Half(RequestFault):
    """The head of the right answer and a part of its body, then the end of the connection."""

    kind: Literal["half"]
    accept: bool = True
    body_bytes: int | None = Field(default=None, ge=0)  # None: half of the body
    reset: bool = False


class Hangup(RequestFault):
    """The whole right answer, then the connection is closed although it promised to stay open."""

    kind: Literal["hangup"]
    accept: Literal[True] = True


class Silence(RequestFault):
    """The request is read and never answered; the connection stays open until the client leaves."""

    kind: Literal["silence"]


class BrokenJson(RequestFault):
    """The right status and headers, and a body that ends in the middle of its JSON."""

    kind: Literal["broken_json"]
    accept: bool = True


class Html(RequestFault):
    """A gateway's HTML page."""

    kind: Literal["html"]
    status: int = Field(default=502, ge=200, le=599)


class ContentType(RequestFault):
    """The right answer under another content type."""

    kind: Literal["content_type"]
    accept: Literal[True] = True
    content_type: str = "text/plain"


class Oversized(RequestFault):
    """The right answer, still valid JSON, swollen to `size` bytes."""

    kind: Literal["oversized"]
    accept: bool = True
    size: int = Field(default=5_000_000, ge=1, le=1_000_000_000)


class Refuse(Fault):
    """New connections, whatever they are for, are reset as soon as they stand; nothing is read or recorded."""

    kind: Literal["refuse"]
    count: int = Field(ge=1)  # required: the control API could not clear what refuses it too
    recipient: Literal["*"] = "*"


class WebhookFault(Fault):
    """A fault of an event on its way to the receiver."""

    event: str = "*"


class WebhookDuplicate(WebhookFault):
    """The event is sent `copies` times in all."""

    kind: Literal["webhook_duplicate"]
    copies: int = Field(default=2, ge=2, le=100)


class WebhookReorder(WebhookFault):
    """The event is held until the next event of the same message has been sent, at most `hold` seconds."""

    kind: Literal["webhook_reorder"]
    hold: float = Field(default=10.0, gt=0)


class WebhookSignature(WebhookFault):
    """One attempt is signed with a wrong secret; its retries are signed rightly unless the fault strikes again."""

    kind: Literal["webhook_signature"]


class WebhookDelay(WebhookFault):
    """The event is sent `seconds` late."""

    kind: Literal["webhook_delay"]
    seconds: float = Field(gt=0)


class WebhookDrop(WebhookFault):
    """The event is never sent."""

    kind: Literal["webhook_drop"]


AnyFault = Annotated[
    Delay
    | Status
    | Headers
    | Close
    | Drop
    | Half
    | Hangup
    | Silence
    | BrokenJson
    | Html
    | ContentType
    | Oversized
    | Refuse
    | WebhookDuplicate
    | WebhookReorder
    | WebhookSignature
    | WebhookDelay
    | WebhookDrop,
    Discriminator("kind"),
]
_ANY: TypeAdapter[AnyFault] = TypeAdapter(AnyFault)


def parse_fault(data: object) -> AnyFault:
    """Reads a fault from its JSON form.

    Raises:
        SettingsError: naming the field and the rule it breaks.
    """
    try:
        return _ANY.validate_python(data)
    except ValidationError as error:
        raise SettingsError(f"fault.{first_problem(error)}.") from None
