"""Accounts with the same credentials at the same provider share its limits: together they form a key."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from config.accounts import AccountSettings
from paceline.limit import Limit, tightest


@dataclass(frozen=True, slots=True)
class KeySettings:
    """A key, named after its first account: of its accounts' limits the tightest hold, and the largest reserve.

    Where a provider paces each sender within a key, `paces` holds the limits of each one's sends, by the first account
    that has it: its own accounts' rolling limits, and the day quotas of all. It is empty for other providers.
    """

    name: str
    fingerprint: str
    accounts: tuple[str, ...]
    limits: Mapping[str, tuple[Limit, ...]]
    reserve: float
    paces: Mapping[str, tuple[Limit, ...]]


def group(accounts: Iterable[AccountSettings]) -> dict[str, KeySettings]:
    """The keys by name, in the order of their first accounts."""
    members: dict[str, list[AccountSettings]] = {}
    for account in accounts:
        members.setdefault(account.key_fingerprint, []).append(account)
    return {shared[0].name: _key(digest, shared) for digest, shared in members.items()}


def _key(digest: str, shared: list[AccountSettings]) -> KeySettings:
    limits = {lane_class: tightest(account.limits[lane_class] for account in shared) for lane_class in shared[0].limits}
    return KeySettings(
        name=shared[0].name,
        fingerprint=digest,
        accounts=tuple(account.name for account in shared),
        limits=limits,
        reserve=max(account.reserve for account in shared),
        paces=_paces(shared, limits),
    )


def _paces(shared: list[AccountSettings], limits: Mapping[str, tuple[Limit, ...]]) -> dict[str, tuple[Limit, ...]]:
    provider = shared[0].provider
    if provider.pace_credential is None:
        return {}
    quotas = [limit for limit in limits[provider.send_class] if limit.is_day]
    members: dict[str, list[AccountSettings]] = {}
    for account in shared:
        members.setdefault(account.account.credentials.get(provider.pace_credential, ""), []).append(account)
    return {
        paced[0].name: tightest(
            [quotas, *([one for one in each.limits[provider.send_class] if not one.is_day] for each in paced)]
        )
        for paced in members.values()
    }
