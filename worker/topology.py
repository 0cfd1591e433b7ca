"""Who sends through what: keys, their lanes, and the accounts that draw on them. Built once, from the configuration."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from paceline.capabilities import Capabilities
from paceline.limit import Limit
from providers.base import Account, Provider
from worker.limits import Bucket, LaneLimits, signature_of

LEASE_SLACK = 15.0  # seconds a lease outlasts its request: time to store the result, also on a slow day


@dataclass(frozen=True, slots=True)
class Sender:
    """An account as the worker uses it: whose key it shares and how patient it is. Durations in seconds."""

    account: Account
    provider: Provider
    capabilities: Capabilities
    key: str
    fingerprint: str
    timeout: float
    on_unknown: str
    retry_schedule: tuple[float, ...]
    poll_schedule: tuple[float, ...]
    give_up_after: float

    @property
    def name(self) -> str:
        """The account's name in the configuration."""
        return self.account.name

    @property
    def lane(self) -> str:
        """The lane on which its messages wait."""
        return lane_name(self.key, self.provider.send_class)

    @property
    def poll_lane(self) -> str | None:
        """The lane on which its status is asked for, if the provider answers such questions."""
        return lane_name(self.key, self.provider.poll_class) if self.provider.poll_class else None


class Work(Enum):
    """What a lane's requests are for."""

    SEND = "send"
    POLL = "poll"
    CALL = "call"  # library calls alone: no messages wait here


@dataclass(frozen=True, slots=True)
class Lane:
    """One key's queue for one class of endpoint.

    `senders` maps each stream name (an account's or a route's) that this lane draws from to the account that sends for
    it; `behind` names, for a route, the lanes that come first and must be closed before this one takes its messages.
    """

    name: str
    key: str
    signature: str
    work: Work
    limits: LaneLimits
    lease: float
    senders: Mapping[str, Sender] = field(default_factory=dict)
    behind: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Topology:
    """All lanes and senders of this installation, by name."""

    lanes: Mapping[str, Lane]
    senders: Mapping[str, Sender]
    routes: Mapping[str, tuple[str, ...]]

    def lanes_of(self, key: str) -> list[Lane]:
        """A key's lanes."""
        return [lane for lane in self.lanes.values() if lane.key == key]


def lane_name(key: str, lane_class: str) -> str:
    """`aurogy-main/send`."""
    return f"{key}/{lane_class}"


def build(
    senders: Sequence[Sender],
    limits: Mapping[str, Mapping[str, Sequence[Limit]]],
    reserves: Mapping[str, float],
    routes: Mapping[str, tuple[str, ...]],
    guard: float | None = None,
) -> Topology:
    """The topology of these accounts. `limits` and `reserves` (a fraction) are by key, the limits then by class."""
    by_name = {sender.name: sender for sender in senders}
    lanes: dict[str, Lane] = {}
    for key in dict.fromkeys(sender.key for sender in senders):
        buckets = {
            lane_class: tuple(_bucket(limit, reserves[key], guard) for limit in of_class)
            for lane_class, of_class in limits[key].items()
        }
        lane_limits = {name: LaneLimits(key, name, items) for name, items in buckets.items()}
        signature = signature_of(lane_limits.values())
        of_key = [sender for sender in senders if sender.key == key]
        for lane_class, limit in lane_limits.items():
            lane = _lane(lane_class, limit, signature, of_key, by_name, routes)
            lanes[lane.name] = lane
    return Topology(lanes, by_name, routes)


def _bucket(limit: Limit, reserve: float, guard: float | None) -> Bucket:
    return Bucket.of(limit, guard=guard, reserve=reserve)


def _lane(
    lane_class: str,
    limits: LaneLimits,
    signature: str,
    of_key: Sequence[Sender],
    by_name: Mapping[str, Sender],
    routes: Mapping[str, tuple[str, ...]],
) -> Lane:
    provider = of_key[0].provider
    name = lane_name(limits.key, lane_class)
    slack = max((bucket.guard for bucket in limits.limits), default=0.5)
    lease = max(sender.timeout for sender in of_key) + min(slack, 5.0) + LEASE_SLACK
    senders: dict[str, Sender] = {}
    behind: dict[str, tuple[str, ...]] = {}
    work = Work.CALL
    if lane_class == provider.send_class:
        work = Work.SEND
        senders = {sender.name: sender for sender in of_key}
        for route, accounts in routes.items():
            mine = next((account for account in accounts if by_name[account].key == limits.key), None)
            if mine is not None:
                senders[route] = by_name[mine]
                behind[route] = tuple(_distinct(by_name[item].lane for item in accounts[: accounts.index(mine)]))
    elif lane_class == provider.poll_class:
        work = Work.POLL
        senders = {sender.name: sender for sender in of_key}
    return Lane(name, limits.key, signature, work, limits, lease, senders, behind)


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
