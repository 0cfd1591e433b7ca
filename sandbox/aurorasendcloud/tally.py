"""What AuroraSendCloud remembers of a user's requests: answers under a sendRequestId, quotas, balances, numbers, and
status answers that it has given."""

from collections import Counter, defaultdict, deque
from typing import NamedTuple

from sandbox.aurorasendcloud.answers import Refused
from sandbox.call import Answer

MINUTE, DAY = 60.0, 86_400.0


class Stored(NamedTuple):
    """An answer that was given, at `at` (Unix seconds)."""

    at: float
    body: bytes
    message_id: str


class Tally:
    """All of it in memory; `mark` is the fingerprint of a user's credentials."""

    def __init__(self) -> None:
        self._stored: dict[tuple[str, str], Stored] = {}
        self._status: dict[bytes, Stored] = {}
        self._mails: Counter[tuple[str, str]] = Counter()  # by user and day
        self._spent: Counter[tuple[str, str]] = Counter()  # by balance and user
        self._numbers: defaultdict[tuple[str, str], deque[float]] = defaultdict(deque)

    def stored(self, mark: str, request_id: str, at: float, window: float) -> Stored | None:
        """What was answered to the first request with this id, within the window."""
        found = self._stored.get((mark, request_id)) if request_id else None
        return found if found is not None and at - found.at < window else None

    def store(self, mark: str, request_id: str, at: float, answer: Answer) -> None:
        """Keeps the answer to a request that was accepted; a failure does not occupy its id."""
        if request_id and answer.accepted:
            self._stored[mark, request_id] = Stored(at, answer.body, answer.message_id)

    def cached(self, question: bytes, at: float, lifetime: float) -> bytes | None:
        """The body that this question was answered with, not longer ago than that."""
        found = self._status.get(question)
        return found.body if found is not None and at - found.at < lifetime else None

    def cache(self, question: bytes, at: float, body: bytes, lifetime: float) -> None:
        """Keeps the answer to a question, and forgets those that have had their time."""
        self._status.pop(question, None)
        self._status[question] = Stored(at, body, "")
        while at - self._status[oldest := next(iter(self._status))].at >= lifetime > 0:
            del self._status[oldest]

    def quota_used(self, mark: str, day: str) -> int:
        """How many mails the user has sent on that day."""
        return self._mails[mark, day]

    def check_quota(self, mark: str, day: str, count: int, quota: int | None) -> None:
        """Raises `Refused` where the day's quota has no room for so many mails."""
        if quota is not None and self._mails[mark, day] + count > quota:
            raise Refused(40913)

    def count_quota(self, mark: str, day: str, count: int) -> None:
        """So many mails more on that day."""
        self._mails[mark, day] += count

    def spend(self, balance: str, mark: str, count: int, limit: int | None, code: int) -> None:
        """Counts against a balance; raises `Refused` with the code where it is too low."""
        if limit is not None and self._spent[balance, mark] + count > limit:
            raise Refused(code)
        self._spent[balance, mark] += count

    def check_number(self, mark: str, phone: str, at: float, per_minute: int | None, per_day: int | None) -> None:
        """Raises `Refused` where one number has had too many."""
        times = self._numbers[mark, phone]
        while times and times[0] <= at - DAY:
            times.popleft()
        if per_day is not None and len(times) >= per_day:
            raise Refused(498)
        if per_minute is not None and sum(time > at - MINUTE for time in times) >= per_minute:
            raise Refused(496)

    def count_number(self, mark: str, phone: str, at: float) -> None:
        """One more to that number."""
        self._numbers[mark, phone].append(at)
