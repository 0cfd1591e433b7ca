"""What the providers' ledgers say after a siege, held against what the database says."""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sandbox.ledger import Entry
from sandbox.summary import busiest_window
from tests.chaos.world import LEASE, SANDBOX, STORM_WAIT, WINDOW, World, message
from tests.support.installation import ACCOUNT
from worker.sweep import LEASE_OVER

GRACE = 1.5  # seconds in which those arrive that had left before a refusal was known everywhere
DATE = 1.0  # seconds that an HTTP-date may be short: it has whole ones
RECOGNISES = "mail"  # the account whose provider recognises a repeated request
REPEATS = ACCOUNT  # the account that says on_unknown = "retry": it asked for a repeat after each unknown attempt
KNOWN = {"accepted", "sent", "delivered", "read"}
NEVER_TAKEN = {"failed", "expired", "cancelled"}


@dataclass
class Verdict:
    """Figures that must be zero, unless their comment says otherwise."""

    messages: int  # not zero
    arrived: int  # not zero
    busiest: Mapping[str, int]  # arrivals, by account: at most the limit
    lag: float  # seconds from a request's arrival until the sandbox read it, the longest of all: not zero
    gap: float  # seconds from our hook to the arrival, the longest of all: not zero
    statuses: Mapping[str, int]
    lost: int = 0  # enqueued, and in no row
    surplus: int = 0  # rows beside the one of each that was enqueued
    unfinished: int = 0
    doubled: int = 0  # accepted more than once
    repeated: int = 0  # asked again although the first may have been accepted, and nobody wanted that
    wanted: int = 0  # the same, as the account's on_unknown says: not zero
    throttled: int = 0  # refused with 429 of our own making, polls too
    early: int = 0  # arrived before a Retry-After was over
    lies: int = 0  # said to be accepted and was not, or never to have been and was
    unexplained: int = 0  # unknown, without a death, a stop or a fault that explains it
    unknown: int = 0  # not zero
    in_vain: int = 0  # unknown, though nothing of it arrived (who stood still, or the provider's fault): not zero
    explained: Counter[str] = field(default_factory=Counter)
    overfull: list[str] = field(default_factory=list, repr=False)  # the requests of windows that held too many
    puzzles: list[str] = field(default_factory=list, repr=False)  # what is known of those that nothing explains

    def wrong(self, limit: int) -> list[str]:
        """The promises that were broken; or that nobody can tell, if the judge does not know when requests came."""
        if math.isinf(self.lag):
            return ["judge late, run void: this system does not say when requests arrived"]
        names = ("lost", "surplus", "unfinished", "doubled", "repeated", "throttled", "early", "lies", "unexplained")
        found = [f"{name}: {getattr(self, name)}" for name in names if getattr(self, name)]
        return found + [f"busiest {name}: {most} of {limit}" for name, most in self.busiest.items() if most > limit]


def judge(world: World) -> Verdict:
    """Hold everything that was enqueued against everything that arrived."""
    rows = world.built.rows(
        "SELECT message.id, status, reason, idempotency_key AS key, process FROM paceline_message AS message"
        " LEFT JOIN paceline_grant AS claim ON claim.id = grant_id"
    )
    attempts = world.built.rows("SELECT message_id, code FROM paceline_attempt WHERE outcome = 'unknown'")
    slow = {row["message_id"] for row in attempts if row["code"] == "timeout"}
    unknown = Counter(row["message_id"] for row in attempts)
    ledgers = {account: world.sandbox.ledger(provider) for account, provider in SANDBOX.items()}
    entries = {account: _sends(ledger) for account, ledger in ledgers.items()}
    by_recipient = {account: _grouped(of_account) for account, of_account in entries.items()}
    hooks = _hooks(world, rows)
    hooked = {entry.seq: at for of_account in by_recipient.values() for entry, at in _paired(of_account, hooks)}
    everything = [entry for of_account in entries.values() for entry in of_account]
    statuses = Counter(str(row["status"]) for row in rows)
    enqueued = {f"{account}-{number}" for account in SANDBOX for number in range(world.enqueued)}
    stored = enqueued & {str(row["key"]) for row in rows}
    verdict = Verdict(
        messages=len(rows),
        arrived=sum(map(len, entries.values())),
        busiest={
            account: busiest_window([entry.monotonic for entry in of_account], WINDOW).requests
            for account, of_account in entries.items()
        },
        lag=max((math.inf if entry.lag is None else entry.lag for entry in everything), default=0.0),
        gap=max((entry.at - hooked[entry.seq] for entry in everything if entry.seq in hooked), default=0.0),
        overfull=[line for each in entries.values() for line in _overfull(each, hooked, world)],
        statuses=dict(statuses),
        lost=len(enqueued) - len(stored),
        surplus=len(rows) - len(stored),
        unfinished=sum(statuses[status] for status in ("queued", "sending", "accepted", "sent")),
        unknown=statuses["unknown"],
        early=sum(_early(world, of_account) for of_account in entries.values()),
        throttled=sum(entry.status == 429 and not entry.fault for ledger in ledgers.values() for entry in ledger),
    )
    # A request of which the head alone arrived, or on a connection that was reset before anybody read from it, names no
    # recipient: it explains one message that nobody saw.
    headless = {account: len(grouped[""]) for account, grouped in by_recipient.items()}
    resets = world.resets
    for row in rows:
        account = str(row["key"]).rpartition("-")[0]
        found = by_recipient[account][_recipient(row)]
        # Who was stopped may have come back with an outcome where one more request was due already.
        repeatable = unknown[row["id"]] + (row["id"] in world.held) if account == REPEATS else 0
        _count(verdict, row, account, found, repeatable)
        if row["status"] == "unknown":
            verdict.in_vain += not found
            missed = not found and row["reason"] != LEASE_OVER
            head, reset = missed and headless[account] > 0, missed and not headless[account] and resets > 0
            headless[account] -= head
            resets -= reset
            _explain(verdict, row, found, head or reset, world, slow)
    return verdict


# What a sweep assumed, and what did not leave, was never seen by a hook.
_HOOKED = "outcome <> 'not_sent' AND duration_ms > 0"


def _hooks(world: World, rows: Sequence[Mapping[str, object]]) -> Mapping[str, list[float]]:
    """By recipient: when its requests passed our hook, in Unix seconds, as far as anybody lived to write it down."""
    of_message: defaultdict[object, list[float]] = defaultdict(list)
    for row in world.built.rows(f"SELECT message_id, at FROM paceline_attempt WHERE {_HOOKED} ORDER BY number"):
        of_message[row["message_id"]].append(float(row["at"]))
    return {_recipient(row): of_message[row["id"]] for row in rows if row["id"] in of_message}


def _paired(by_recipient: Mapping[str, list[Entry]], hooks: Mapping[str, list[float]]) -> Iterator[tuple[Entry, float]]:
    """Each arrival with the instant at which it passed our hook, where that is certain."""
    for recipient, entries in by_recipient.items():
        seen = hooks.get(recipient, ())
        if len(seen) == len(entries):  # or somebody died before it was written down
            yield from zip(entries, seen, strict=True)


def _overfull(entries: Sequence[Entry], hooked: Mapping[int, float], world: World) -> list[str]:
    """The requests of the busiest window, if it held too many: each beside what we know of it, below the blows that
    were dealt from a lease before its beginning to its end."""
    busiest = busiest_window([entry.monotonic for entry in entries], WINDOW)
    if busiest.requests <= world.limit:
        return []
    dealt = [
        f"  {at - busiest.start:+.3f} s: {name}" for at, name in world.dealt if -LEASE < at - busiest.start < WINDOW
    ]
    inside = [entry for entry in entries if 0 <= entry.monotonic - busiest.start < WINDOW]
    return dealt + [
        f"  {entry.provider} {entry.recipient}: arrived {entry.monotonic - busiest.start:+.3f} s"
        f" (read {entry.lag or 0.0:.3f} s later), hook "
        + (f"{entry.at - hooked[entry.seq]:.3f} s before" if entry.seq in hooked else "unknown")
        + f", {entry.status}{f' by {entry.fault}' if entry.fault else ''}"
        for entry in inside
    ]


def _recipient(row: Mapping[str, object]) -> str:
    account, _, number = str(row["key"]).rpartition("-")
    return message(account, int(number)).to


def _count(verdict: Verdict, row: Mapping[str, object], account: str, found: Sequence[Entry], repeatable: int) -> None:
    """`repeatable`: how many of its attempts had no outcome in time, and may each be followed by one more."""
    taken = sum(entry.accepted for entry in found)
    verdict.doubled += max(0, taken - 1 - repeatable)
    verdict.lies += (row["status"] in KNOWN and not taken) or (row["status"] in NEVER_TAKEN and taken > 0)
    if account != RECOGNISES:
        again = sum(not _refused(entry) for entry in found[:-1])
        verdict.wanted += min(again, repeatable)
        verdict.repeated += max(0, again - repeatable)


def _explain(
    verdict: Verdict, row: Mapping[str, object], found: Sequence[Entry], unseen: bool, world: World, slow: set[object]
) -> None:
    why = ""
    if row["reason"] == LEASE_OVER:
        why = "died or stopped" if row["id"] in world.held else ""
    elif any(entry.fault for entry in found) or unseen:
        why = "the provider's fault"
    elif row["id"] in slow:
        why = "slow answer"
    if why:
        verdict.explained[why] += 1
    else:
        verdict.unexplained += 1
        verdict.puzzles += _puzzle(world, row)


def _puzzle(world: World, row: Mapping[str, object]) -> Iterator[str]:
    """What the tables say of it, all times in Unix seconds, and when the blows were dealt."""
    yield f"  {row['key']}: {row['reason']}, claimed by {row['process']}"
    unix = time.time() - time.monotonic()
    yield "    dealt: " + ", ".join(f"{name} {at + unix:.1f}" for at, name in world.dealt)
    for table in ("attempt", "event"):
        for told in world.built.rows(
            f"SELECT * FROM paceline_{table} WHERE message_id = :id ORDER BY at", id=row["id"]
        ):
            yield f"    {table}: " + ", ".join(f"{name} {told[name]}" for name in told if told[name] is not None)


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


def _sends(ledger: Sequence[Entry]) -> list[Entry]:
    return sorted((entry for entry in ledger if entry.group == "send"), key=lambda entry: entry.monotonic)


def _grouped(entries: Sequence[Entry]) -> defaultdict[str, list[Entry]]:
    grouped: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        grouped[entry.recipient].append(entry)
    return grouped
