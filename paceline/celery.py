"""`send`: enqueueing through a Celery application's own broker, for code that speaks Celery.

`Client.enqueue` is the better way where it can be had: it is durable when it returns. What `send` publishes lives in
the broker until a worker has stored it, and nothing is promised before that; it carries the message's content through
the broker, with `argsrepr` and `kwargsrepr` blanked, so that neither Flower nor a log shows any of it. A broker may
deliver a task twice; the idempotency key, which is required here, makes that harmless.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from celery.app import app_or_default
from celery.canvas import Signature
from celery.result import AsyncResult

from paceline import wire
from paceline.door import check_extras, check_key, check_priority, check_times
from paceline.errors import InvalidMessage
from paceline.messages import Message

BLANK = "…"  # what Flower and logs see of the arguments


class _Quiet(Signature):
    """A signature whose repr tells none of its arguments."""

    def reprcall(self, *_args: Any, **_kwargs: Any) -> str:
        return f"{self.task}({BLANK})"


class Send:
    """The Celery task `paceline.enqueue`, typed. The application's current Celery app publishes it.

    Its broker must be Paceline's. What the account's provider allows is checked by the worker that stores the message;
    here the types are, and `InvalidMessage` says which is wrong.
    """

    name = wire.ENQUEUE

    def delay(
        self,
        message: Message,
        *,
        via: str,
        idempotency_key: str,
        priority: str = "normal",
        send_at: datetime | None = None,
        expires_at: datetime | None = None,
        metadata: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> AsyncResult:
        """Publish the message now. The fields are those of `Client.enqueue`; no result is ever stored."""
        return self.s(
            message,
            via=via,
            idempotency_key=idempotency_key,
            priority=priority,
            send_at=send_at,
            expires_at=expires_at,
            metadata=metadata,
            options=options,
        ).apply_async()

    def s(
        self,
        message: Message,
        *,
        via: str,
        idempotency_key: str,
        priority: str = "normal",
        send_at: datetime | None = None,
        expires_at: datetime | None = None,
        metadata: Mapping[str, str] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Signature:
        """The same as an immutable signature, for a chain or a group."""
        if not isinstance(message, Message):
            raise InvalidMessage("message", "must be a Text, Media, Template or Email")
        if not isinstance(via, str) or not via:
            raise InvalidMessage("via", "must name an account or a route")
        if idempotency_key is None:
            raise InvalidMessage("idempotency_key", "is required: a broker may deliver a task twice")
        check_key(idempotency_key)
        check_times(send_at, expires_at)
        check_extras(metadata, options)
        fields = {
            "message": message.as_json(),
            "via": via,
            "idempotency_key": idempotency_key,
            "priority": check_priority(priority).value,
            "send_at": send_at and send_at.isoformat(),
            "expires_at": expires_at and expires_at.isoformat(),
            "metadata": metadata and dict(metadata),
            "options": options and dict(options),
        }
        return _Quiet(
            wire.ENQUEUE,
            kwargs={name: value for name, value in fields.items() if value is not None},
            options={
                "queue": wire.ENQUEUE_QUEUE,
                "serializer": "json",
                "ignore_result": True,
                "argsrepr": BLANK,
                "kwargsrepr": BLANK,
            },
            immutable=True,
            app=app_or_default(),
        )

    def apply_async(self, kwargs: Mapping[str, Any], **options: Any) -> AsyncResult:
        """Celery's own form: `kwargs` are the arguments of `delay`, `message` among them; `options` are Celery's.

        The queue and the blanked representations cannot be changed.
        """
        given = dict(kwargs)
        signature = self.s(given.pop("message", None), **given)
        return signature.apply_async(**{**options, **signature.options})

    def __repr__(self) -> str:
        return f"<{self.name}>"


send = Send()
