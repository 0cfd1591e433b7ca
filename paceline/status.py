"""The statuses of a message, a sentence each, and their order."""

from enum import StrEnum


class Status(StrEnum):
    """Where a message stands. Each member's `meaning` is one sentence; `rank` orders what providers report."""

    QUEUED = "queued"
    SENDING = "sending"
    ACCEPTED = "accepted"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def meaning(self) -> str:
        """One sentence for people."""
        return MEANINGS[self]

    @property
    def rank(self) -> int:
        """The place in accepted < sent < failed < delivered < read; 0 for what no provider reports."""
        return RANKS.get(self, 0)

    @property
    def final(self) -> bool:
        """True if nothing more is sent or asked for it (`delivered` may still become `read`)."""
        return self in FINAL


class Priority(StrEnum):
    """Who goes first on a lane: `high` before `normal` before `bulk`."""

    HIGH = "high"
    NORMAL = "normal"
    BULK = "bulk"

    @property
    def level(self) -> int:
        """0 for `high`, 1 for `normal`, 2 for `bulk`: the number the tables hold."""
        return LEVELS.index(self)


LEVELS = (Priority.HIGH, Priority.NORMAL, Priority.BULK)

MEANINGS = {
    Status.QUEUED: "Durable with us and not on any wire: it waits for its time, its lane, or a retry.",
    Status.SENDING: "Its request is, or may be, on the wire.",
    Status.ACCEPTED: "The provider took it.",
    Status.SENT: "The provider handed it on.",
    Status.DELIVERED: "It reached the recipient.",
    Status.READ: "The recipient read it.",
    Status.FAILED: "The provider refused it for good, or its retry budget is spent.",
    Status.EXPIRED: "Its `expires_at` passed before it could leave.",
    Status.CANCELLED: "It was cancelled before it left.",
    Status.UNKNOWN: "Its request left and no answer that settles it came; it is not sent again on its own.",
}

RANKS = {Status.ACCEPTED: 1, Status.SENT: 2, Status.FAILED: 3, Status.DELIVERED: 4, Status.READ: 5}

FINAL = frozenset({Status.DELIVERED, Status.READ, Status.FAILED, Status.EXPIRED, Status.CANCELLED})
