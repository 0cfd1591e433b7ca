"""Telling the sandbox where webhooks go: which of its settings, for whom, and what happens if it does not listen."""

import socket
from pathlib import Path

import pytest

from config.settings import Settings, load
from providers.registry import PROVIDERS
from sandbox.background import SandboxServer
from worker.commands.sandbox_webhooks import SETTING, SandboxWebhooks, patches


@pytest.fixture
def sandbox() -> SandboxServer:
    return SandboxServer()


def settings_of(directory: Path, bind: str, accounts: str) -> Settings:
    file = directory / "paceline.toml"
    file.write_text(f'[hooks]\nbind = "0.0.0.0:8085"\n[sandbox]\nbind = "{bind}"\n{accounts}')
    return load(file, sandbox=True, environ={})


def account(name: str, provider: str, more: str = "") -> str:
    return f'[accounts.{name}]\nprovider = "{provider}"\n{more}'


def test_every_provider_that_sends_webhooks_is_told_with_its_own_secret(tmp_path: Path) -> None:
    # given an account of each provider, and none of their secrets
    text = "".join(account(f"{name}-main", name) for name in PROVIDERS)
    found = patches(settings_of(tmp_path, "127.0.0.1:1", text))

    # then each has the sandbox's own, and an address on this machine
    listening = {name: each for name, each in PROVIDERS.items() if each.webhook_credential}
    assert sum(len(each) for each in found.values()) == len(listening)
    for name, provider in listening.items():
        told = found[name.partition("-")[0]][SETTING.get(name, "webhook")]
        secrets = {each.name: each.sandbox for each in provider.credentials}
        assert told == {
            "url": f"http://127.0.0.1:8085/hooks/{name}-main",
            "secret": secrets[provider.webhook_credential or ""],
        }


def test_the_first_account_stands_for_its_provider_and_a_secret_of_its_own_is_kept(tmp_path: Path) -> None:
    text = account("one", "aurogy", 'webhook_secret = "mine"\n') + account("two", "aurogy")
    found = patches(settings_of(tmp_path, "127.0.0.1:1", text))

    assert found == {"aurogy": {"webhook": {"url": "http://127.0.0.1:8085/hooks/one", "secret": "mine"}}}


def test_a_sandbox_that_listens_is_told(tmp_path: Path, sandbox: SandboxServer) -> None:
    with sandbox:
        bind = sandbox.url.removeprefix("http://")
        webhooks = SandboxWebhooks(settings_of(tmp_path, bind, account("main", "aurogy")))
        assert not webhooks.told

        assert webhooks.tell()
        assert webhooks.told
        told = sandbox.settings("aurogy")["webhook"]
    assert (told["url"], told["secret"]) == ("http://127.0.0.1:8085/hooks/main", "auro_whsec_sandbox0000")


def test_one_that_does_not_listen_yet_is_tried_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for accounts in (account("main", "aurogy"), account("main", "aurogy", 'webhook_secret = "x"\n')):
        webhooks = SandboxWebhooks(settings_of(tmp_path, f"127.0.0.1:{port}", accounts))
        assert not webhooks.tell()
        assert not webhooks.told


def test_one_that_takes_no_such_setting_is_named_and_not_asked_for_ever(
    tmp_path: Path, sandbox: SandboxServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with sandbox:
        bind = sandbox.url.removeprefix("http://")
        webhooks = SandboxWebhooks(settings_of(tmp_path, bind, account("main", "aurogy")))
        webhooks._patches["aurogy"] = {"hooks": 1}
        assert webhooks.tell()

    assert "The sandbox's aurogy takes no webhook settings (400); it sends none." in capsys.readouterr().err
