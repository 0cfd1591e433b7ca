"""An installation in this process: a real database, a real Valkey, the real sandbox, and a service without Celery."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis
from sqlalchemy import Engine, text

from config.settings import load
from paceline import Client, Receipt, Text
from paceline.database import engine
from providers.base import Provider
from providers.registry import PROVIDERS
from worker import schema
from worker.app import topology_of
from worker.downloads import Downloads
from worker.hooks.callbacks import Callbacks
from worker.lanes.topology import Topology
from worker.planning import by_index
from worker.service import Service
from worker.watch.telemetry import Rows

ACCOUNT = "aurogy-main"
KEY = "auro_test_sk_0123456789abcdef"


@dataclass
class Installation:
    """What a test holds in its hands."""

    settings_file: Path
    name: str
    topology: Topology
    engine: Engine
    redis: Redis
    client: Client
    services: list[Service] = field(default_factory=list)
    woken: int = 0

    @property
    def in_hand(self) -> Path:
        """Where processes of this installation keep what they have in hand, as by default."""
        return self.settings_file.parent / ".paceline" / "in-hand"

    def callbacks(self, base: str) -> Callbacks:
        """Messages' own addresses at the receiver of this URL."""
        return Callbacks.of(self.engine, base)

    def service(self, *, in_flight: int = 16, rows: Rows | None = None, hooks: str = "") -> Service:
        """One worker process' service; several are several processes. `hooks` is where webhooks are received."""
        made = Service(
            self.engine,
            self.redis,
            self.name,
            self.topology,
            in_flight=in_flight,
            client=self.client,
            wake=self._woken,
            rows=rows,
            callbacks=self.callbacks(hooks),
            downloads=Downloads(self.settings_file.parent / "downloads"),
            in_hand=self.in_hand,
        )
        self.services.append(made)
        return made

    def text(self, number: int = 0, **options: Any) -> Receipt:
        """Enqueue a text to the recipient of that number."""
        return self.client.enqueue(Text(to=recipient(number), text="Your parcel leaves today."), via=ACCOUNT, **options)

    def rows(self, sql: str, **parameters: Any) -> list[Mapping[str, Any]]:
        """What a query finds."""
        with self.engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(text(sql), parameters)]

    def run(self, sql: str, **parameters: Any) -> None:
        """Run a statement, as a fault would."""
        with self.engine.begin() as connection:
            connection.execute(text(sql), parameters)

    def statuses(self) -> dict[str, int]:
        """How many messages stand where."""
        found = self.rows("SELECT status, count(*) AS count FROM paceline_message GROUP BY status")
        return {row["status"]: row["count"] for row in found}

    def _woken(self) -> None:
        self.woken += 1


def recipient(number: int) -> str:
    """An Aurogy id."""
    return f"auro_usr_{number:08d}a"


@contextmanager
def installation(
    directory: Path,
    database_url: str,
    redis: Redis,
    base_url: str,
    accounts: str = "",
    providers: Mapping[str, Provider] = PROVIDERS,
    **account: Any,
) -> Iterator[Installation]:
    """An installation with one account at `base_url`; `account` adds fields to it, `accounts` adds TOML.

    The account is Aurogy's, unless `account` names another `provider`, whose credentials it then holds too. Its name is
    the provider's with `-main` after it.
    """
    file = directory / "paceline.toml"
    broker = f"unix://{redis.connection_pool.connection_kwargs['path']}"
    file.write_text(_toml(database_url, broker, base_url, account) + accounts)
    settings = load(file, environ={}, providers=providers)
    made = by_index(engine(settings.connection))
    topology = topology_of(settings)
    name = schema.publish(made, topology)
    client = Client(file, environ={})
    built = Installation(file, name, topology, made, redis, client)
    try:
        yield built
    finally:
        for service in built.services:
            service.close()
        client.close()
        made.dispose()


def turn(service: Service, seconds: float = 0.5) -> bool:
    """What beat and a worker do in turn: a tick, which finds also what nobody announced in time, and a slice. True."""
    service.tick()
    service.pump.run_slice(seconds)
    return True


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Return once the condition holds; fail if it does not in time, which a busy machine is given plenty of."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)  # between two looks


def _toml(database_url: str, broker: str, base_url: str, account: Mapping[str, Any]) -> str:
    credentials = {} if "provider" in account else {"provider": "aurogy", "api_key": KEY}
    fields = {"base_url": base_url, **credentials, **account}
    simple = {name: value for name, value in fields.items() if not isinstance(value, dict)}
    tables = {name: value for name, value in fields.items() if isinstance(value, dict)}
    lines = [f"[database]\nurl = {json.dumps(database_url)}", f"[broker]\nurl = {json.dumps(broker)}"]
    name = f"{fields['provider']}-main"
    lines.append(f"[accounts.{name}]")
    lines += [f"{name} = {json.dumps(value)}" for name, value in simple.items()]
    for table, values in tables.items():
        lines.append(f"[accounts.{name}.{table}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"
