"""When to wake the workers for what was written in a transaction that is not ours: after its commit, if it says so."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from paceline.transactions import is_django

Wake = Callable[[Sequence[str], bool], object]


@dataclass(slots=True)
class Lanes:
    """Lanes that have something new, in the order they came: for `high`, and for the rest."""

    high: dict[str, None] = field(default_factory=dict)
    rest: dict[str, None] = field(default_factory=dict)

    def add(self, lanes: Sequence[str], high: bool) -> None:
        """Remember them."""
        (self.high if high else self.rest).update(dict.fromkeys(lanes))

    def merge(self, other: "Lanes") -> None:
        """Remember those of another as well."""
        self.high.update(other.high)
        self.rest.update(other.rest)

    def wake(self, wake: Wake) -> None:
        """Wake for all of them, `high` first, and forget them."""
        for lanes, high in ((self.high, True), (self.rest, False)):
            if lanes:
                wake(tuple(lanes), high)
        self.high, self.rest = {}, {}


class Announcer:
    """Holds wake-ups back until the caller's transaction is committed. Thread-safe as far as sessions are.

    A SQLAlchemy session and Django's connection tell when that is. A bare connection does not: its lanes wait for
    `announce`, and the workers' tick finds them within about a second without it.
    """

    def __init__(self, wake: Wake) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._held = Lanes()

    def after_commit(self, session: object, lanes: Lanes) -> None:
        """Wake these lanes once what `session` does now is committed."""
        if isinstance(session, scoped_session):
            session = session()
        if isinstance(session, Session):
            self._of(session).merge(lanes)
        elif is_django(session) and _tells(session):
            session.on_commit(lambda: lanes.wake(self._wake))  # type: ignore[attr-defined]  # Django's DatabaseWrapper
        else:
            with self._lock:
                self._held.merge(lanes)

    def announce(self) -> None:
        """Wake the lanes of every bare connection that was used: its owner has committed."""
        with self._lock:
            held, self._held = self._held, Lanes()
        held.wake(self._wake)

    def _of(self, session: Session) -> Lanes:
        lanes: Lanes | None = session.info.get(self)
        if lanes is None:
            lanes = session.info[self] = Lanes()
            event.listen(session, "after_commit", self._committed)
            event.listen(session, "after_transaction_end", self._ended)
        return lanes

    def _committed(self, session: Session) -> None:
        # SQLAlchemy says so for savepoints too, before anybody else can see what they hold.
        if not session.in_nested_transaction():
            self._of(session).wake(self._wake)

    def _ended(self, session: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is None:
            session.info[self] = Lanes()


def _tells(django: object) -> bool:
    # Outside of atomic() and without autocommit, Django's on_commit() refuses: the application commits by hand.
    return bool(getattr(django, "in_atomic_block", False) or django.get_autocommit())  # type: ignore[attr-defined]  # its wrapper
