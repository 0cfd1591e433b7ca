"""What a business owns: its messages, conversations and profile."""

from sandbox.aurogy.events import instant
from sandbox.aurogy.inbox import Inbox
from sandbox.aurogy.settings import Profile
from sandbox.ids import token
from sandbox.lifecycle import Outcome, Step


class Message:
    """One accepted message. Times are Unix seconds."""

    __slots__ = (
        "business",
        "created_at",
        "delivered_at",
        "id",
        "key",
        "number",
        "read_at",
        "recipient",
        "status",
        "test",
    )

    def __init__(
        self, business: "Business", key: str, message_id: str, recipient: str, number: int, created_at: float
    ) -> None:
        self.business = business
        self.key = key  # as the ledger names it
        self.id = message_id
        self.recipient = recipient
        self.number = number  # how many were accepted before it, by any business
        self.created_at = created_at
        self.delivered_at: float | None = None
        self.read_at: float | None = None
        self.status: Outcome = "queued"
        self.test = key.startswith("test:")  # sent with a test key

    def reach(self, step: Step) -> None:
        """Takes on the status of a step of its lifecycle."""
        self.status = step.status
        if step.status == "delivered":
            self.delivered_at = step.when
        elif step.status == "read":
            self.read_at = step.when

    def as_json(self) -> dict[str, str | None]:
        """The resource of GET /messages/{message_id}."""
        return {
            "id": self.id,
            "status": self.status,
            "to": self.recipient,
            "created_at": instant(self.created_at),
            "delivered_at": None if self.delivered_at is None else instant(self.delivered_at),
            "read_at": None if self.read_at is None else instant(self.read_at),
        }


class Business:
    """What the keys of one business share."""

    def __init__(self, name: str, profile: Profile) -> None:
        self.name = name
        self.id = "biz_" + token(8)
        self.inbox = Inbox()
        self._first_profile = profile
        self._changes: dict[str, str] = {}

    def change_profile(self, changes: dict[str, str]) -> None:
        """Keeps the fields that an update names."""
        self._changes |= changes

    def profile(self) -> dict[str, object]:
        """The resource of GET /profile. The avatar is served from Aurogy's address, whatever URL was written."""
        first = self._first_profile
        return {
            "id": self.id,
            "name": self._changes.get("name", first.name),
            "description": self._changes.get("description", first.description),
            "avatar_url": first.avatar_url,
            "verified": first.verified,
            "created_at": first.created_at,
        }
