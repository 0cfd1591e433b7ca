"""One message that aulm has taken."""

import uuid

from sandbox.lifecycle import Outcome


class Message:
    """One accepted message. `created_at` is Unix seconds."""

    __slots__ = ("created_at", "id", "key", "number", "recipient", "session_id", "status", "test")

    def __init__(
        self, key: str, session_id: str, message_id: str, recipient: str, number: int, created_at: float
    ) -> None:
        self.key = key  # as the ledger names it
        self.session_id = session_id
        self.id = message_id
        self.recipient = recipient
        self.number = number  # how many were accepted before it
        self.created_at = created_at
        self.status: Outcome = "queued"  # with the engine, whose webhook for `sent` is still to come
        self.test = key.startswith("test:")  # sent with a test key

    @property
    def shown(self) -> str:
        """Its status in aulm's words, which know nothing of a queue."""
        return "sent" if self.status == "queued" else self.status


def message_id(test: bool) -> str:
    """The engine's own id, or that of a simulated message."""
    return "sim_" + uuid.uuid4().hex if test else "3EB0" + uuid.uuid4().hex[:16].upper()
