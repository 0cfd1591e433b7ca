"""What a lane or a key has learned, written down: closings, backoffs, readiness, and that it works again."""

from typing import Any

from sqlalchemy import Connection, and_, case, false, null, or_, select, update

from paceline.clock import now
from worker.retry import next_question
from worker.statements import key_row, lane_row
from worker.work import LaneNews


def order(news: LaneNews) -> tuple[bool, str]:
    """The order in which rows are written, so that no two transactions wait for each other: lanes, then keys."""
    return news.key is not None, news.key or news.lane


def record(connection: Connection, news: LaneNews) -> None:
    """Write down one piece of news."""
    if news.succeeded:
        _succeeded(connection, news.lane)
        return
    if news.unready:
        _unready(connection, news.lane, news.reason or "not ready")
    if news.seconds is not None or not news.unready:
        _closed(connection, news)


def _succeeded(connection: Connection, lane: str) -> None:
    # A success ends a backoff; it never reopens what a provider or an operator closed until a date.
    backoff = lane_row.c.refusals > 0
    connection.execute(
        update(lane_row)
        .where(lane_row.c.name == lane)
        .values(
            succeeded_at=now(),
            refusals=0,
            asked=case((lane_row.c.unready.is_(None), 0), else_=lane_row.c.asked),
            closed_reason=case((backoff, null()), else_=lane_row.c.closed_reason),
            closed_until=case((backoff, null()), else_=lane_row.c.closed_until),
        )
    )


def _unready(connection: Connection, lane: str, reason: str) -> None:
    """Beside any closing, which lasts as long as it does. What left before it was known is no new reason to wait."""
    state = select(lane_row.c.asked).where(lane_row.c.name == lane, lane_row.c.unready.is_(None)).with_for_update()
    asked = connection.scalar(state)
    if asked is not None:
        wait, reason = next_question(asked), f"{reason}; its provider is asked until it can send again"
        connection.execute(update(lane_row).where(lane_row.c.name == lane).values(unready=reason, ask_at=now() + wait))


def _closed(connection: Connection, news: LaneNews) -> None:
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
