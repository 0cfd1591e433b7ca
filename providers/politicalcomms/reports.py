"""Reading what Political Comms counts: statistics, charges and pages, in the shapes of both generations.

Each function takes an answer's payload and returns None for what it cannot read. What the provider wrote is handed on
under `answer`, since it holds more than the two generations share.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

# The words of generation 1 and of a project's metrics.
COUNTS = ("sent", "delivered", "undeliverable", "replies", "opt_outs", "clicks_total", "clicks_unique")


def counts(found: object) -> dict[str, int]:
    """Whole numbers by word: plain ones (generation 1) or `{"count": …}` (generation 2)."""
    if not isinstance(found, Mapping):
        return {}
    plain = {word: value.get("count") if isinstance(value, Mapping) else value for word, value in found.items()}
    return {word: value for word, value in plain.items() if isinstance(value, int) and not isinstance(value, bool)}


def project_stats(found: Any) -> dict[str, Any] | None:
    """A project's `status`, `as_of` and `metrics`; test messages are counted apart, under `test`."""
    if not isinstance(found, dict) or not found:
        return None
    metrics = counts(next((found[name] for name in ("metrics", "totals", "stats") if name in found), found))
    return {
        "project_id": found.get("project_id") or found.get("id"),
        "status": found.get("status"),
        "as_of": found.get("as_of"),
        "metrics": {word: metrics[word] for word in COUNTS if word in metrics},
        "test": counts(found.get("test")),
        "answer": found,
    }


def daily(found: Any) -> dict[str, Any] | None:
    """`totals` by status, and `days`: the same for each date."""
    if not isinstance(found, dict) or "totals" not in found:
        return None
    days: dict[str, Counter[str]] = {}
    rows = found.get("daily") or found.get("byDay")
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and isinstance(row.get("date"), str):
            # Generation 2 has a row for each date and status, generation 1 one for each date.
            given = {str(row["status"]): row.get("count")} if "status" in row else row
            days.setdefault(row["date"], Counter()).update(counts(given))
    return {
        "totals": counts(found["totals"]),
        "days": [{"date": date, **days[date]} for date in sorted(days)],
        "answer": found,
    }


def usage(found: Any) -> dict[str, Any] | None:
    """`charges`: the sum as a positive decimal string, None where the answer names none."""
    if not found or not isinstance(found, dict | list):
        return None
    several = found if isinstance(found, list) else found.get("organizations")
    holders = several if isinstance(several, list) else [found]
    sums = [_charges(holder) for holder in holders if isinstance(holder, dict)]
    known = [amount for amount in sums if amount is not None]
    return {"charges": str(sum(known, Decimal(0))) if known else None, "answer": found}


def initiators(found: Any) -> dict[str, Any] | None:
    """`initiators`: who sent, how much, and for what: charges are positive decimal strings in both generations."""
    if not isinstance(found, dict):
        return None
    rows = found.get("by_initiator", found.get("initiators"))
    if not isinstance(rows, list):
        return None
    return {"initiators": [_initiator(row) for row in rows if isinstance(row, dict)], "answer": found}


def page(name: str) -> Callable[[Any], dict[str, Any] | None]:
    """Reads a keyset page: `items`, and the `cursor` of the next page, None on the last."""

    def read(found: Any) -> dict[str, Any] | None:
        rows = found.get("data") if isinstance(found, dict) else found
        if not isinstance(rows, list):
            return None
        items = [{**row, name: row.get(name) or row.get("id")} for row in rows if isinstance(row, dict)]
        more = isinstance(found, dict) and found.get("has_more")
        return {"items": items, "cursor": found.get("next_cursor") if more else None}

    return read


def stats_page(found: Any) -> dict[str, Any] | None:
    """Reads a page of projects' statistics: `items`, and the `pagination` that the provider wrote."""
    rows = found
    if isinstance(found, dict):
        rows = next((found[name] for name in ("data", "projects", "items") if name in found), None)
    if not isinstance(rows, list):
        return None
    pagination = found.get("pagination") if isinstance(found, dict) else None
    return {"items": [row for row in rows if isinstance(row, dict)], "pagination": pagination or {}}


def _initiator(row: Mapping[str, Any]) -> dict[str, Any]:
    amount = _amount(row.get("total_charges", row.get("totalAmount")))
    return {
        "organization_id": row.get("initiator_org_id") or row.get("initiatingOrganizationId"),
        "name": row.get("initiator_org_name") or row.get("initiatingOrganizationName"),
        "quantity": row.get("messages_sent", row.get("totalQuantity")),
        "charges": None if amount is None else str(abs(amount)),
    }


def _charges(holder: Mapping[str, Any]) -> Decimal | None:
    totals = holder.get("totals")
    inner = totals if isinstance(totals, Mapping) else holder
    names = ("total_charges", "totalCharges", "totalAmount")
    amount = _amount(next((inner[name] for name in names if name in inner), None))
    return None if amount is None else abs(amount)


def _amount(value: object) -> Decimal | None:
    # Money comes as a float or as a numeric string.
    try:
        amount = Decimal(str(value)) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except InvalidOperation:
        return None
    return amount if amount is not None and amount.is_finite() else None
