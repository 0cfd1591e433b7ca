"""Real servers for every test that asks: one Valkey and one PostgreSQL a session, a fresh database a test."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from redis import Redis
from sqlalchemy import make_url

from paceline import wakeup
from paceline.connection import resolve
from paceline.database import engine
from sandbox.background import SandboxServer
from tests.support.installation import Installation, installation
from tests.support.servers import fresh_database, start_postgresql, start_valkey
from worker import schema

# A busy machine is no defect: what an example may take is for the tests that measure.
settings.register_profile("paceline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("paceline")


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """A private Valkey; tests keep apart by prefix, or take `valkey`, which is empty."""
    with tempfile.TemporaryDirectory(prefix="plv") as directory, start_valkey(Path(directory)) as url:
        yield url


@pytest.fixture
def valkey(valkey_url: str) -> Iterator[Redis]:
    """A client of an empty Valkey."""
    client = Redis.from_url(valkey_url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A PostgreSQL with a migrated database named `template`."""
    with start_postgresql() as url, fresh_database(url) as migrated:
        _migrate(migrated)
        yield migrated


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    file = tmp_path_factory.mktemp("template") / "paceline.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh, migrated database, on SQLite and on PostgreSQL in turn."""
    if request.param == "sqlite":
        file = tmp_path / "paceline.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), file)
        yield f"sqlite:///{file}"
    else:
        template: str = request.getfixturevalue("postgresql_server")
        with fresh_database(template, make_url(template).database) as url:
            yield url


def _migrate(url: str) -> None:
    made = engine(resolve(database_url=url, broker_url="redis://nowhere", environ={}))
    schema.migrate(made)
    made.dispose()


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """A strict provider of the test's own, with limits as documented."""
    with SandboxServer() as server:
        yield server


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that a busy machine holds up is not one that is away: no wake-up is lost to a pause."""
    monkeypatch.setattr(wakeup, "CONNECT_TIMEOUT", 60.0)
    for name in wakeup.SHORT:
        monkeypatch.setitem(wakeup.SHORT, name, 60.0)


@pytest.fixture
def build(
    tmp_path: Path, database_url: str, valkey: Redis, sandbox: SandboxServer, patience: None
) -> Iterator[Callable[..., Installation]]:
    """Builds the test's installation, its account pointed at the sandbox; `account` fields as in the configuration."""
    with ExitStack() as stack:

        def built(base_url: str = "", accounts: str = "", **account: Any) -> Installation:
            url = base_url or sandbox.base_url("aurogy")
            return stack.enter_context(installation(tmp_path, database_url, valkey, url, accounts, **account))

        yield built
