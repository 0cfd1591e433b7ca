"""aulm's API keys: who presents one, and for how long nobody is heard who presented too many bad ones."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import ceil

from sandbox.aulm.bodies import Refused
from sandbox.aulm.settings import KEY, TEST_PREFIX, KeyRule, Lockout
from sandbox.call import fingerprint

# The code of a key that is known and not active.
_FALLEN = {"revoked": "api_key_revoked", "expired": "api_key_expired"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who presents a good key."""

    mark: str  # how the ledger names the key
    rule: KeyRule
    test: bool

    def may(self, session_id: str) -> bool:
        """Whether the key may use a session."""
        return any(fnmatchcase(session_id, glob) for glob in self.rule.sessions)


def presented_key(authorization: str) -> str:
    """The key of an Authorization header; raises `Refused` where there is none."""
    if not authorization.strip():
        raise Refused("missing_authorization", "The Authorization header is missing.")
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise Refused("invalid_authorization", "The Authorization header is not of the form: Bearer <key>.")
    return key


def mark_of(key: str) -> str:
    """A key's mode and fingerprint; empty for no key."""
    if not key:
        return ""
    return ("test:" if key.startswith(TEST_PREFIX) else "live:") + fingerprint(key)


class Keyring:
    """The keys that are good: those with a rule, or every well-formed one where there are no rules."""

    def __init__(self, rules: Mapping[str, KeyRule]) -> None:
        self._rules = rules
        self._accounts = {mark_of(key): rule.account for key, rule in rules.items()}

    def caller(self, key: str) -> Caller:
        """Who presents the key; raises `Refused` for a bad one."""
        rule = self._rules.get(key) if self._rules else KeyRule()
        if rule is None or not KEY.fullmatch(key):
            raise Refused("invalid_api_key", "The API key is not valid.")
        if rule.state != "active":
            raise Refused(_FALLEN[rule.state], f"The API key is {rule.state}.")
        return Caller(mark_of(key), rule, key.startswith(TEST_PREFIX))

    def account_of(self, mark: str) -> str:
        """The account of a key as the ledger names it."""
        return self._accounts.get(mark, KeyRule().account)


class CoolDown:
    """Bad keys of one address. While it lasts no key is looked at, so that a good one is not heard either."""

    def __init__(self) -> None:
        self._failures: deque[float] = deque()
        self._until = 0.0

    def wait(self, now: float) -> int:
        """Whole seconds for which nobody is heard; 0: everybody is."""
        return max(0, ceil(self._until - now))

    def fail(self, settings: Lockout, now: float) -> None:
        """Notes a bad key."""
        self._failures.append(now)
        while self._failures[0] <= now - settings.window:
            self._failures.popleft()
        if len(self._failures) >= settings.failures:
            self._failures.clear()
            self._until = now + settings.seconds
