"""Messages that come through the broker: the worker's side of `paceline.celery.send`."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

import structlog
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from paceline import Client
from paceline.errors import DatabaseNotReady, InvalidMessage, PacelineError
from paceline.messages import KINDS, from_json

FIELDS = {item.name for kind in KINDS.values() for item in fields(kind)} | {
    "message", "kind", "via", "idempotency_key", "priority", "send_at", "expires_at", "metadata", "options",
}  # fmt: skip
PATIENCE = 60.0  # seconds that a message in hand waits for a database that is away

log = structlog.get_logger("paceline.intake")


def store(client: Client, message: Mapping[str, Any], via: str, idempotency_key: str, **extras: Any) -> str | None:
    """Store what `send` published; its id, or None if it was refused, which is logged with the field and the rule."""
    retrying = Retrying(
        retry=retry_if_exception_type(DatabaseNotReady),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        stop=stop_after_delay(PATIENCE),
        reraise=True,
    )
    try:
        if not isinstance(message, Mapping):
            raise InvalidMessage("message", "must be an object with kind and the fields of that kind")
        if not idempotency_key:
            raise InvalidMessage("idempotency_key", "is required, because a broker may deliver twice")
        given = {**extras, **{name: _instant(name, extras.get(name)) for name in ("send_at", "expires_at")}}
        parsed = from_json(message)
        receipt = retrying(client.enqueue, parsed, via=via, idempotency_key=idempotency_key, **given)
    except PacelineError as error:
        log.warning("refused", error=type(error).__name__, rule=_rule(error))
        return None
    except TypeError:
        log.warning("refused", error="TypeError", rule="paceline.enqueue takes the fields of Client.enqueue")
        return None
    return receipt.id


def _rule(error: PacelineError) -> str:
    """What it says, without a name that only the caller knows, which may be anything, a recipient too."""
    if not isinstance(error, InvalidMessage):
        return str(error)
    name = error.field.partition(".")[0].partition("[")[0]
    return f"{name if name in FIELDS else 'a field'}: {error.rule}"


def _instant(name: str, value: object) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        raise InvalidMessage(name, "must be an ISO 8601 instant with an offset") from None
