"""Statistics and their dates, in the shapes of both generations."""

import re
from collections import Counter
from datetime import UTC, date, datetime
from typing import Any

from sandbox.politicalcomms.refused import Refused

_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def period(query: dict[str, str], now: float, *, longest: int, oldest: int) -> tuple[str, str]:
    """The range that a query names; raises `Refused`."""
    days = [_day(query.get(name, ""), name) for name in ("startDate", "endDate")]
    first, last = days
    if not 0 <= (last - first).days < longest:
        raise Refused(400, "RANGE_TOO_LARGE")
    if (datetime.fromtimestamp(now, UTC).date() - first).days > oldest:
        raise Refused(400, "RANGE_TOO_OLD")
    return first.isoformat(), last.isoformat()


def message_stats(
    days: dict[tuple[str, str, str], float], reach: list[str], start: str, end: str, generation: int
) -> dict[str, Any]:
    """GET /messages/stats."""
    counted: Counter[tuple[str, str]] = Counter()
    for (day, organization, status), count in days.items():
        if organization in reach and start <= day <= end and status != "queued":
            counted[day, status] += int(count)
    if generation == 1:
        words = {"sent": "sent", "delivered": "delivered", "failed": "undeliverable"}
        daily: dict[str, Counter[str]] = {}
        for (day, status), count in counted.items():
            daily.setdefault(day, Counter())[words.get(status, status)] += count
        totals: Counter[str] = Counter(dict.fromkeys(("sent", "delivered", "undeliverable", "replies", "opt_outs"), 0))
        for counts in daily.values():
            totals.update(counts)
        return {"totals": dict(totals), "daily": [{"date": day, **daily[day]} for day in sorted(daily)]}
    totals2: Counter[str] = Counter()
    for (_, status), count in counted.items():
        totals2[status] += count
    return {
        "totals": {status: {"count": count, "totalCost": f"{count / 100:.4f}"} for status, count in totals2.items()},
        "summary": {"total": totals2.total()},
        "deliveryRates": {"delivered": totals2["delivered"] / totals2["sent"] if totals2["sent"] else None},
        "byDay": [
            {"date": day, "status": status, "count": count, "totalCost": f"{count / 100:.4f}"}
            for (day, status), count in sorted(counted.items())
        ],
        "dateRange": {"startDate": start, "endDate": end},
    }


def _day(value: str, name: str) -> date:
    try:
        if _DATE.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise Refused(400, "INVALID_DATE_FORMAT", f"{name}: must be YYYY-MM-DD.")
