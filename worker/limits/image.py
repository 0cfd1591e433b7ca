"""A key's ledger, put into the form in which `token_bucket.lua` takes it as a seed."""

import json
from collections.abc import Iterable, Sequence

from paceline.limit import day_bounds
from worker.limits.values import Bucket, Image, LaneLimits, Spent

_RESOLUTION = 1024
_DAY_RESOLUTION = 1.0


def payload(lanes: Sequence[LaneLimits], image: Image, server_now: float) -> str:
    """The image as JSON: a log for each rolling window, ages for each calendar day, closures; whole microseconds."""
    buckets: dict[str, Bucket] = {}
    payers: dict[str, set[str | None]] = {}
    for lane in lanes:
        for bucket in lane.limits:
            name = lane.name_of(bucket)
            buckets[name] = bucket
            # What a lane has spent that is gone from the configuration stands under the scope it shared.
            payers.setdefault(name, set()).update((lane.lane_class, bucket.scope))
    spent = {name: [entry for entry in image.spent if entry.lane_class in paid] for name, paid in payers.items()}
    return json.dumps(
        {
            "closed": [
                [
                    it.lane_class,
                    "operator" if it.remaining is None else _us(it.remaining),
                    it.reason,
                    str(int(it.probe)),
                ]
                for it in image.closures
            ],
            "rolling": [[name, _log(spent[name], it.span)] for name, it in buckets.items() if it.limit.zone is None],
            "days": [
                [name, _us(it.guard), *map(_us, day_bounds(server_now, it.limit.zone)), _day(spent[name])]
                for name, it in buckets.items()
                if it.limit.zone is not None
            ],
        }
    )


def _log(spent: Iterable[Spent], span: float) -> list[list[int]]:
    live = (entry for entry in spent if entry.age < span)
    return [[_us(first), _us(last), total, rest] for first, last, total, rest in _merged(live, span / _RESOLUTION)]


def _day(spent: Iterable[Spent]) -> list[list[int]]:
    return [[_us(last), total, rest] for _, last, total, rest in _merged(spent, _DAY_RESOLUTION)]


def _merged(spent: Iterable[Spent], resolution: float) -> list[tuple[float, float, int, int]]:
    """Oldest first; what lies within `resolution` seconds counts as spent at the latest of its times."""
    merged: list[tuple[float, float, int, int]] = []
    for entry in sorted(spent, key=lambda it: -it.age):
        age = max(0.0, entry.age)
        if merged and merged[-1][0] - age < resolution:
            first, _, total, rest = merged.pop()
            merged.append((first, age, total + entry.total, rest + entry.rest))
        else:
            merged.append((age, age, entry.total, entry.rest))
    return merged


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
