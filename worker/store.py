"""Every claim and every result: one transaction records what happened and takes what comes next.

The order inside a transaction is the same everywhere, so that no two can wait for each other: messages of one's own
claims, attempts, events, the ledger, lanes, keys, then rows that nobody else holds.
"""

import math
import operator
import time
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Engine, Insert, and_, case, false, insert, null, or_, select, update

from paceline.clock import now
from paceline.database import write
from paceline.status import Priority
from worker.rows import encode
from worker.statements import Statements, grant, key_row, lane_row, stream
from worker.topology import Lane, Work
from worker.work import Batch, Claim, Claimed, Granted, LaneNews, Order, PollResult, Result

STRIDE_DEBT = 64.0  # how far behind its rivals a stream may have fallen: what it may take at once when it returns


class Store:
    """The database as the pump sees it. Every method is one transaction and safe to repeat unless it says otherwise."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._statements = Statements(engine.dialect.name)

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
            given = encode(rows)
            moved = {row.id for row in connection.execute(run.finish, {"rows": given})}
            connection.execute(run.attempts, {"rows": given})
            self._note(connection, run.events, rows, given, moved)
        if batch.polls:
            rows = [_row(result) for result in sorted(batch.polls, key=_id)]
            given = encode(rows)
            moved = {row.id for row in connection.execute(run.reports, {"rows": given})}
            connection.execute(run.next_polls, {"rows": given})
            self._note(connection, run.poll_events, rows, given, moved)
        if batch.granted:
            connection.execute(run.granted, {"rows": encode([_granted(item) for item in batch.granted])})
        if not repeated and (closed := _closed(batch)):
            connection.execute(run.closed, {"rows": encode(closed)})
        for news in sorted(batch.news, key=lambda item: (item.key is not None, item.key or item.lane)):
            self._record_news(connection, news)

    def _note(
        self, connection: Connection, events: Insert, rows: list[dict[str, Any]], given: str, moved: set[str]
    ) -> None:
        """Write the events of the messages that moved: nearly always all, whose encoding then serves again."""
        if moved:
            all_moved = len(moved) == len(rows)
            connection.execute(
                events, {"rows": given if all_moved else encode([row for row in rows if row["id"] in moved])}
            )

    def _record_news(self, connection: Connection, news: LaneNews) -> None:
        if news.succeeded:
            # A success ends a backoff; it never reopens what a provider or an operator closed until a date.
            backoff = lane_row.c.refusals > 0
            connection.execute(
                update(lane_row)
                .where(lane_row.c.name == news.lane)
                .values(
                    succeeded_at=now(),
                    refusals=0,
                    closed_reason=case((backoff, null()), else_=lane_row.c.closed_reason),
                    closed_until=case((backoff, null()), else_=lane_row.c.closed_until),
                )
            )
            return
        table, name = (lane_row, news.lane) if news.key is None else (key_row, news.key)
        values: dict[str, Any]
        if news.seconds is None:
            values = {"closed_reason": news.reason, "closed_until": None}
        else:
            until = now() + news.seconds
            held = and_(
                table.c.closed_reason.is_not(None), or_(table.c.closed_until.is_(None), table.c.closed_until > until)
            )
            values = {
                "closed_reason": case((held, table.c.closed_reason), else_=news.reason),
                "closed_until": case((held, table.c.closed_until), else_=until),
            }
        if news.key is None:
            # A backoff that a date or an operator outlasts stays without probes: its end is not for a success to bring.
            kept = and_(held, table.c.refusals == 0) if news.seconds is not None else false()
            values["refusals"] = case((kept, 0), else_=news.refusals)
        connection.execute(update(table).where(table.c.name == name).values(**values))

    # Claims

    def _claim(self, connection: Connection, order: Order) -> Claim:
        lane = order.lane
        state = connection.execute(self._statements.lane_state, {"lane": lane.name}).one_or_none()
        if state is None:  # another worker has published another configuration: the lane has another name now
            return Claim(order.operation_id, lane, "", closed=True)
        claim = Claim(order.operation_id, lane, state.nonce, refusals=state.refusals)
        if state.key_closed or state.lane_closed:
            reasons = [state.key_wait] * bool(state.key_closed) + [state.lane_wait] * bool(state.lane_closed)
            waits = [wait for wait in reasons if wait is not None]
            return replace(claim, closed=True, closed_for=max(waits) if len(waits) == len(reasons) else None)
        claim = self._take(connection, order, claim) if lane.work is Work.SEND else self._ask(connection, order, claim)
        if claim.messages:
            connection.execute(
                insert(grant).values(
                    id=order.operation_id,
                    key=lane.key,
                    lane=lane.name,
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
        vias = [via for via in lane.senders if not self._held_by_earlier(connection, lane, via)]
        lines = connection.execute(self._statements.streams, {"vias": vias}).all()
        taken: list[Claimed] = []
        more = {True: False, False: False}
        for urgent, allowed in ((True, order.high), (False, order.rest)):
            budget = min(allowed, order.total - len(taken))
            for level in (Priority.HIGH.level,) if urgent else (Priority.NORMAL.level, Priority.BULK.level):
                rivals = [
                    _Rival(row.id, row.via, row.passed, row.weight, level) for row in lines if row.priority == level
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

    def _held_by_earlier(self, connection: Connection, lane: Lane, via: str) -> bool:
        """True while an account that stands earlier in the route is open: this one is the next, not another."""
        earlier = lane.behind.get(via, ())
        if not earlier:
            return False
        open_lanes = connection.execute(self._statements.open_lanes, {"lanes": list(earlier)}).all()
        return bool(open_lanes)

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
        rows = connection.execute(
            self._statements.claim,
            {
                "stream": rival.id,
                "count": count,
                "grant": order.operation_id,
                "lease": order.lane.lease,
                "account": order.lane.senders[rival.via].name,
                "lane": order.lane.name,
            },
        )
        return sorted((_claimed(row, rival.level, rival.via) for row in rows), key=lambda item: item.id)

    def _ask(self, connection: Connection, order: Order, claim: Claim) -> Claim:
        budget = min(order.rest, order.total)
        rows: list[Any] = []
        # Account by account, so that each is one walk along the index.
        for account in order.lane.senders:
            if len(rows) < budget:
                wish = {"of_account": account, "count": budget - len(rows), "lease": order.lane.lease}
                rows += connection.execute(self._statements.ask, wish).all()
        asked = tuple(
            Claimed(
                id=row.id,
                attempt=0,
                priority=Priority.BULK.level,
                via=row.account,
                payload="",
                provider_message_id=row.provider_message_id,
                polls=row.polls,
                accepted_age=row.accepted_age or 0.0,
            )
            for row in rows
        )
        return replace(claim, messages=asked, more_rest=len(asked) >= budget)

    def _claim_again(self, connection: Connection, order: Order) -> Claim | None:
        """The claim of an earlier, apparently failed commit, if it was kept."""
        if connection.execute(select(grant.c.id).where(grant.c.id == order.operation_id)).first() is None:
            return None
        state = connection.execute(self._statements.lane_state, {"lane": order.lane.name}).one_or_none()
        if state is None:
            return None  # renamed meanwhile: the leases settle what was claimed
        if order.lane.work is not Work.SEND:
            # Questions repeat themselves when their lease ends.
            return Claim(order.operation_id, order.lane, state.nonce)
        rows = connection.execute(self._statements.claimed_by, {"grant": order.operation_id, "lane": order.lane.name})
        found = tuple(_claimed(row, row.priority, row.via) for row in rows)
        return Claim(order.operation_id, order.lane, state.nonce, found, True, True, refusals=state.refusals)


@dataclass(slots=True)
class _Rival:
    id: int
    via: str
    passed: float
    weight: float
    level: int
    took: int = 0


_id = operator.attrgetter("id")


def _row(item: Result | PollResult) -> dict[str, Any]:
    """The fields that are set: what is missing in JSON is null in the database."""
    values = {name: value for name in item.__slots__ if (value := getattr(item, name)) is not None}
    values["sent_age"] = _age(values.pop("sent_at", None))
    return values


def _granted(item: Granted) -> dict[str, Any]:
    return {"id": item.id, "high": item.high, "rest": item.rest, "age": _age(item.since)}


def _age(instant: float | None) -> float:
    """Seconds since, at this try: the database may be away for a while, and ages are what it is told."""
    return 0.0 if instant is None else max(0.0, time.monotonic() - instant)


def _claimed(row: Any, priority: int, via: str) -> Claimed:
    return Claimed(
        id=row.id,
        attempt=row.attempt,
        priority=priority,
        via=via,
        payload=row.payload,
        failures=row.failures,
        recovered=bool(row.recovered),
        unresolved=bool(row.unresolved),
        first_sent_age=row.first_sent_age,
        expires_in=row.expires_in,
    )


def _closed(batch: Batch) -> list[dict[str, Any]]:
    """For each grant: how many of its requests have an outcome now, and the age of the latest to leave."""
    sums: dict[str, dict[str, Any]] = {}
    written: tuple[Result | PollResult, ...] = (*batch.results, *batch.polls)
    for item in written:
        if item.granted:
            age = _age(item.sent_at)
            entry = sums.setdefault(item.grant_id, {"id": item.grant_id, "closed": 0, "age": age})
            entry["closed"] += 1
            entry["age"] = min(entry["age"], age)
    return sorted(sums.values(), key=lambda entry: str(entry["id"]))
