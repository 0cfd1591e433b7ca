"""The faults that are switched on for one provider, and which of them strikes next."""

import random
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from sandbox.call import Call
from sandbox.faults import AnyFault, Drop, Fault, Refuse, RequestFault, WebhookFault

F = TypeVar("F", bound=Fault)


class Armed:
    """A fault with its count of matches and strikes."""

    def __init__(self, number: int, fault: AnyFault, seed: int) -> None:
        self.number = number
        self.fault = fault
        self.matched = 0
        self.struck = 0
        self._random = random.Random(f"{seed}:{number}")

    @property
    def active(self) -> bool:
        """Whether it may strike again."""
        return self.fault.count is None or self.struck < self.fault.count

    def strikes(self) -> bool:
        """Counts a match, and says whether the fault strikes at it."""
        self.matched += 1
        if self.matched <= self.fault.skip or self._random.random() >= self.fault.probability:
            return False
        self.struck += 1
        return True

    def as_json(self) -> dict[str, Any]:
        """Its number, its definition and its counts."""
        return {
            "id": self.number,
            "fault": self.fault.model_dump(mode="json"),
            "active": self.active,
            "matched": self.matched,
            "struck": self.struck,
        }


class FaultBoard:
    """At most one fault strikes a request, an event, an attempt or a connection: the first that matches and is due."""

    def __init__(self, seed: int, faults: Iterable[AnyFault] = ()) -> None:
        self._seed = seed
        self._added = 0
        self._armed: list[Armed] = []
        for fault in faults:
            self.add(fault)

    def add(self, fault: AnyFault) -> int:
        """Switches a fault on and returns its number."""
        self._added += 1
        self._armed.append(Armed(self._added, fault, self._seed))
        return self._added

    def remove(self, number: int) -> bool:
        """Switches one fault off; says whether there was one."""
        before = len(self._armed)
        self._armed = [armed for armed in self._armed if armed.number != number]
        return len(self._armed) < before

    def clear(self) -> None:
        """Switches all faults off."""
        self._armed.clear()

    def as_json(self) -> list[dict[str, Any]]:
        """All faults, spent ones too, oldest first."""
        return [armed.as_json() for armed in self._armed]

    def connection(self) -> bool:
        """Whether a new connection is refused."""
        return self._first(Refuse, lambda _: True) is not None

    def head(self, call: Call) -> Drop | None:
        """The fault that strikes a request before its body is read."""
        return self._first(Drop, lambda fault: _fits(fault, call, ""))

    def request(self, call: Call, recipient: str) -> RequestFault | None:
        """The fault that strikes a request that has been read."""
        return self._first(RequestFault, lambda fault: not isinstance(fault, Drop) and _fits(fault, call, recipient))

    def webhook(self, kinds: tuple[type[WebhookFault], ...], event: str, recipient: str) -> WebhookFault | None:
        """The fault among `kinds` that strikes an event, or None."""
        return self._first(
            kinds, lambda fault: fnmatchcase(event, fault.event) and fnmatchcase(recipient, fault.recipient)
        )

    def _first(self, kinds: type[F] | tuple[type[F], ...], fits: Callable[[F], bool]) -> F | None:
        for armed in self._armed:
            fault = armed.fault
            if armed.active and isinstance(fault, kinds) and fits(fault) and armed.strikes():
                return fault
        return None


def _fits(fault: RequestFault, call: Call, recipient: str) -> bool:
    return (
        fnmatchcase(call.method, fault.method)
        and fnmatchcase(call.path, fault.path)
        and fnmatchcase(recipient, fault.recipient)
    )
