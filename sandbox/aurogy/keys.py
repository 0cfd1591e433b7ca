"""Aurogy's API keys: who presents one, what it may do, and how the ledger names it."""

from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.aurogy.settings import KEY, TEST_PREFIX, KeyRule
from sandbox.call import fingerprint


@dataclass(frozen=True, slots=True)
class Caller:
    """Who presents a key, good or bad."""

    known: bool
    mark: str  # how the ledger names the key
    rule: KeyRule
    test: bool

    def may(self, group: str) -> bool:
        """Whether the key has the permission for a group of endpoints."""
        return "*" in self.rule.groups or group in self.rule.groups


def mark_of(key: str) -> str:
    """A key's mode and fingerprint; empty for no key."""
    if not key:
        return ""
    return ("test:" if key.startswith(TEST_PREFIX) else "live:") + fingerprint(key)


class Keyring:
    """The keys that are good: those with a rule, or every well-formed one where there are no rules."""

    def __init__(self, rules: Mapping[str, KeyRule]) -> None:
        self._rules = rules
        self._known: dict[str, Caller] = {}
        self._businesses = {mark_of(key): rule.business for key, rule in rules.items()}

    def caller(self, presented: str) -> Caller:
        """Reads the value of an Authorization header, or an empty string for its absence."""
        caller = self._known.get(presented)
        if caller is None:
            scheme, _, key = presented.partition(" ")
            good = scheme.lower() == "bearer" and KEY.fullmatch(key) is not None
            known = good and (not self._rules or key in self._rules)
            caller = Caller(known, mark_of(key), self._rules.get(key, KeyRule()), key.startswith(TEST_PREFIX))
            if known:  # bad keys are remembered by nobody: they could be without end
                self._known[presented] = caller
        return caller

    def business_of(self, mark: str) -> str:
        """The business of a key as the ledger names it."""
        return self._businesses.get(mark, KeyRule().business)
