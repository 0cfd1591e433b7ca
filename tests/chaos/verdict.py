"""What the providers' ledgers say after a siege, held against what the database says."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sandbox.ledger import Entry
from sandbox.summary import busiest_window
from tests.chaos.world import GUARD, SANDBOX, STORM_WAIT, WINDOW, World, message
from worker.sweep import LEASE_OVER

GRACE = 1.5  # seconds in which those arrive that had left before a refusal was known everywhere
MARGIN = 0.3 * GUARD
DATE = 1.0  # seconds that an HTTP-date may be short: it has whole ones
RECOGNISES = "mail"  # the account whose provider recognises a repeated request
KNOWN = {"accepted", "sent", "delivered", "read"}


@dataclass
class Verdict:
    """Figures that must be zero, unless their comment says otherwise."""

    messages: int  # not zero
    arrived: int  # not zero
    busiest: Mapping[str, int]  # arrivals, by account: at most the limit
    hooked: Mapping[str, int]  # the same, by when they left
    lag: float  # seconds from our hook to the provider's stamp, the longest of all
    statuses: Mapping[str, int]
    lost: int = 0  # enqueued, and in no row
    unfinished: int = 0
    doubled: int = 0  # accepted more than once
    repeated: int = 0  # asked again although the first may have been accepted
    throttled: int = 0  # refused with 429 of our own making
    early: int = 0  # arrived before a Retry-After was over
    lies: int = 0  # said to be accepted and was not, or to have failed and did not
    unexplained: int = 0  # unknown, without a death, a stop or a fault that explains it
    unknown: int = 0  # not zero
    explained: Counter[str] = field(default_factory=Counter)

    def wrong(self, limit: int) -> list[str]:
        """The promises that were broken. A provider that stamps arrivals late cannot say when they came: then the
        instants at which they left are held against the limit instead."""
        names = ["lost", "unfinished", "doubled", "repeated", "early", "lies", "unexplained"]
        in_time = self.lag <= MARGIN
        found = [f"{name}: {getattr(self, name)}" for name in (*names, *["throttled"] * in_time) if getattr(self, name)]
        counted = self.busiest if in_time else self.hooked
        return found + [f"busiest {name}: {most} of {limit}" for name, most in counted.items() if most > limit]


def judge(world: World) -> Verdict:
    """Hold everything that was enqueued against everything that arrived."""
    rows = world.built.rows("SELECT id, status, reason, idempotency_key AS key FROM paceline_message")
    attempts = world.built.rows("SELECT message_id, code FROM paceline_attempt WHERE outcome = 'unknown'")
    slow = {row["message_id"] for row in attempts if row["code"] == "timeout"}
    entries = {account: _sends(world, provider) for account, provider in SANDBOX.items()}
    by_recipient = {account: _grouped(of_account) for account, of_account in entries.items()}
    hooks, of_account = _hooks(world), defaultdict[str, dict[str, list[float]]](dict)
    for row in rows:
        account, _, number = str(row["key"]).rpartition("-")
        if row["id"] in hooks:
            of_account[account][message(account, int(number)).to] = hooks[row["id"]]
    left = {account: _left(entries[account], by_recipient[account], of_account[account]) for account in SANDBOX}
    statuses = Counter(str(row["status"]) for row in rows)
    verdict = Verdict(
        messages=len(rows),
        arrived=sum(map(len, entries.values())),
        busiest={
            account: busiest_window([entry.monotonic for entry in of_account], WINDOW).requests
            for account, of_account in entries.items()
        },
        hooked={account: busiest_window(found, WINDOW).requests for account, (found, _) in left.items()},
        lag=max(lag for _, lag in left.values()),
        statuses=dict(statuses),
        lost=world.enqueued * len(SANDBOX) - len(rows),
        unfinished=sum(statuses[status] for status in ("queued", "sending", "accepted", "sent")),
        unknown=statuses["unknown"],
        early=sum(_early(world, of_account) for of_account in entries.values()),
        throttled=sum(
            entry.status == 429 and not entry.fault for of_account in entries.values() for entry in of_account
        ),
    )
    for row in rows:
        account, _, number = str(row["key"]).rpartition("-")
        found = by_recipient[account][message(account, int(number)).to]
        _count(verdict, row, account, found)
        if row["status"] == "unknown":
            _explain(verdict, row, found, world, slow)
    return verdict


# What a sweep assumed, and what did not leave, was never seen by a hook.
_HOOKED = "outcome <> 'not_sent' AND duration_ms > 0"


def _hooks(world: World) -> Mapping[object, list[float]]:
    """By message: when its requests passed our hook. Who stood still before writing that down may have put it later."""
    found: defaultdict[object, list[float]] = defaultdict(list)
    for row in world.built.rows(f"SELECT message_id, at FROM paceline_attempt WHERE {_HOOKED} ORDER BY number"):
        found[row["message_id"]].append(float(row["at"]))
    return found


def _left(
    entries: Sequence[Entry], by_recipient: Mapping[str, list[Entry]], hooks: Mapping[str, list[float]]
) -> tuple[list[float], float]:
    """When each request left: as the provider stamped it, or as our hook saw it where that was earlier, which is so
    where the provider had to wait for a processor; and by how much it ever was. Unix seconds."""
    left, lag = [entry.at for entry in entries if entry.recipient not in hooks], 0.0
    for recipient, seen in hooks.items():
        stamps = [entry.at for entry in by_recipient.get(recipient, ())]
        if len(stamps) != len(seen):
            left += stamps  # somebody died before it was written down
            continue
        left += map(min, stamps, seen)
        lag = max([lag, *(stamp - hook for stamp, hook in zip(stamps, seen, strict=True))])
    return left, lag


def _count(verdict: Verdict, row: Mapping[str, object], account: str, found: Sequence[Entry]) -> None:
    taken = sum(entry.accepted for entry in found)
    verdict.doubled += max(0, taken - 1)
    verdict.lies += (row["status"] in KNOWN and not taken) or (row["status"] == "failed" and taken > 0)
    if account != RECOGNISES:
        verdict.repeated += sum(not _refused(entry) for entry in found[:-1])


def _explain(
    verdict: Verdict, row: Mapping[str, object], found: Sequence[Entry], world: World, slow: set[object]
) -> None:
    why = ""
    if row["reason"] == LEASE_OVER:
        why = "died or stopped" if row["id"] in world.held else ""
    elif any(entry.fault for entry in found) or not found:
        why = "the provider's fault"  # a request whose head alone arrived names no recipient
    elif row["id"] in slow:
        why = "slow answer"
    if why:
        verdict.explained[why] += 1
    else:
        verdict.unexplained += 1


def _refused(entry: Entry) -> bool:
    """True if the answer said that nothing was accepted."""
    return entry.status in (429, 503) and not entry.accepted


def _early(world: World, entries: Sequence[Entry]) -> int:
    """Arrivals within what a Retry-After forbade. Where who read it may have died, nobody else can know of it."""
    early = 0
    for refused in entries:
        if (refused.status, refused.fault) != (429, "status"):
            continue
        at = refused.monotonic
        if not any(at - 0.1 < death < at + GRACE for death in world.deaths):
            early += sum(GRACE < entry.monotonic - at < STORM_WAIT - DATE for entry in entries)
    return early


def _sends(world: World, provider: str) -> list[Entry]:
    return sorted(
        (entry for entry in world.sandbox.ledger(provider) if entry.group == "send"), key=lambda entry: entry.monotonic
    )


def _grouped(entries: Sequence[Entry]) -> defaultdict[str, list[Entry]]:
    grouped: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        grouped[entry.recipient].append(entry)
    return grouped
