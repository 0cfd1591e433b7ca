"""The configuration: one frozen `Settings`, read once. Whoever needs a value is given it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from config import keys
from config.accounts import AccountReader, AccountSettings, check_name, may_be_plain, stays_near
from config.keys import KeySettings
from config.problems import Problems, Section
from config.values import (
    Age,
    Bind,
    BindAddress,
    BrokerUrl,
    Directory,
    Guard,
    HttpUrl,
    InFlight,
    Login,
    OptionalBindAddress,
    Processes,
    Rate,
    Word,
    is_loopback,
)
from paceline.connection import CONFIG_FILE, Connection, find_config, read_config, resolve
from paceline.errors import ConfigurationError
from providers.base import Provider
from providers.registry import PROVIDERS

DAY = 86_400.0  # seconds


class HooksSettings(Section):
    """`[hooks]`: where webhooks are received, how providers reach that place, and where Prometheus finds metrics."""

    bind: BindAddress = Bind("127.0.0.1", 8085)
    metrics_bind: OptionalBindAddress = Bind("127.0.0.1", 9185)
    public_url: HttpUrl | None = None


class WorkerSettings(Section):
    """`[worker]`: processes, requests at once in each, and where they keep files: answers, and what is claimed."""

    processes: Processes = 2
    in_flight: InFlight = 64
    downloads: Directory = ".paceline/downloads"
    in_hand: Directory = ".paceline/in-hand"


class FlowerSettings(Section):
    """`[flower]`: where Flower answers, to whom, and how many messages a second it is shown."""

    bind: BindAddress = Bind("127.0.0.1", 5555)
    basic_auth: Login | None = None
    rows_per_second: Rate = 200


class SandboxSettings(Section):
    """`[sandbox]`: where the sandbox listens, and how the others reach it."""

    bind: BindAddress = Bind("127.0.0.1", 8900)
    public_url: HttpUrl | None = None

    @property
    def url(self) -> str:
        """Its address for those who send to it."""
        return self.public_url or self.bind.url


class EventsSettings(Section):
    """`[events]`: the application's Celery task that is told of every change, its queue, and its broker if another."""

    task: Word | None = None
    queue: Word = "celery"
    broker: BrokerUrl | None = None


class LimiterSettings(Section):
    """`[limiter]`: seconds added to every rolling window; by default the smaller of 0.5 s and a tenth of the window."""

    guard: Guard | None = None


# The longest that a provider's signed webhook is taken for is 26 hours after its time, and clocks differ.
WEBHOOKS_REPEATED = 2 * DAY


class RetentionSettings(Section):
    """`[retention]`: for how long what is over is kept; a message's contents and itself since it is final."""

    content: Age = 30 * DAY
    messages: Age = 90 * DAY
    events: Age = 90 * DAY
    webhooks: Age = 30 * DAY
    idempotency_keys: Age = 180 * DAY
    jobs: Age = 30 * DAY
    grants: Age = 7 * DAY


SECTIONS = (
    "database",
    "broker",
    "content",
    "hooks",
    "worker",
    "flower",
    "sandbox",
    "events",
    "limiter",
    "retention",
    "accounts",
    "routes",
)


@dataclass(frozen=True)
class Settings:
    """All that an installation is told. Accounts stand in the file's order; durations are seconds."""

    file: Path | None
    connection: Connection
    hooks: HooksSettings
    worker: WorkerSettings
    flower: FlowerSettings
    sandbox: SandboxSettings
    events: EventsSettings
    limiter: LimiterSettings
    retention: RetentionSettings
    accounts: Mapping[str, AccountSettings]
    routes: Mapping[str, tuple[str, ...]]

    @cached_property
    def keys(self) -> Mapping[str, KeySettings]:
        """The keys to which limits belong, by name; each is named after its first account."""
        return MappingProxyType(keys.group(self.accounts.values()))

    @property
    def callback_url(self) -> str | None:
        """Where providers reach the hooks server: the public URL, or here, if all of them are on this machine."""
        bases = [account.account.base_url for account in self.accounts.values()]
        near = bool(bases) and all(stays_near(base, None) for base in bases)
        return self.hooks.bind.url if near else self.hooks.public_url


def load(
    path: Path | str | None = None,
    *,
    sandbox: bool = False,
    environ: Mapping[str, str] = os.environ,
    providers: Mapping[str, Provider] = PROVIDERS,
) -> Settings:
    """Read the configuration in force (`path`, else PACELINE_CONFIG, else ./paceline.toml, else defaults alone).

    With `sandbox` every account's base URL is the sandbox's, and credentials that are missing are the sandbox's own.
    Raises `ConfigurationError` with a sentence for every mistake there is.
    """
    file = find_config(path, environ)
    problems = Problems(str(file or CONFIG_FILE))
    tables = _tables(read_config(file) if file else {}, problems, environ)
    connection, refused = _connection(file, environ)
    sandbox_settings = problems.read(SandboxSettings, "sandbox", tables["sandbox"])
    plain_host = urlsplit(sandbox_settings.public_url).hostname if sandbox_settings.public_url else None
    accounts = AccountReader(providers, problems, plain_host, sandbox_settings.url if sandbox else None).read(
        tables["accounts"]
    )
    settings = Settings(
        file=file,
        connection=connection,
        hooks=problems.read(HooksSettings, "hooks", tables["hooks"]),
        worker=problems.read(WorkerSettings, "worker", tables["worker"]),
        flower=problems.read(FlowerSettings, "flower", tables["flower"]),
        sandbox=sandbox_settings,
        events=problems.read(EventsSettings, "events", tables["events"]),
        limiter=problems.read(LimiterSettings, "limiter", tables["limiter"]),
        retention=problems.read(RetentionSettings, "retention", tables["retention"]),
        accounts=MappingProxyType(accounts),
        routes=MappingProxyType(_routes(tables["routes"], tables["accounts"], accounts, problems)),
    )
    _check_reach(settings, plain_host, problems, sandbox=sandbox)
    _check_completeness(settings, tables["events"], problems)
    if sentences := [*refused, *problems.sentences()]:
        raise ConfigurationError(sentences)
    return settings


def _tables(document: Mapping[str, Any], problems: Problems, environ: Mapping[str, str]) -> dict[str, Any]:
    for name in document:
        if name not in SECTIONS:
            problems.unknown("", name, SECTIONS)
    # The first three are `resolve`'s: an environment variable may stand in for what they lack.
    known = {name: value for name, value in document.items() if name in SECTIONS[3:]}
    tables: dict[str, Any] = problems.expand(known, environ)
    return {name: {} for name in SECTIONS} | tables


def _connection(file: Path | None, environ: Mapping[str, str]) -> tuple[Connection, list[str]]:
    try:
        return resolve(file, environ=environ), []
    except ConfigurationError as error:
        return Connection("", "", Path()), error.problems


def _check_reach(settings: Settings, plain_host: str | None, problems: Problems, *, sandbox: bool) -> None:
    """Recipients and bodies cross no network unencrypted, except to the sandbox."""
    bases = [account.account.base_url for account in settings.accounts.values()]
    only_sandbox = bool(bases) and all(stays_near(base, plain_host) for base in bases)
    public_url = settings.hooks.public_url
    if public_url and not only_sandbox and not may_be_plain(public_url, plain_host):
        problems.add("hooks.public_url", "must be https://, because providers post recipients to it")
    if sandbox and not may_be_plain(settings.sandbox.url, plain_host):
        problems.add("sandbox.public_url", "is required where sandbox.bind is not loopback: how the others reach it")


def _check_completeness(settings: Settings, events: object, problems: Problems) -> None:
    if settings.hooks.metrics_bind == settings.hooks.bind:
        problems.add("hooks.metrics_bind", "must be another address than hooks.bind, which the providers reach")
    flower = settings.flower
    if flower.basic_auth is None and not is_loopback(flower.bind.host) and not problems.of("flower.basic_auth"):
        problems.add("flower.basic_auth", 'is required where flower.bind is not loopback: "user:password"')
    if settings.events.task is None and events and not problems.of("events.task"):
        problems.add(
            "events.task", 'is required beside queue and broker: a Celery task\'s name, as in "myapp.on_message"'
        )

    retention = settings.retention
    if retention.idempotency_keys < retention.messages:
        problems.add(
            "retention.idempotency_keys",
            "must not be shorter than retention.messages: what is still there must not be sent a second time",
        )
    if retention.webhooks < WEBHOOKS_REPEATED:
        problems.add(
            "retention.webhooks", 'must be at least "2d": for about that long, one that comes again must be known again'
        )


def _routes(
    table: object, named: object, accounts: Mapping[str, AccountSettings], problems: Problems
) -> dict[str, tuple[str, ...]]:
    if not isinstance(table, dict):
        problems.add("routes", 'must be a table, as in [routes] sms = ["augnet-main", "augnet-backup"]')
        return {}
    names = named if isinstance(named, dict) else {}
    return {name: _route(name, value, names, accounts, problems) for name, value in table.items()}


def _route(
    name: str,
    value: object,
    names: Mapping[str, object],
    accounts: Mapping[str, AccountSettings],
    problems: Problems,
) -> tuple[str, ...]:
    key = f"routes.{name}"
    check_name(key, name, problems)
    if name in names:
        problems.add(key, "must not have the name of an account")
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        problems.add(key, "must be a list of accounts' names")
        return ()
    if len(set(value)) < len(value):
        problems.add(key, "must name each account once")
    for place, item in enumerate(value, start=1):
        if item not in names:  # which is not quoted: it may be anything, a credential on the wrong line included
            problems.add(
                key, f"must name accounts only, and its item {place} names none of {', '.join(names) or 'them'}"
            )
    known = [accounts[item] for item in value if item in accounts]
    if known and not set.intersection(*(set(one.capabilities.kinds) for one in known)):
        problems.add(key, "must name accounts that can carry a common kind of message; these share none")
    return tuple(value)
