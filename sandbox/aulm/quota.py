"""aulm's quota: a slot is taken before the messaging service is called, and given back when that fails in passing."""

from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil

from sandbox.aulm.events import instant
from sandbox.aulm.settings import Quota

DAY = 86_400.0
WEEK = 7 * DAY


@dataclass(slots=True)
class _Window:
    end: float  # Unix seconds
    used: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """How an account stands. `reset` is Unix seconds."""

    limit: int
    remaining: int
    reset: float

    def headers(self) -> dict[str, str]:
        """`x-ratelimit-limit`, `-remaining` and `-reset`, the last in ISO 8601."""
        return {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(self.remaining),
            "x-ratelimit-reset": instant(self.reset),
        }

    def wait(self, now: float) -> int:
        """Whole seconds until the reset, at least 1."""
        return max(1, ceil(self.reset - now))


class Slots:
    """What each account has used: of its plan in this UTC day, of its trial in the week that its first use began."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, bool], _Window] = {}

    def take(self, account: str, trial: bool, settings: Quota, now: float) -> bool:
        """Takes a slot; says whether there was one."""
        window = self._window(account, trial, now)
        free = window.used < _limit(trial, settings) and now < window.end  # a trial's week ends for good
        window.used += free
        return free

    def refund(self, account: str, trial: bool, now: float) -> None:
        """Gives a slot back."""
        window = self._window(account, trial, now)
        window.used = max(0, window.used - 1)

    def reading(self, account: str, trial: bool, settings: Quota, now: float) -> Reading:
        """How the account stands."""
        window, limit = self._window(account, trial, now), _limit(trial, settings)
        return Reading(limit, max(0, limit - window.used) if now < window.end else 0, window.end)

    def clear(self) -> None:
        """Gives everything back."""
        self._windows.clear()

    def _window(self, account: str, trial: bool, now: float) -> _Window:
        window = self._windows.get((account, trial))
        if window is None or (now >= window.end and not trial):
            end = now + WEEK if trial else midnight(now)
            window = self._windows[account, trial] = _Window(end)
        return window


def _limit(trial: bool, settings: Quota) -> int:
    return settings.trial if trial else settings.daily


def midnight(now: float) -> float:
    """The next midnight in UTC."""
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day.timestamp() + DAY
