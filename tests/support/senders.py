"""Accounts as the worker uses them, for tests that need no configuration file."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from paceline.limit import Limit
from providers import aurogy
from providers.base import Account
from worker.lanes.topology import Sender, Topology, build

SCHEDULE = (5.0, 30.0, 120.0)
POLLS = (10.0, 30.0, 120.0)


def sender(
    name: str = "main", key: str = "", *, deduplicates_for: float = 0.0, unknown_grace: float = 0.0, **changes: Any
) -> Sender:
    """An Aurogy account; `changes` are fields of `Sender`, `key` is its own name unless another account shares one."""
    account = Account(name, "https://api.example/v1", {"api_key": "auro_test_sk_0123456789abcdef"})
    made = Sender(
        account=account,
        provider=replace(aurogy.PROVIDER, deduplicates_for=deduplicates_for, unknown_grace=unknown_grace),
        capabilities=aurogy.PROVIDER.capabilities(account),
        key=key or name,
        fingerprint=f"fingerprint of {key or name}",
        timeout=10.0,
        on_unknown="hold",
        retry_schedule=SCHEDULE,
        poll_schedule=POLLS,
        give_up_after=3600.0,
    )
    return replace(made, **changes)


def paced(name: str, session: str, key: str = "", **changes: Any) -> Sender:
    """An account of a provider that paces each of a key's sessions by itself, with a jitter."""
    made = sender(name, key, **changes)
    provider = replace(made.provider, pace_credential="session_id", pace_jitter=0.4)
    credentials = {**made.account.credentials, "session_id": session}
    return replace(made, provider=provider, account=replace(made.account, credentials=credentials))


def topology(
    senders: Sequence[Sender],
    send: Sequence[str] = ("100/minute",),
    status: Sequence[str] = ("300/minute",),
    profile: Sequence[str] = (),
    *,
    reserve: float = 0.0,
    routes: dict[str, tuple[str, ...]] | None = None,
    guard: float | None = None,
    paces: dict[str, dict[str, list[Limit]]] | None = None,
) -> Topology:
    """Their lanes, with the same limits for every key."""
    keys = dict.fromkeys(each.key for each in senders)
    texts = {"send": send, "status": status, "profile": profile}
    limits = {name: [Limit.parse(text) for text in of_class] for name, of_class in texts.items() if of_class}
    return build(senders, dict.fromkeys(keys, limits), dict.fromkeys(keys, reserve), routes or {}, guard, paces)
