"""Accounts with the same credentials at the same provider share its limits: together they form a key."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from config.accounts import AccountSettings
from paceline.limit import Limit, tightest


@dataclass(frozen=True, slots=True)
class KeySettings:
    """A key, named after its first account: of its accounts' limits the tightest hold, and the largest reserve."""

    name: str
    fingerprint: str
    accounts: tuple[str, ...]
    limits: Mapping[str, tuple[Limit, ...]]
    reserve: float


def group(accounts: Iterable[AccountSettings]) -> dict[str, KeySettings]:
    """The keys by name, in the order of their first accounts."""
    members: dict[str, list[AccountSettings]] = {}
    for account in accounts:
        members.setdefault(account.key_fingerprint, []).append(account)
    return {shared[0].name: _key(digest, shared) for digest, shared in members.items()}


def _key(digest: str, shared: list[AccountSettings]) -> KeySettings:
    return KeySettings(
        name=shared[0].name,
        fingerprint=digest,
        accounts=tuple(account.name for account in shared),
        limits={
            lane_class: tightest(account.limits[lane_class] for account in shared) for lane_class in shared[0].limits
        },
        reserve=max(account.reserve for account in shared),
    )
