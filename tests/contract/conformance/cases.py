"""The registry's providers with their exhibits, as the suite goes through them."""

from typing import Any

import pytest

from paceline.capabilities import Capabilities
from providers.base import Account, Response
from providers.registry import PROVIDERS
from tests.contract.exhibits import all_exhibits
from tests.contract.exhibits.base import NOW

EXHIBITS = dict(all_exhibits())


def account_of(name: str, base_url: str = "") -> Account:
    """The exhibited account of a provider."""
    return Account(f"{name}-main", base_url or PROVIDERS[name].base_url, EXHIBITS[name].credentials)


def capabilities_of(name: str) -> Capabilities:
    """What that account carries."""
    return PROVIDERS[name].capabilities(account_of(name))


def rows(member: str) -> list[Any]:
    """A parameter for each row of this table of every exhibit: the provider's name, and the row."""
    return [
        pytest.param(name, row, id=f"{name}-{number}-{row}")
        for name, exhibit in EXHIBITS.items()
        for number, row in enumerate(getattr(exhibit, member))
    ]


def response(status: int, body: bytes = b"", **headers: str) -> Response:
    """An answer that has arrived; underscores in headers' names stand for hyphens."""
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, NOW)
