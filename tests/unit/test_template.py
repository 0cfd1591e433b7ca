"""The file that `paceline init` writes: it serves for a first message, and every line of it can be set."""

import base64
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from config.settings import load
from config.template import render
from providers.base import Credential, Provider
from providers.registry import PROVIDERS
from tests.unit.settings_support import PROVIDERS as VARIED


def test_the_file_as_written_holds_one_account_and_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    defaults = load(environ={})
    Path("paceline.toml").write_text(render(PROVIDERS.values()))

    settings = load(environ={"AUROGY_API_KEY": "auro_live_sk_0123456789"})

    assert list(settings.accounts) == ["aurogy-main"]
    assert load(sandbox=True, environ={}).accounts["aurogy-main"].account.base_url == "http://127.0.0.1:8900/aurogy/v1"
    for section in ("connection", "hooks", "worker", "flower", "sandbox", "events", "limiter", "retention"):
        assert getattr(settings, section) == getattr(defaults, section)


@pytest.mark.parametrize("providers", [PROVIDERS, VARIED], ids=["real", "varied"])
def test_every_line_can_be_set(tmp_path: Path, providers: Mapping[str, Provider]) -> None:
    chosen = re.sub(r"(?m)^#(?! )", "", render(providers.values()))
    file = tmp_path / "paceline.toml"
    file.write_text(re.sub(r"(?m)^sms = .*$", "", chosen))  # the example's accounts need not be there
    keys = dict(zip(("PACELINE_CONTENT_KEY", "NEW_KEY", "OLD_KEY"), map(_key, "cno"), strict=True))
    environ = (
        {"FLOWER_LOGIN": "ann:x", "PGPASSWORD": "x"}
        | keys
        | {
            f"{name}_{credential.name}".upper().replace("-", "_"): _value(provider, credential)
            for name, provider in providers.items()
            for credential in provider.credentials
        }
    )

    settings = load(file, environ=environ, providers=providers)

    assert settings.hooks.public_url == "https://hooks.example.com"
    assert list(settings.accounts) == [f"{name}-main" for name in providers]
    for name, provider in providers.items():
        account = settings.accounts[f"{name}-main"]
        texts = {name: tuple(limit.text for limit in limits) for name, limits in account.limits.items()}
        assert texts == dict(provider.limits)
        assert account.account.base_url == provider.base_url.rstrip("/")
        assert account.account.options == {option: item.default for option, item in provider.options.items()}


def _key(letter: str) -> str:
    return base64.b64encode(letter.encode() * 32).decode()


def _value(provider: Provider, credential: Credential) -> str:
    """What the credential may be: a region is one that the provider has."""
    return credential.sandbox or (next(iter(provider.base_urls)) if credential.name == "region" else "somebody")


def test_credentials_are_read_from_the_environment() -> None:
    text = render([next(iter(PROVIDERS.values())), *VARIED.values()])

    assert '#password = "${COURIER_PASSWORD}"  # 8 letters from a to z' in text
    assert '#sender = "${COURIER_SENDER}"  # optional' in text
    assert '#user = "${COURIER_EMAIL_USER}"\n' in text
