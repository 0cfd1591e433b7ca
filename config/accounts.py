"""The tables `[accounts.NAME]`: who sends, with which credentials, how fast and how patiently."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from config.credentials import credential_rule, fingerprint, flat, option_rule
from config.problems import Problems, Section
from config.values import Delay, Fraction, HttpUrl, Interval, LimitValue, Timeout, is_loopback
from paceline.capabilities import Call, Capabilities
from paceline.limit import Limit
from providers.base import Account, Provider

RETRY_SCHEDULE = (5.0, 30.0, 120.0, 600.0, 3600.0)
POLL_SCHEDULE = (10.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)
GIVE_UP_AFTER = 72 * 3600.0

NAME_RULE = "must be named with 1 to 63 of the characters a-z, 0-9, - and _"


class RetryTable(Section):
    """`[accounts.NAME.retry]`: seconds before each further attempt; its length is the retry budget."""

    schedule: Annotated[list[Delay], Field(max_length=50)] = Field(default_factory=lambda: list(RETRY_SCHEDULE))


class PollTable(Section):
    """`[accounts.NAME.poll]`: seconds after acceptance, then the last one repeats, until `give_up_after`."""

    schedule: Annotated[list[Interval], Field(min_length=1, max_length=50)] = Field(
        default_factory=lambda: list(POLL_SCHEDULE)
    )
    give_up_after: Interval = GIVE_UP_AFTER


class AccountTable(Section):
    """What every account has, whoever its provider is."""

    provider: Any = None
    base_url: HttpUrl | None = None
    on_unknown: Literal["hold", "retry"] = "hold"
    timeout: Timeout | None = None
    reserve: Fraction = 0.0
    limits: dict[str, Annotated[list[LimitValue], Field(min_length=1)]] = Field(default_factory=dict)
    retry: RetryTable = Field(default_factory=RetryTable)
    poll: PollTable = Field(default_factory=PollTable)
    options: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """An account, complete: durations in seconds, `reserve` the fraction of each limit that is kept for `high`."""

    name: str
    provider: Provider
    account: Account
    on_unknown: str
    timeout: float
    reserve: float
    limits: Mapping[str, tuple[Limit, ...]]
    retry_schedule: tuple[float, ...]
    poll_schedule: tuple[float, ...]
    give_up_after: float
    key_fingerprint: str
    capabilities: Capabilities = field(repr=False)


@dataclass(frozen=True, slots=True)
class AccountReader:
    """Reads accounts. `plain_host` may be reached over http, like loopback. With `sandbox_url` every account is pointed
    at the sandbox, and credentials that are missing are the sandbox's."""

    providers: Mapping[str, Provider]
    problems: Problems
    plain_host: str | None = None
    sandbox_url: str | None = None

    def read(self, tables: object) -> dict[str, AccountSettings]:
        """The accounts in the file's order, without those in which something is wrong."""
        if not isinstance(tables, dict):
            self.problems.add("accounts", "must be a table of tables, as in [accounts.aurogy-main]")
            return {}
        read = (self._account(name, table) for name, table in tables.items())
        return {account.name: account for account in read if account is not None}

    def _account(self, name: str, table: object) -> AccountSettings | None:
        key = f"accounts.{name}"
        check_name(key, name, self.problems)
        if not isinstance(table, dict):
            self.problems.add(key, "must be a table")
            return None
        provider = self._provider(key, table)
        identity = set(self._credential_names(provider))
        common = {item: value for item, value in table.items() if item not in identity}
        settings = self.problems.read(AccountTable, key, common, also=identity)
        if provider is None:
            return None
        account = Account(
            name,
            self._base_url(provider, key, table, settings),
            MappingProxyType(self._credentials(provider, key, table)),
            MappingProxyType(self._options(provider, key, settings)),
        )
        limits = self._limits(provider, key, table.get("limits"), settings)
        if self.problems.of(key):
            return None
        return AccountSettings(
            name=name,
            provider=provider,
            account=account,
            on_unknown=settings.on_unknown,
            timeout=provider.timeout if settings.timeout is None else settings.timeout,
            reserve=settings.reserve,
            limits=MappingProxyType(limits),
            retry_schedule=tuple(settings.retry.schedule),
            poll_schedule=tuple(settings.poll.schedule),
            give_up_after=settings.poll.give_up_after,
            key_fingerprint=fingerprint(provider, account),
            capabilities=_capabilities(provider, account),
        )

    def _provider(self, key: str, table: Mapping[str, Any]) -> Provider | None:
        name = table.get("provider")
        provider = self.providers.get(name) if isinstance(name, str) else None
        if provider is None and not self.problems.unset(f"{key}.provider"):
            self.problems.add(f"{key}.provider", f"must be one of {', '.join(self.providers)}")
        return provider

    def _credential_names(self, provider: Provider | None) -> Iterator[str]:
        # Of an unknown provider every credential may be right.
        for candidate in self.providers.values() if provider is None else (provider,):
            yield from (credential.name for credential in candidate.credentials)

    def _credentials(self, provider: Provider, key: str, table: Mapping[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        for credential in provider.credentials:
            where = f"{key}.{credential.name}"
            value = table.get(credential.name)
            if self.sandbox_url is not None and credential.sandbox and value in (None, ""):
                self.problems.forgive(where)
                value = credential.sandbox
            rule = credential_rule(credential, value)
            if rule is not None and not self.problems.unset(where):
                self.problems.add(where, rule)
            elif isinstance(value, str):
                found[credential.name] = value
        return found

    def _options(self, provider: Provider, key: str, settings: AccountTable) -> dict[str, Any]:
        given = flat(settings.options)
        for name, value in given.items():
            if name not in provider.options:
                self.problems.unknown(f"{key}.options", name, provider.options)
            elif rule := option_rule(provider.options[name], value):
                self.problems.add(f"{key}.options.{name}", rule)
        return {name: given.get(name, option.default) for name, option in provider.options.items()}

    def _limits(
        self, provider: Provider, key: str, given: object, settings: AccountTable
    ) -> dict[str, tuple[Limit, ...]]:
        for lane_class in given if isinstance(given, dict) else ():
            if lane_class not in provider.limits:
                self.problems.unknown(f"{key}.limits", lane_class, provider.limits)
        own = {lane_class: tuple(map(Limit.parse, texts)) for lane_class, texts in provider.limits.items()}
        return own | {lane_class: tuple(limits) for lane_class, limits in settings.limits.items()}

    def _base_url(self, provider: Provider, key: str, table: Mapping[str, Any], settings: AccountTable) -> str:
        if settings.base_url and not may_be_plain(settings.base_url, self.plain_host):
            rule = "must be https://: http:// is for loopback and the host of [sandbox] public_url"
            self.problems.add(f"{key}.base_url", rule)
        if self.sandbox_url is not None:
            family = provider.name.partition("-")[0]  # a provider's e-mail and SMS share its prefix
            return f"{self.sandbox_url}/{family}{urlsplit(provider.base_url).path}".rstrip("/")
        own = provider.base_urls.get(str(table.get("region")), provider.base_url)
        return settings.base_url or own.rstrip("/")


def _capabilities(provider: Provider, account: Account) -> Capabilities:
    calls = {name: Call(operation.arguments, operation.fresh_for) for name, operation in provider.operations.items()}
    return replace(provider.capabilities(account), channel=provider.channel, calls=calls)


def check_name(key: str, name: str, problems: Problems) -> None:
    """Note a name that could not stand in a lane's name or in a webhook's path."""
    if not re.fullmatch("[a-z0-9_-]{1,63}", name):
        problems.add(key, NAME_RULE)


def stays_near(url: str, plain_host: str | None) -> bool:
    """Whether what is sent there leaves neither this machine nor the network of the host that was excepted."""
    host = urlsplit(url).hostname or ""
    return is_loopback(host) or host == plain_host


def may_be_plain(url: str, plain_host: str | None) -> bool:
    """Whether the URL is https, or leads where http is allowed."""
    return urlsplit(url).scheme == "https" or stays_near(url, plain_host)
