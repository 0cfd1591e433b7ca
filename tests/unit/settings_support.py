"""A configuration file to write, and providers as data, so that each rule can be seen alone."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from config.settings import Settings, load
from paceline.capabilities import Capabilities, Rule
from paceline.errors import ConfigurationError
from providers import aurogy
from providers.base import Credential, Option

KEY = "auro_live_sk_" + "k" * 16
MAIN = f'[accounts.main]\nprovider = "aurogy"\napi_key = "{KEY}"\n'

# Beside a real one a carrier of texts, and one of e-mail under the same family's name.
PROVIDERS = {
    "aurogy": aurogy.PROVIDER,
    "courier": replace(
        aurogy.PROVIDER,
        name="courier",
        base_url="https://courier.example/api/v2/",
        credentials=(
            Credential("user", secret=False),
            Credential("password", pattern="[a-z]{8}", hint="8 letters from a to z", sandbox="sandboxy"),
            Credential("sender", required=False, secret=False, identifies_key=False),
        ),
        limits={"send": ("10/second", "5000/day"), "status": ("60/minute",)},
        options={
            "parts.max": Option(10, "most parts of a message"),
            "factor": Option(1.5, "a factor"),
            "strict": Option(False, "whether it is strict"),
        },
        timeout=12.0,
    ),
    "courier-email": replace(
        aurogy.PROVIDER,
        name="courier-email",
        base_url="https://courier.example/",
        credentials=(Credential("user", sandbox="someone"),),
        capabilities=lambda _account: Capabilities(kinds={"email": {"to": Rule(required=True)}}),
        options={},
    ),
}
COURIER = '[accounts.courier-main]\nprovider = "courier"\nuser = "u"\npassword = "parcels!"\n'.replace("!", "x")


class Configure(Protocol):
    def __call__(self, text: str, environ: Mapping[str, str] = ..., *, sandbox: bool = ...) -> Settings: ...


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    monkeypatch.chdir(tmp_path)

    def written(text: str, environ: Mapping[str, str] | None = None, *, sandbox: bool = False) -> Settings:
        Path("paceline.toml").write_text(text)
        return load(environ=environ or {}, sandbox=sandbox, providers=PROVIDERS)

    return written


@pytest.fixture
def refused(configure: Configure) -> "Refused":
    def problems(text: str, environ: Mapping[str, str] | None = None, *, sandbox: bool = False) -> list[str]:
        with pytest.raises(ConfigurationError) as refusal:
            configure(text, environ or {}, sandbox=sandbox)
        return [problem.removeprefix("paceline.toml: ") for problem in refusal.value.problems]

    return problems


class Refused(Protocol):
    def __call__(self, text: str, environ: Mapping[str, str] = ..., *, sandbox: bool = ...) -> list[str]: ...
