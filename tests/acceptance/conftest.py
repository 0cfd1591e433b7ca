"""A service for applications to enqueue for: a broker on TCP, the sandbox, and one worker process of ours; no beat."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.acceptance.shop_support import ServiceForShops, serve
from tests.support.servers import fresh_database


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """A shell starts what runs in its background with Ctrl-C ignored, and all that the tests start inherits it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest) -> Iterator[ServiceForShops]:
    """On SQLite and on PostgreSQL in turn."""
    with tempfile.TemporaryDirectory(prefix="pls") as name:  # a socket's path must be short
        directory = Path(name)
        if request.param == "sqlite":
            file = directory / "paceline.db"
            shutil.copy(request.getfixturevalue("sqlite_template"), file)
            with serve(directory, f"sqlite:///{file}") as made:
                yield made
        else:
            template: str = request.getfixturevalue("postgresql_server")
            with fresh_database(template, make_url(template).database) as url, serve(directory, url) as made:
                yield made
