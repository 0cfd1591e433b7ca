"""Keys and their limits, where a provider paces each sender within a key by itself."""

from collections.abc import Callable
from pathlib import Path

import pytest

from config.settings import Settings, load
from worker.app import topology_of

Configure = Callable[..., Settings]
KEY = "alm_sk_test_" + "0" * 64
FIRST, SECOND = "9b2f4c1e-6d3a-4e57-a1c8-0f7d5b3e2a94", "9b2f4c1e-6d3a-4e57-a1c8-0f7d5b3e2a95"


def account(name: str, session: str, limits: str = "") -> str:
    table = f"[accounts.{name}.limits]\nsend = {limits}\n" if limits else ""
    return f'[accounts.{name}]\nprovider = "aulm"\napi_key = "{KEY}"\nsession_id = "{session}"\n{table}'


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    def written(*accounts: str) -> Settings:
        file = tmp_path / "paceline.toml"
        file.write_text('[database]\nurl = "sqlite:///p.db"\n[broker]\nurl = "redis://nowhere"\n' + "".join(accounts))
        return load(file, environ={})

    return written


def texts(settings: Settings) -> dict[str, list[str]]:
    [key] = settings.keys.values()
    return {name: [limit.text for limit in limits] for name, limits in key.paces.items()}


def test_rolling_limits_are_the_tightest_of_a_pace_and_quotas_of_the_key(configure: Configure) -> None:
    settings = configure(
        account("one", FIRST, '["1/4s", "900/day"]'),
        account("two", SECOND, '["1/2s", "30/hour", "800/day"]'),
        account("again", SECOND, '["1/5s", "950/day"]'),
    )

    assert texts(settings) == {"one": ["1/4s", "800/day"], "two": ["1/2s", "1/5s", "30/hour", "800/day"]}


def test_every_sender_has_its_lane_with_the_providers_own_pace(configure: Configure) -> None:
    built = topology_of(configure(account("one", FIRST), account("two", SECOND)))

    assert set(built.lanes) == {"one/send", "two/send", "one/session"}
    for name in ("one/send", "two/send"):
        limits = built.lanes[name].limits
        assert [limits.name_of(bucket) for bucket in limits.limits] == [f"{name}/1/3s", "send/1000/day"]
        assert [bucket.jitter for bucket in limits.limits] == [0.4, 0.0]


def test_another_providers_keys_have_no_paces(configure: Configure) -> None:
    aurogy = '[accounts.main]\nprovider = "aurogy"\napi_key = "auro_test_sk_0123456789abcdef"\n'

    assert texts(configure(aurogy)) == {}
