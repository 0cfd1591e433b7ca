"""Every claim and every result: one transaction records what happened and takes what comes next.

The order inside a transaction is the same everywhere, so that no two can wait for each other: messages of one's own
claims, attempts, events, the ledger, lanes, keys, then rows that nobody else holds.
"""

import math
import operator
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, Insert, insert, select, update

from paceline.ciphers import SEARCHED, Unreadable
from paceline.clock import now
from paceline.content import Content, Keyring, content_of, keyring_of
from paceline.database import write
from paceline.door import MESSAGE
from paceline.jobs import place
from paceline.status import Priority
from paceline.tables import ERASED
from worker.jobs.statements import JobStatements
from worker.lanes import news as lane_news
from worker.lanes.topology import Lane, Work
from worker.routing import Late, late_in
from worker.rows import encode
from worker.statements import Statements, grant, stream
from worker.suppressing import Suppressing
from worker.work import Batch, Claim, Claimed, Granted, JobResult, Order, PollResult, Record, Result

STRIDE_DEBT = 64.0  # how far behind its rivals a stream may have fallen: what it may take at once when it returns

log = structlog.get_logger("paceline.store")


class Store:
    """The database as the pump sees it. Every method is one transaction and safe to repeat unless it says otherwise.

    Claims bear the name of this `process`, if it keeps a file of what it has in hand.
    """

    def __init__(self, engine: Engine, process: str | None = None) -> None:
        self._engine = engine
        self._process = process
        self._statements = Statements(engine.dialect.name)
        self._suppressing = Suppressing(engine.dialect.name)
        self._foreign: set[str] = set()  # lanes that are another configuration's, of which the log has been told
        self._locked: set[str] = set()  # lanes whose content this process has no key for, likewise
        self._jobs = JobStatements(engine.dialect.name)

    @property
    def engine(self) -> Engine:
        """The engine, for queries that claim and write nothing."""
        return self._engine

    def cycle(self, batch: Batch, order: Order | None = None, *, repeated: bool = False) -> Claim | None:
        """Write the batch and, if there is an order, take what it asks for.

        Repeat it after a failed commit with `repeated`, since the first one may have been kept: whatever it writes is
        the same the second time, the claim is found again by its operation id, and the ledger's counters, which are
        not, are left as they are until the leases end: a stricter count, never a looser one.
        """
        with write(self._engine) as connection:
            self._record(connection, batch, repeated)
            if order is None:
                return None
            if repeated and (found := self._claim_again(connection, order)) is not None:
                return found
            return self._claim(connection, order)

    def _record(self, connection: Connection, batch: Batch, repeated: bool) -> None:
        run = self._statements
        if batch.results:
            rows = [_row(result) for result in sorted(batch.results, key=_id)]
            _hide_ids(connection, rows)
            given = encode(rows)
            moved = {row.id for row in connection.execute(run.finish, {"rows": given})}
            connection.execute(run.attempts, {"rows": given})
            self._note(connection, run.events, rows, given, moved)
            self._suppressing.told_by(connection, _opted_out(batch.results), "response")
        if batch.polls:
            rows = [_row(result) for result in sorted(batch.polls, key=_id)]
            given = encode(rows)
            moved = {row.id for row in connection.execute(run.reports, {"rows": given})}
            connection.execute(run.next_polls, {"rows": given})
            self._note(connection, run.poll_events, rows, given, moved)
            self._suppressing.told_by(connection, _opted_out(batch.polls), "poll")
        if batch.jobs:
            safe = content_of(connection)
            self._jobs.record(connection, [_job_row(result, safe) for result in sorted(batch.jobs, key=_id)])
        if batch.granted:
            connection.execute(run.granted, {"rows": encode([_granted(item) for item in batch.granted])})
        if not repeated and (closed := _closed(batch)):
            connection.execute(run.closed, {"rows": encode(closed)})
        for news in sorted(batch.news, key=lane_news.order):
            lane_news.record(connection, news)

    def _note(
        self, connection: Connection, events: Insert, rows: list[dict[str, Any]], given: str, moved: set[str]
    ) -> None:
        """Write the events of the messages that moved: nearly always all, whose encoding then serves again."""
        if moved:
            all_moved = len(moved) == len(rows)
            connection.execute(
                events, {"rows": given if all_moved else encode([row for row in rows if row["id"] in moved])}
            )

    # Claims

    def _claim(self, connection: Connection, order: Order) -> Claim:
        lane = order.lane
        state = connection.execute(self._statements.lane_state, {"lane": lane.name}).one_or_none()
        # Where another worker has published another configuration, the lane has another name, or its name another key.
        if state is None or (state.fingerprint, state.pace) != (lane.fingerprint, lane.pace):
            if lane.name not in self._foreign:
                self._foreign.add(lane.name)
                log.warning("another_configuration_is_published", lane=lane.name, remedy="restart the workers with it")
            return Claim(order.operation_id, lane, "", closed=True)
        if keyring_of(connection).locks(state.content):
            if lane.name not in self._locked:
                self._locked.add(lane.name)
                log.warning("content_is_locked", lane=lane.name, remedy="paceline doctor names the key that is missing")
            return Claim(order.operation_id, lane, "", closed=True)
        claim = Claim(order.operation_id, lane, state.nonce, refusals=state.refusals)
        if state.key_closed or state.lane_closed or state.unready:
            reasons = [state.key_wait] * bool(state.key_closed) + [state.lane_wait] * bool(state.lane_closed)
            reasons += [None] * bool(state.unready)
            waits = [wait for wait in reasons if wait is not None]
            return replace(claim, closed=True, closed_for=max(waits) if len(waits) == len(reasons) else None)
        if lane.senders:
            claim = self._take(connection, order, claim)
        if claim.messages and state.any_suppressed:
            channels = {via: sender.capabilities.channel for via, sender in lane.senders.items()}
            claim = replace(claim, messages=self._suppressing.mark(connection, channels, claim.messages))
        # Below every message: questions about those that have left, then the steps of jobs.
        if lane.pollers:
            claim = self._fill(order, claim, lambda room: self._ask(connection, order, room))
        if lane.callers:
            claim = self._fill(order, claim, lambda room: self._jobs.claim(connection, order, room))
        if claim.messages:
            connection.execute(
                insert(grant).values(
                    id=order.operation_id,
                    key=lane.key,
                    lane=lane.name,
                    process=self._process,
                    high=sum(item.high for item in claim.messages),
                    rest=sum(not item.high for item in claim.messages),
                    created_at=now(),
                    lease_until=now() + lane.lease,
                    closed=0,
                )
            )
        return claim

    def _take(self, connection: Connection, order: Order, claim: Claim) -> Claim:
        lane = order.lane
        late = {via: self._late(connection, lane, via) for via in lane.senders}
        own = {via: self._own(connection, lane, via) for via, marks in late.items() if marks is not None}
        vias = [via for via, marks in late.items() if marks is None or marks or own[via]]
        lines = connection.execute(self._statements.streams, {"vias": vias}).all()
        taken: list[Claimed] = []
        more = {True: False, False: False}
        for urgent, allowed in ((True, order.high), (False, order.rest)):
            budget = min(allowed, order.total - len(taken))
            for level in (Priority.HIGH.level,) if urgent else (Priority.NORMAL.level, Priority.BULK.level):
                rivals = [
                    _Rival(
                        row.id, row.via, row.passed, row.weight, level, None if marks is None else marks.get(row.id, [])
                    )
                    for row in lines
                    if row.priority == level
                    and ((marks := late[row.via]) is None or row.id in marks or row.id in own[row.via])
                ]
                if not rivals:
                    continue
                if budget <= 0:
                    more[urgent] = True
                    continue
                got = self._share(connection, order, rivals, budget)
                taken += got
                budget -= len(got)
                more[urgent] = more[urgent] or budget <= 0
        return replace(claim, messages=tuple(taken), more_high=more[True], more_rest=more[False])

    def _late(self, connection: Connection, lane: Lane, via: str) -> dict[int, list[Late]] | None:
        """None if all that waits there is this lane's to take: no account that stands earlier in the route is open.

        Else what those have no room for in time, by the line's id: this one is the next, not another.
        """
        earlier = lane.behind.get(via, ())
        if not earlier:
            return None
        rows = connection.execute(self._statements.open_lanes, {"lanes": list(earlier)}).all()
        if not rows:
            return None
        # The last of them says what neither it nor those before it have room for.
        return late_in(max(rows, key=lambda row: earlier.index(row.name)).late)

    def _own(self, connection: Connection, lane: Lane, via: str) -> set[int]:
        """The lines in which something waits that this lane's account may have sent already: no other repeats it."""
        return set(connection.scalars(self._statements.own_lines, {"account": lane.senders[via].name}))

    def _share(self, connection: Connection, order: Order, rivals: list["_Rival"], budget: int) -> list[Claimed]:
        """Take from streams of one priority by stride: the one that has had least for its weight goes next."""
        contested = len(rivals) > 1
        floor = max(rival.passed for rival in rivals) - STRIDE_DEBT
        for rival in rivals:
            rival.passed = max(rival.passed, floor)
        taken: list[Claimed] = []
        active = list(rivals)
        while active and len(taken) < budget:
            rival = min(active, key=lambda item: item.passed)
            room = budget - len(taken)
            share = (
                room
                if len(active) == 1
                else max(1, math.ceil(room * rival.weight / sum(item.weight for item in active)))
            )
            got = self._claim_stream(connection, order, rival, min(share, room))
            taken += got
            rival.passed += len(got) / rival.weight
            rival.took += len(got)
            if len(got) < share:
                active.remove(rival)
        if contested:
            for rival in sorted(rivals, key=lambda item: item.id):
                if rival.took:
                    connection.execute(update(stream).where(stream.c.id == rival.id).values(passed=rival.passed))
        return taken

    def _claim_stream(self, connection: Connection, order: Order, rival: "_Rival", count: int) -> list[Claimed]:
        wish = {
            "stream": rival.id,
            "count": count,
            "grant": order.operation_id,
            "lease": order.lane.lease,
            "account": order.lane.senders[rival.via].name,
            "lane": order.lane.name,
        }
        rows: list[Any] = []
        if rival.late is None:
            rows += connection.execute(self._statements.claim, wish)
        else:
            rows += connection.execute(self._statements.claim_own, wish)
        for since, until, position in rival.late or ():
            if len(rows) < count:
                wish |= {"since": since, "until": until, "place": position, "count": count - len(rows)}
                rows += connection.execute(self._statements.claim_late, wish)
        keys = keyring_of(connection)
        return sorted((_claimed(row, rival.level, rival.via, keys) for row in rows), key=lambda item: item.id)

    def _fill(self, order: Order, claim: Claim, take: Callable[[int], tuple[Claimed, ...]]) -> Claim:
        """Take work of a lower kind with what the higher ones left of the order."""
        taken = claim.messages
        room = min(order.rest - sum(not item.high for item in taken), order.total - len(taken))
        if room <= 0:
            return replace(claim, more_rest=True)  # nobody looked
        found = take(room)
        return replace(claim, messages=(*taken, *found), more_rest=claim.more_rest or len(found) >= room)

    def _ask(self, connection: Connection, order: Order, room: int) -> tuple[Claimed, ...]:
        rows: list[Any] = []
        # Account by account, so that each is one walk along the index.
        for account in order.lane.pollers:
            if len(rows) < room:
                wish = {"of_account": account, "count": room - len(rows), "lease": order.lane.lease}
                rows += connection.execute(self._statements.ask, wish).all()
        return tuple(
            Claimed(
                id=row.id,
                attempt=0,
                priority=Priority.BULK.level,
                via=row.account,
                payload="",
                provider_message_id=_id_in(connection, row.provider_message_id),
                polls=row.polls,
                accepted_age=row.accepted_age or 0.0,
                work=Work.POLL,
            )
            for row in rows
        )

    def _claim_again(self, connection: Connection, order: Order) -> Claim | None:
        """The claim of an earlier, apparently failed commit, if it was kept."""
        if connection.execute(select(grant.c.id).where(grant.c.id == order.operation_id)).first() is None:
            return None
        state = connection.execute(self._statements.lane_state, {"lane": order.lane.name}).one_or_none()
        if state is None:
            return None  # renamed meanwhile: the leases settle what was claimed
        # Questions are not found again: they repeat themselves when their lease ends.
        lane, found = order.lane, tuple[Claimed, ...]()
        if lane.senders:
            rows = connection.execute(self._statements.claimed_by, {"grant": order.operation_id, "lane": lane.name})
            found = tuple(_claimed(row, row.priority, row.via, keyring_of(connection)) for row in rows)
        if lane.callers:
            found += self._jobs.claimed(connection, order)
        return Claim(order.operation_id, lane, state.nonce, found, True, True, refusals=state.refusals)


@dataclass(slots=True)
class _Rival:
    id: int
    via: str
    passed: float
    weight: float
    level: int
    late: list[Late] | None  # None: all of it is ours to take; else this, and what may be ours already
    took: int = 0


_id = operator.attrgetter("id")


def _row(item: Result | PollResult) -> dict[str, Any]:
    """The fields that are set: what is missing in JSON is null in the database."""
    values = {name: value for name in item.__slots__ if (value := getattr(item, name)) is not None}
    values["sent_age"] = _age(values.pop("sent_at", None))
    return values


def _hide_ids(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Of an installation with keys: the providers' ids that tell whom a message is for."""
    telling = [row for row in rows if "@" in row.get("provider_message_id", "")] if keyring_of(connection).ids else []
    for row in telling:
        row["provider_message_id"] = content_of(connection).id(row["provider_message_id"])


def _id_in(connection: Connection, stored: str | None) -> str | None:
    return content_of(connection).id_in(stored) if stored is not None and stored.startswith(SEARCHED) else stored


def _job_row(item: JobResult, safe: Content) -> dict[str, Any]:
    values = {name: value for name in item.__slots__ if (value := getattr(item, name)) is not None}
    values |= {name: safe.seal(values[name], *place(name, item.id)) for name in ("memory", "result") if name in values}
    return values | {"left": item.sent_at is not None, "sent_age": _age(values.pop("sent_at", None))}


def _opted_out(items: Sequence[Result | PollResult]) -> dict[str, tuple[str, str]]:
    return {item.id: (item.opted_out, item.account) for item in items if item.opted_out}


def _granted(item: Granted) -> dict[str, Any]:
    return {"id": item.id, "high": item.high, "rest": item.rest, "age": _age(item.since)}


def _age(instant: float | None) -> float:
    """Seconds since, at this try: the database may be away for a while, and ages are what it is told."""
    return 0.0 if instant is None else max(0.0, time.monotonic() - instant)


def _claimed(row: Any, priority: int, via: str, keys: Keyring) -> Claimed:
    payload, unreadable = row.payload, ""
    try:
        payload = keys.open(payload, MESSAGE, row.id)
    except Unreadable as error:  # of this row alone: what is wrong with all keys has closed the claim
        payload, unreadable = ERASED, str(error)
    return Claimed(
        id=row.id,
        attempt=row.attempt,
        priority=priority,
        via=via,
        payload=payload,
        failures=row.failures,
        recovered=bool(row.recovered),
        unresolved=bool(row.unresolved),
        first_sent_age=row.first_sent_age,
        expires_in=row.expires_in,
        unreadable=unreadable,
    )


def _closed(batch: Batch) -> list[dict[str, Any]]:
    """For each grant: how many of its requests have an outcome now, and the age of the latest to leave."""
    sums: dict[str, dict[str, Any]] = {}
    written: tuple[Record, ...] = (*batch.results, *batch.polls, *batch.jobs)
    for item in written:
        if item.granted:
            age = _age(item.sent_at)
            entry = sums.setdefault(item.grant_id, {"id": item.grant_id, "closed": 0, "age": age})
            entry["closed"] += 1
            entry["age"] = min(entry["age"], age)
    return sorted(sums.values(), key=lambda entry: str(entry["id"]))
