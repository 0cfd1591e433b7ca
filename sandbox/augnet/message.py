"""One accepted message, and what each project was billed for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sandbox.lifecycle import Outcome


class Message:
    """One accepted message. `sender` is the one it goes out with; `created_at` is in Unix seconds."""

    __slots__ = ("callback", "created_at", "id", "number", "project_id", "recipient", "sender", "status")

    def __init__(
        self,
        number: int,
        message_id: str,
        project_id: str,
        sender: str,
        recipient: str,
        callback: str | None,
        created_at: float,
    ) -> None:
        self.number = number  # how many were accepted before it, by any project
        self.id = message_id
        self.project_id = project_id
        self.sender = sender
        self.recipient = recipient
        self.callback = callback
        self.created_at = created_at
        self.status: Outcome = "queued"


@dataclass(slots=True)
class Bill:
    """What was billed: each part of each message that was accepted, whatever became of it."""

    messages: int = 0
    parts: int = 0
    replaced: int = 0  # messages that went out as `infomessage`
    by_parts: dict[int, int] = field(default_factory=dict)  # how many messages had so many parts

    def add(self, parts: int, *, replaced: bool) -> None:
        """Enters one message."""
        self.messages += 1
        self.parts += parts
        self.replaced += replaced
        self.by_parts[parts] = self.by_parts.get(parts, 0) + 1

    def as_json(self) -> Mapping[str, object]:
        """Its fields."""
        return {
            "messages": self.messages,
            "parts": self.parts,
            "replaced": self.replaced,
            "by_parts": {str(parts): count for parts, count in sorted(self.by_parts.items())},
        }
