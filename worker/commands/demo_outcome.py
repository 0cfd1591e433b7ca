"""What came of the demo: our own counts beside what arrived at the sandbox, and which promises were not kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from paceline.status import Status
from paceline.views import JobStatus, JobView

PATIENCE = 180.0  # seconds until every message must have come to rest
SETTLED = frozenset({Status.DELIVERED, Status.READ, Status.FAILED, Status.EXPIRED, Status.CANCELLED, Status.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Tally:
    """One provider's messages as we count them, and the sandbox's summary of what arrived there."""

    provider: str  # its name in the sandbox
    enqueued: int
    statuses: Mapping[Status, int]
    accepted: int  # messages that the provider gave an id
    attempts: int
    arrived: Mapping[str, Any] = field(repr=False)

    def facts(self) -> dict[str, int]:
        """What is told of it at the end."""
        count, arrived = self.statuses.get, self.arrived
        was_read = count(Status.READ, 0)
        return {
            "enqueued": self.enqueued,
            "attempts": self.attempts,
            "arrived": arrived["accepted"],
            "delivered": count(Status.DELIVERED, 0) + was_read,
            "of these read": was_read,
            "failed": count(Status.FAILED, 0),
            "webhooks taken": arrived["webhooks"]["acknowledged"],
            "answered 429": arrived["throttled"],
            "arrived twice": arrived["duplicates"]["surplus"],
        }

    def windows(self) -> str:
        """The busiest window of each of its limits; empty where it has none."""
        return ", ".join(f"{each['group']} {each['highest']} of {each['limit']}" for each in self.arrived["windows"])


def broken_promises(tallies: Sequence[Tally], job: JobView) -> list[str]:
    """What was not as promised, a sentence each."""
    found = [f"{tally.provider}: {sentence}" for tally in tallies for sentence in _broken(tally)]
    if job.status is not JobStatus.DONE:
        found.append(f"The broadcast of {job.account} is {job.status}: {job.reason or job.waiting_for}")
    elif not (job.result["completed"] and job.result["delivered"] == job.result["total_recipients"]):
        found.append(f"The broadcast of {job.account} did not reach everybody.")
    return found


def _broken(it: Tally) -> list[str]:
    moving = {str(status): count for status, count in it.statuses.items() if status not in SETTLED}
    unknown, arrived = it.statuses.get(Status.UNKNOWN, 0), it.arrived
    over = [window["group"] for window in arrived["windows"] if window["exceeded"]]
    missing = it.enqueued - sum(it.statuses.values())
    found = {
        f"{arrived['throttled']} requests were answered 429.": arrived["throttled"],
        f"{arrived['duplicates']['surplus']} messages arrived twice.": arrived["duplicates"]["surplus"],
        f"the limit of {', '.join(over)} was exceeded.": over,
        f"{missing} messages are missing.": missing,
        "no webhook was taken.": not arrived["webhooks"]["acknowledged"],
        f"not settled after {PATIENCE:g} s: {moving}.": moving,
        f"{unknown} messages are unknown.": unknown,
        f"the sandbox accepted {arrived['accepted']} messages, we know of {it.accepted}.": (
            arrived["accepted"] != it.accepted
        ),
    }
    return [sentence for sentence, broken in found.items() if broken]
