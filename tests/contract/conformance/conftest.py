"""Each provider with its sandbox, and an installation whose one account is pointed there."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from providers.registry import PROVIDERS
from sandbox import SandboxServer
from tests.contract.conformance.cases import EXHIBITS
from tests.contract.conformance.house import House
from tests.support.installation import installation


@pytest.fixture(scope="module")
def playing() -> Iterator[SandboxServer]:
    """One sandbox for a file's tests; each begins with nothing in it, and with the exhibit's settings."""
    with SandboxServer() as server:
        yield server


@pytest.fixture
def house(
    tmp_path: Path, sqlite_template: Path, valkey: Redis, playing: SandboxServer
) -> Iterator[Callable[..., House]]:
    """Builds the installation of a provider; what is given are more fields of its account.

    On SQLite alone: what differs between databases has tests of its own, and is none of a provider's business.
    """
    with ExitStack() as stack:

        def built(name: str, **account: Any) -> House:
            family = EXHIBITS[name].sandbox or name
            file = tmp_path / "paceline.db"
            shutil.copy(sqlite_template, file)
            playing.clear(family)
            playing.settings(family, EXHIBITS[name].still)
            fields = {"provider": name, "limits": _unlimited(name), **EXHIBITS[name].credentials, **account}
            at = playing.base_url(family)
            made = stack.enter_context(installation(tmp_path, f"sqlite:///{file}", valkey, at, **fields))
            return House(name, EXHIBITS[name], made, playing, stack)

        yield built


def _unlimited(name: str) -> dict[str, list[str]]:
    """Limits that no test here waits for, and whose tokens a pause does not make too old."""
    return {lane_class: ["60000/minute"] for lane_class in PROVIDERS[name].limits}
