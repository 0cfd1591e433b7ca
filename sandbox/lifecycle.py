"""What becomes of accepted messages: when each one is sent, delivered and read, or fails; decided by the seed alone.

A message's fate follows from the seed and its number (how many were accepted before it), so that the same sends in the
same order end the same way, and a restarted sandbox goes on as if it had never stopped.
"""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Generic, Literal, Protocol, TypeVar

from pydantic import Field

from sandbox.clock import Clock
from sandbox.model import Model
from sandbox.schedule import Schedule

Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Outcome = Literal["queued", "sent", "delivered", "read", "failed"]

_ROAD: tuple[Outcome, ...] = ("sent", "delivered", "read")
_RANK: dict[Outcome, int] = {"queued": 0, "sent": 1, "failed": 2, "delivered": 2, "read": 3}


class LifecycleSettings(Model):
    """Delays in seconds after acceptance, and shares of all messages."""

    sent_after: Seconds = 0.2
    delivered_after: Seconds = 1.0
    read_after: Seconds = 3.0
    jitter: Share = 0.0  # each message's delays are longer by up to this share of them
    read_share: Share = 0.5  # of the delivered
    failed_share: Share = 0.0
    outcomes: dict[str, Outcome] = Field(default_factory=dict)  # recipient glob → last status; the first match holds


class Sent(Protocol):
    """What a fate depends on."""

    number: int
    recipient: str
    created_at: float
    status: Outcome


M = TypeVar("M", bound=Sent)


@dataclass(frozen=True, slots=True)
class Step:
    """A change to come, at `when` (Unix seconds)."""

    when: float
    status: Outcome


def plan(settings: LifecycleSettings, seed: int, message: Sent) -> tuple[Step, ...]:
    """All changes of a message, in order."""
    failing, reading, stretch, early = _draws(seed, message.number)
    outcome = _settled(settings, message.recipient)
    if outcome is None:
        outcome = (
            "failed" if failing < settings.failed_share else "read" if reading < settings.read_share else "delivered"
        )
    factor = 1.0 + settings.jitter * stretch
    delays = {"sent": settings.sent_after, "delivered": settings.delivered_after, "read": settings.read_after}
    if outcome == "failed":  # half of them before they were ever sent
        road: tuple[Outcome, ...] = ("failed",) if early < 0.5 else ("sent", "failed")
        delays["failed"] = settings.delivered_after
    else:
        road = _ROAD[: _ROAD.index(outcome) + 1] if outcome in _ROAD else ()
    steps, latest = [], message.created_at
    for status in road:
        latest = max(latest, message.created_at + delays[status] * factor)
        steps.append(Step(latest, status))
    return tuple(steps)


def _draws(seed: int, number: int) -> tuple[float, ...]:
    digest = hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=16).digest()
    return tuple(part / 2**32 for part in struct.unpack("<4L", digest))


def _settled(settings: LifecycleSettings, recipient: str) -> Outcome | None:
    for glob, outcome in settings.outcomes.items():
        if fnmatchcase(recipient, glob):
            return outcome
    return None


class Lifecycle(Generic[M]):
    """Carries messages through their changes, telling `change(message, step)` of each, which sets the new status."""

    def __init__(self, settings: LifecycleSettings, seed: int, clock: Clock, change: Callable[[M, Step], None]) -> None:
        self.settings = settings  # may be replaced: changes that have not happened yet follow the new ones
        self._seed = seed
        self._change = change
        self._schedule: Schedule[M] = Schedule(clock, self._fire)

    def __len__(self) -> int:
        return len(self._schedule)

    def start(self) -> None:
        """Begins, on the running event loop."""
        self._schedule.start()

    def stop(self) -> None:
        """Lets nothing more happen."""
        self._schedule.stop()

    def clear(self) -> None:
        """Forgets all messages."""
        self._schedule.clear()

    def begin(self, message: M) -> None:
        """Takes a message on, whatever status it has reached."""
        self._await(message, self._plan(message))

    def resume(self, message: M, until: float, settle: Callable[[M, Step], None]) -> None:
        """Takes on a message of an earlier run: what fell due by `until` is only settled, the rest will happen."""
        steps = self._plan(message)
        for step in steps:
            if step.when <= until and _is_ahead(step, message):
                settle(message, step)
        self._await(message, steps)

    def _plan(self, message: M) -> tuple[Step, ...]:
        return plan(self.settings, self._seed, message)

    def _await(self, message: M, steps: tuple[Step, ...]) -> None:
        for step in steps:
            if _is_ahead(step, message):
                self._schedule.add(step.when, message)
                return

    def _fire(self, message: M, _: float) -> None:
        steps = self._plan(message)
        for step in steps:
            if _is_ahead(step, message):
                self._change(message, step)
                break
        self._await(message, steps)


def _is_ahead(step: Step, message: Sent) -> bool:
    return _RANK[step.status] > _RANK[message.status]
