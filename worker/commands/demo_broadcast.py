"""The demo's own broadcast: scheduled, forecast, paused, resumed, and held to what was forecast."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from paceline import Client
from paceline.broadcast.control import BroadcastView
from worker.commands import demo_messages as messages

SOME = 10  # messages that leave before it is paused
RESTS = 4.0  # seconds for which it is paused
WITHIN = 0.1  # of the time from its order to its end: how far from its forecast it may end


class DemoBroadcast:
    """It goes through one account beside everything else; `say` is told each step. Call `turn` again and again."""

    def __init__(self, client: Client, say: Callable[[str], None]) -> None:
        self._client = client
        self._say = say
        view = client.broadcast(**messages.evening())
        self.via, self.messages = view.via, view.counts["messages"]
        self._id, self._ordered = view.id, view.created_at
        self._foretold: datetime | None = None
        self._rests_until: float | None = None
        self._ended: BroadcastView | None = None
        start = "at once" if view.send_at is None else f"at {_clock(view.send_at)}"
        self._tell(f"scheduled: {self.messages} messages through {self.via}, {start}")
        self._forecast("forecast")

    @property
    def over(self) -> bool:
        """Whether everything of it has left."""
        return self._ended is not None

    def turn(self) -> None:
        """Pause it once some of it has left, resume it, and see it end."""
        if self.over:
            return
        view = self._client.get_broadcast(self._id)
        waiting = view.counts["queued"]
        if view.status == "finished":
            self._ended = view
            self._tell(f"finished at {_clock(view.finished_at)}{', as forecast' if self._kept() else ''}")
        elif self._rests_until is None and waiting <= self.messages - SOME:
            view.pause()
            self._rests_until = time.monotonic() + RESTS
            self._tell(f"paused: {self.messages - waiting} have left, {waiting} wait")
        elif view.status == "paused" and self._rests_until is not None and time.monotonic() >= self._rests_until:
            view.resume()
            self._forecast("resumed, and forecast again")

    def broken(self) -> list[str]:
        """What was not as promised, a sentence each."""
        if self._ended is None:
            return [f"The broadcast of {self.via} did not finish."]
        if self._rests_until is None:
            return [f"The broadcast of {self.via} was over before it could be paused."]
        if not self._kept():
            return [f"The broadcast of {self.via} finished at {_clock(self._ended.finished_at)}, not as forecast."]
        return []

    def _kept(self) -> bool:
        if self._ended is None or self._ended.finished_at is None or self._foretold is None:
            return False
        off = abs(self._ended.finished_at - self._foretold)
        return off <= WITHIN * (self._ended.finished_at - self._ordered)

    def _forecast(self, step: str) -> None:
        found = self._client.get_broadcast(self._id).forecast()
        self._foretold = found.finish_at
        self._tell(f"{step}: the last leaves at {_clock(found.finish_at)}, limited by {found.limited_by or 'nothing'}")

    def _tell(self, what: str) -> None:
        self._say(f"{_clock(datetime.now(UTC))}  broadcast {what}.")


def _clock(at: datetime | None) -> str:
    return "an unknown time" if at is None else f"{at.astimezone(UTC):%H:%M:%SZ}"
