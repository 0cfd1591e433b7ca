"""Why a message has not left, or is not final yet: one sentence for people."""

from collections.abc import Sequence
from dataclasses import dataclass

from paceline.status import Status
from paceline.views import iso, moment

COUNTED = 1_000  # messages ahead that are counted; beyond that it says "more than"


@dataclass(frozen=True, slots=True)
class Shut:
    """A lane or key that is closed: `until` in Unix seconds, or None until an operator opens it; one that is `unready`,
    until its provider says that it can send."""

    name: str
    reason: str
    until: float | None
    unready: bool = False


@dataclass(frozen=True, slots=True)
class Situation:
    """What the sentence is made from. Times are Unix seconds by the database's clock.

    `lanes` are those that may take the message, and `shut` says which of them are closed and why. `ahead` is how many
    of its line go before it, None if nobody counted.
    """

    now: float
    status: Status
    reason: str | None = None
    due_at: float | None = None
    send_at: float | None = None
    lease_until: float | None = None
    poll_at: float | None = None
    paused: bool = False
    held: bool = False
    attempts: int = 0
    ahead: int | None = None
    lanes: Sequence[str] = ()
    shut: Sequence[Shut] = ()


def sentence(it: Situation) -> str | None:
    """The sentence, or None where nothing more is waited for."""
    if it.status is Status.QUEUED:
        return _queued(it)
    if it.status is Status.SENDING:
        return "Its request is on the wire" + (
            f", until {_at(it.lease_until)} at the latest." if it.lease_until else "."
        )
    if it.status is Status.UNKNOWN:
        return (
            "Its request left and no answer that settles it came: a webhook, a poll or `paceline resolve` does; it is "
            "not sent again on its own."
        )
    if it.status in (Status.ACCEPTED, Status.SENT) and it.reason != "no_report":
        # A poll; where there is nobody to ask, or no id to ask about, the end of waiting (`no_report`).
        looked = f"; the next look is due at {_at(it.poll_at)}" if it.poll_at else ""
        return f"Its provider has not reported yet that it was delivered{looked}."
    return None


def _queued(it: Situation) -> str:
    if it.due_at is not None and it.due_at > it.now:
        if it.attempts == 0 or it.due_at == it.send_at:
            return f"It is scheduled for {_at(it.due_at)}."
        return f"Attempt {it.attempts} did not get through; the next one is due at {_at(it.due_at)}."
    if it.paused:
        return "Its broadcast is paused."
    if it.held:
        return "Its broadcast's schedule holds it back."
    if it.lanes and len(it.shut) == len(it.lanes):
        return " ".join(_shut(item) for item in it.shut)
    if not it.lanes:
        return "It waits for an account that the configuration no longer has."
    lanes = " or ".join(it.lanes)
    if it.ahead is None:
        return f"It waits for its turn on lane {lanes}."
    if it.ahead == 0:
        return f"It is the next of its line on lane {lanes}."
    count = f"more than {COUNTED:,}" if it.ahead > COUNTED else f"{it.ahead:,}"
    return f"It waits for its turn on lane {lanes}, behind {count} of its line."


def _shut(item: Shut) -> str:
    until = "an operator opens it" if item.until is None else _at(item.until)
    if item.unready:
        until = "its provider can send again"
    return f"Lane {item.name} is closed until {until}: {item.reason}."


def _at(seconds: float) -> str:
    return iso(moment(seconds))
