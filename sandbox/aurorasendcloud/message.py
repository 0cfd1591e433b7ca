"""One accepted mail or SMS, and the shapes of AuroraSendCloud's ids."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

from sandbox.ids import token
from sandbox.lifecycle import Outcome, Step

Channel = Literal["mail", "sms"]
BEIJING = timedelta(hours=8)
USER_ID = 7041


class Message:
    """Times are Unix seconds; `failure` is the sub-status of a mail or the code of an SMS that failed."""

    __slots__ = (
        "channel",
        "created_at",
        "failure",
        "headers",
        "id",
        "key",
        "label",
        "label_id",
        "modified_at",
        "number",
        "recipient",
        "status",
        "template",
        "user",
    )

    def __init__(self, channel: Channel, key: str, user: str, message_id: str, number: int, created_at: float) -> None:
        self.channel: Channel = channel
        self.key = key  # the fingerprint of the credential
        self.user = user
        self.id = message_id
        self.recipient = message_id.partition("$")[2]
        self.number = number  # how many were accepted before it
        self.created_at = self.modified_at = created_at
        self.status: Outcome = "queued"
        self.failure = 0
        self.label = ""
        self.label_id = 0
        self.template = ""
        self.headers: Mapping[str, str] = {}  # what comes back in webhooks: SC-Custom headers, or customArgs

    def reach(self, step: Step, failure: int) -> None:
        """Takes on the status of a step of its lifecycle."""
        self.status, self.modified_at = step.status, step.when
        self.failure = failure if step.status == "failed" else 0


def mail_ids(at: float, region: str, recipients: list[str]) -> list[str]:
    """`<messageId><index>$<recipient>` for each; the id begins with the milliseconds of its request."""
    base = f"{int(at * 1000)}_{USER_ID}_{25239}_{token(4)}.{region}-10_1_253_1-inbound"
    return [f"{base}{index}${recipient}" for index, recipient in enumerate(recipients)]


def sms_id(at: float, template: str, phone: str) -> str:
    """An SMS's id."""
    return f"{int(at * 1000)}_{USER_ID}_2_{template}_{token(6)}${phone}"


def bare_time(at: float) -> str:
    """Beijing time without a zone, as the reference prints times."""
    return (datetime.fromtimestamp(at, UTC) + BEIJING).strftime("%Y-%m-%d %H:%M:%S")


def bare_date(at: float) -> str:
    """The date in Beijing."""
    return bare_time(at)[:10]
