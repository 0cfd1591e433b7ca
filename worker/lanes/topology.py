"""Who sends through what: keys, their lanes, and the accounts that draw on them. Built once, from the configuration."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from paceline.capabilities import Capabilities
from paceline.limit import Limit
from providers.base import Account, Provider
from worker.limits import Bucket, LaneLimits, signature_of

PACE = 60.0  # seconds: the jitter is of shorter windows; of longer ones we promise to use nearly all
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
    paced_as: str = ""  # where its provider paces senders within a key: the first account with the same pace

    @property
    def name(self) -> str:
        """The account's name in the configuration."""
        return self.account.name

    @property
    def lane(self) -> str:
        """The lane on which its messages wait."""
        return lane_name(self.paced_as or self.key, self.provider.send_class)

    def lane_for(self, lane_class: str) -> str:
        """The lane of its requests to that class of endpoint."""
        return self.lane if lane_class == self.provider.send_class else lane_name(self.key, lane_class)

    @property
    def pace(self) -> str:
        """A name for what paces its sends within its key, which tells nothing about it; empty if nothing does."""
        if self.provider.pace_credential is None:
            return ""
        value = self.account.credentials.get(self.provider.pace_credential, "")
        return hashlib.sha256(f"paceline pace {value}".encode()).hexdigest()[:32]

    @property
    def poll_lane(self) -> str | None:
        """The lane on which its status is asked for, if the provider answers such questions."""
        return lane_name(self.key, self.provider.poll_class) if self.provider.poll_class else None


class Work(Enum):
    """What a request is for: to send a message, to ask where one stands, or a step of a job."""

    SEND = "send"
    POLL = "poll"
    JOB = "job"


@dataclass(frozen=True, slots=True)
class Lane:
    """One key's queue for one class of endpoint; of sends, one for each `pace` where the provider has several in a key.

    `senders` maps each stream name (an account's or a route's) that this lane draws from to the account that sends for
    it; `behind` names, for a route, the lanes that come first and must be closed before this one takes its messages.
    `pollers` are the accounts, by name, whose messages' status is asked for on this lane, and `callers` those whose
    jobs take steps on it. A lane may hold all three kinds of work, or none.
    """

    name: str
    key: str
    signature: str
    limits: LaneLimits
    lease: float
    provider: str
    lane_class: str
    fingerprint: str  # the key's: a lane is only ever used for the credential that the database knows by its name
    pace: str = ""
    senders: Mapping[str, Sender] = field(default_factory=dict)
    behind: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pollers: Mapping[str, Sender] = field(default_factory=dict)
    callers: Mapping[str, Sender] = field(default_factory=dict)

    @property
    def busy(self) -> bool:
        """True if work of any kind can wait here."""
        return bool(self.senders or self.pollers or self.callers)

    @property
    def address(self) -> str:
        """Where its requests go: what is slow there is slow on all lanes of that address."""
        each = (*self.senders.values(), *self.pollers.values(), *self.callers.values())
        return each[0].account.base_url if each else self.name

    def sender(self, work: Work, via: str) -> Sender:
        """The account that makes the request for work of that kind that waits under that name."""
        if work is Work.SEND:
            return self.senders[via]
        return self.pollers[via] if work is Work.POLL else self.callers[via]


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
    paces: Mapping[str, Mapping[str, Sequence[Limit]]] | None = None,
) -> Topology:
    """The topology of these accounts.

    `limits` and `reserves` (a fraction) are by key, the limits then by class. `paces` has the limits of the sends of
    each sender that is paced by itself: by key, then by the first account that has its pace.
    """
    senders = _paced(senders)
    by_name = {sender.name: sender for sender in senders}
    lanes: dict[str, Lane] = {}
    for key in dict.fromkeys(sender.key for sender in senders):
        of_key = [sender for sender in senders if sender.key == key]
        groups = _groups(of_key, limits[key], (paces or {}).get(key, {}))
        made = [_limits(group, reserves[key], guard) for group in groups]
        signature = signature_of(made)
        for group, lane_limits in zip(groups, made, strict=True):
            lane = _lane(group, lane_limits, signature, by_name, routes)
            lanes[lane.name] = lane
    return Topology(lanes, by_name, routes)


@dataclass(frozen=True, slots=True)
class _Group:
    """The accounts of a lane to be, and its limits."""

    lane_class: str
    senders: Sequence[Sender]
    limits: Sequence[Limit]

    @property
    def paced(self) -> bool:
        """True if it is for one of several senders in a key."""
        provider = self.senders[0].provider
        return provider.pace_credential is not None and self.lane_class == provider.send_class


def _paced(senders: Sequence[Sender]) -> list[Sender]:
    """The senders, each with the first account of its key that has the same pace."""
    first: dict[tuple[str, str], str] = {}
    return [
        replace(sender, paced_as=first.setdefault((sender.key, sender.pace), sender.name)) if sender.pace else sender
        for sender in senders
    ]


def _groups(
    of_key: Sequence[Sender], limits: Mapping[str, Sequence[Limit]], paces: Mapping[str, Sequence[Limit]]
) -> list[_Group]:
    groups: list[_Group] = []
    for lane_class, of_class in limits.items():
        whole = _Group(lane_class, of_key, of_class)
        if not whole.paced:
            groups.append(whole)
            continue
        for name in dict.fromkeys(sender.paced_as for sender in of_key):
            together = [sender for sender in of_key if sender.paced_as == name]
            groups.append(_Group(lane_class, together, paces.get(name, of_class)))
    return groups


def _limits(group: _Group, reserve: float, guard: float | None) -> LaneLimits:
    """A lane's buckets. A pace is the lane's own, and its short windows vary; quotas of days are the whole key's."""
    first = group.senders[0]
    if not group.paced:
        plain = [Bucket.of(limit, guard=guard, reserve=reserve) for limit in group.limits]
        return LaneLimits(first.key, group.lane_class, tuple(plain))
    buckets = [
        Bucket.of(limit, guard=guard, reserve=reserve, scope=group.lane_class)
        if limit.is_day
        else Bucket.of(limit, guard=guard, reserve=reserve, jitter=_jitter(limit, first.provider))
        for limit in group.limits
    ]
    return LaneLimits(first.key, first.lane, tuple(buckets))


def _jitter(limit: Limit, provider: Provider) -> float:
    return provider.pace_jitter if (limit.window or PACE) < PACE else 0.0


def _lane(
    group: _Group,
    limits: LaneLimits,
    signature: str,
    by_name: Mapping[str, Sender],
    routes: Mapping[str, tuple[str, ...]],
) -> Lane:
    first = group.senders[0]
    provider = first.provider
    name = first.lane_for(group.lane_class)
    of_key = [sender for sender in by_name.values() if sender.key == first.key]
    slack = max((bucket.guard for bucket in limits.limits), default=0.5)
    named = {sender.name: sender for sender in group.senders}
    senders: dict[str, Sender] = {}
    behind: dict[str, tuple[str, ...]] = {}
    if group.lane_class == provider.send_class:
        senders = dict(named)
        for route, accounts in routes.items():
            mine = next((account for account in accounts if by_name[account].lane == name), None)
            if mine is not None:
                senders[route] = by_name[mine]
                behind[route] = tuple(_distinct(by_name[item].lane for item in accounts[: accounts.index(mine)]))
    called = any(operation.lane_class == group.lane_class for operation in provider.operations.values())
    return Lane(
        name=name,
        key=first.key,
        signature=signature,
        limits=limits,
        lease=max(sender.timeout for sender in of_key) + min(slack, 5.0) + LEASE_SLACK,
        provider=provider.name,
        lane_class=group.lane_class,
        fingerprint=first.fingerprint,
        pace=first.pace if group.paced else "",
        senders=senders,
        behind=behind,
        pollers=named if group.lane_class == provider.poll_class else {},
        callers=named if called else {},
    )


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
