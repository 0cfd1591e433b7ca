"""Every public name of `paceline`, as an application uses it. Type checkers read this file, and tests run it."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from paceline import (
    AttemptView,
    BadRecipients,
    BroadcastNotFound,
    BroadcastView,
    BrokerNotReady,
    BulkReceipt,
    CallFailed,
    CallTimeout,
    Client,
    ConfigurationError,
    ContentLocked,
    DatabaseNotReady,
    Email,
    EventView,
    Forecast,
    IdempotencyConflict,
    InvalidMessage,
    JobNotFound,
    JobStatus,
    JobView,
    Media,
    Message,
    MessageNotFound,
    MessageView,
    Outgoing,
    PacelineError,
    Preview,
    Priority,
    Ramp,
    Receipt,
    Reject,
    Status,
    Suppressed,
    SuppressionView,
    Template,
    Text,
    UnknownAccount,
)

log = logging.getLogger(__name__)

CUSTOMER, ADDRESS = "auro_usr_8f3k29d1a7", "ada@example.com"


def every_kind() -> list[Message]:
    """One message of each kind."""
    return [
        Text(to=CUSTOMER, text="Your order #4821 has been shipped!"),
        Media(to=CUSTOMER, url="https://shop.example.com/labels/4821.png", media_type="image/png", caption="#4821"),
        Template(to=CUSTOMER, template="order_shipped", language="en", variables={"order": "4821"}),
        Email(to=ADDRESS, subject="Order #4821", text="It has been shipped.", html="<p>It has been shipped.</p>"),
    ]


def remind(client: Client, via: str) -> Receipt:
    """Tomorrow, unless it comes too late, and behind everything that is more important."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    return client.enqueue(
        Text(to=CUSTOMER, text="Your basket is waiting."),
        via=via,
        idempotency_key="basket-17-reminder",
        priority=Priority.BULK,
        send_at=tomorrow,
        expires_at=tomorrow + timedelta(hours=6),
        metadata={"basket": "17"},
    )


def announce(client: Client, via: str) -> int:
    """Many at once; what an account refuses is told, and the rest goes on."""

    def items() -> Iterator[Outgoing]:
        for number, message in enumerate(every_kind()):
            yield Outgoing(message, via, idempotency_key=f"order-4821-{number}")

    receipt: BulkReceipt = client.enqueue_many(items())
    refused: list[Reject] = receipt.rejected
    for reject in refused:
        log.warning("item %d: %s: %s", reject.index, reject.field, reject.reason)
    return receipt.enqueued + receipt.replayed


def sale(client: Client, via: str, people: list[dict[str, str]]) -> BroadcastView | None:
    """One message for many, if it will be done by tomorrow."""
    message = Text(to="{id}", text="Hi {first_name}, 20 % off until Sunday.")
    try:
        found: Preview
        forecast: Forecast
        found, forecast = client.preview("spring-sale", message, people, via, ramp_up=Ramp(first=50, growth=2.0))
    except BadRecipients as error:
        log.warning("line %d: %s", error.line, error.rule)
        return None
    log.info("%d messages in %d parts, done by %s", found.messages, found.parts, forecast.finish_at)
    view = client.broadcast("spring-sale", message, people, via, ramp_up=Ramp(first=50, growth=2.0), paused=True)
    return view.resume()


def stop(client: Client, name: str) -> bool:
    """End a broadcast, if there is one."""
    try:
        return client.get_broadcast(name).cancel().status == "cancelled"
    except BroadcastNotFound:
        return False


def describe(client: Client, id: str) -> str:  # noqa: A002  # the message's id, as everywhere
    """Where a message stands, in a few words."""
    view: MessageView = client.status(id)
    last_attempt: AttemptView | None = view.attempts[-1] if view.attempts else None
    last_event: EventView | None = view.events[-1] if view.events else None
    if view.status is Status.UNKNOWN:
        return "Nobody can say whether it arrived; look before it is sent again."
    if last_attempt is not None and not view.status.final:
        return f"{view.status}, after an attempt that ended {last_attempt.outcome}"
    return f"{view.status}, by {last_event.source}" if last_event else view.waiting_for or view.status.meaning


def enqueue_or_say_why_not(client: Client, message: Message, via: str, key: str) -> str:
    """What an application tells whoever pressed the button."""
    try:
        receipt = client.enqueue(message, via=via, idempotency_key=key)
    except Suppressed:
        return "They asked not to be written to."
    except UnknownAccount:
        return "There is no such account or route; its list comes from the service's configuration."
    except InvalidMessage as error:
        return f"Change {error.field}: it {error.rule}."
    except IdempotencyConflict:
        return "This key belongs to another message."
    except (DatabaseNotReady, BrokerNotReady, ConfigurationError, ContentLocked) as error:
        return f"Not now: {error}"
    return "Already on its way." if receipt.replayed else "On its way."


def unread(client: Client, account: str) -> str:
    """How many conversations of an Aurogy account wait for an answer; what else its provider does is asked likewise."""
    try:
        page = client.aurogy(account, timeout=10).conversations(limit=100)
    except CallTimeout as late:
        return f"Aurogy has not answered yet; look at job {late.job} later."
    except CallFailed as failed:
        return f"Aurogy would not say: {failed.reason}."
    return f"{sum(1 for each in page.conversations if each.unread_count)} conversations are unread."


def refresh(client: Client, account: str) -> str:
    """Ask, and do not wait; the job's id."""
    return client.start(account, "profile", expires_in=3600)


def found(client: Client, job: str) -> object:
    """What such a job brought, if it has ended."""
    try:
        view: JobView = client.job(job)
    except JobNotFound:
        return None
    return view.result if view.status is JobStatus.DONE else view.waiting_for


def opt_out(client: Client, channel: str, recipient: str) -> list[SuppressionView]:
    """Somebody wrote that they want nothing more; the channel's list afterwards."""
    if client.suppress(channel, recipient, reason="asked by letter"):
        log.info("one more has opted out of %s", channel)
    return client.suppressions(channel, limit=100)


def welcome_back(client: Client, channel: str, recipient: str) -> bool:
    """They want to be written to again."""
    return client.unsuppress(channel, recipient)


def forget(client: Client, id: str) -> bool:  # noqa: A002  # the message's id, as everywhere
    """Take a message back, if it has not left."""
    try:
        return client.cancel(id)
    except MessageNotFound:
        return False
    except PacelineError:
        log.exception("not cancelled")
        return False
