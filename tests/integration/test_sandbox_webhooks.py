"""Telling the sandbox where webhooks go: which of its settings, for whom, and what happens if it does not listen."""

import socket
import time
from pathlib import Path
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import pytest

from config.settings import Settings, load
from providers.base import Accepted, Inbound, Response, Submission
from providers.registry import PROVIDERS
from sandbox.background import SandboxServer
from tests.contract.aurorasendcloud_support import receiver
from tests.contract.conformance.cases import EXHIBITS
from worker.commands.sandbox_webhooks import SETTING, SandboxWebhooks, patches


@pytest.fixture
def sandbox() -> SandboxServer:
    return SandboxServer()


def settings_of(directory: Path, bind: str, accounts: str, hooks: str = "0.0.0.0:8085") -> Settings:
    file = directory / "paceline.toml"
    file.write_text(f'[hooks]\nbind = "{hooks}"\n[sandbox]\nbind = "{bind}"\n{accounts}')
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


def test_a_second_key_has_an_endpoint_of_its_own(tmp_path: Path) -> None:
    """Given two keys and three accounts, then the second key's first account stands beside the provider's first."""
    one, two = f"project_id = '{PROJECT}1'\napi_key = 'k'\n", f"project_id = '{PROJECT}2'\napi_key = 'k'\n"
    text = account("one", "augnet", one) + account("two", "augnet", two + "signing_key = 'second'\n")
    found = patches(settings_of(tmp_path, "127.0.0.1:1", text + account("three", "augnet", two)))

    first = {"url": "http://127.0.0.1:8085/hooks/one", "secret": "sandbox_webhook_secret"}
    second = {"url": "http://127.0.0.1:8085/hooks/two", "secret": "second"}
    assert found == {"augnet": {"webhook": first | {"endpoints": {f"{PROJECT}2": second}}}}


PROJECT = "5f0c2d7e-9a41-4b1f-8f57-2c1b7e0a9d3"
AULM = "alm_sk_test_" + "0a" * 31
# What identifies each of two keys, and their webhooks' secrets; everything else is the sandbox's.
KEYS = {
    "aurogy": ("api_key", "auro_live_sk_000000001", "auro_live_sk_000000002", "webhook_secret"),
    "augnet": ("project_id", f"{PROJECT}1", f"{PROJECT}2", "signing_key"),
    "aurorasendcloud-email": ("api_user", "one", "two", "webhook_secret"),
    "aurorasendcloud-sms": ("sms_user", "one", "two", "webhook_secret"),
    "aulm": ("api_key", AULM + "01", AULM + "02", "webhook_secret"),
}


@pytest.mark.parametrize("name", KEYS)
def test_each_keys_webhooks_come_to_its_own_account_and_are_genuine_there(
    tmp_path: Path, sandbox: SandboxServer, name: str
) -> None:
    """Given two keys of one provider, when each sends, then what became of it comes to its account, signed for it."""
    field, *keys, secret = KEYS[name]
    provider, exhibit = PROVIDERS[name], EXHIBITS[name]
    text = ""
    for which, key in zip(("one", "two"), keys, strict=True):
        credentials = {**exhibit.credentials, field: key, secret: f"secret of {which}"}
        text += account(which, name, "".join(f"{name} = '{value}'\n" for name, value in credentials.items()))
    family = exhibit.sandbox or name
    with sandbox, receiver() as receiving:
        settings = settings_of(tmp_path, sandbox.url.removeprefix("http://"), text, receiving.url.split("/")[2])
        sandbox.settings(family, {"lifecycle": {"sent_after": 0, "delivered_after": 0.01, "read_share": 0}})
        assert SandboxWebhooks(settings).tell()
        for which in ("two", "one"):
            given = settings.accounts[which].account
            request = provider.build_request(given, Submission(which, next(iter(exhibit.messages.values()))))
            with urlopen(HttpRequest(request.url, request.body, dict(request.headers)), timeout=60) as answer:
                answered = Response(answer.status, {}, answer.read(), time.time())
            assert isinstance(provider.parse_response(given, answered), Accepted)
        hooks = receiving.wait_until(lambda: {hook.path for hook in receiving.hooks} == {"/hooks/one", "/hooks/two"})

    for hook in hooks:
        headers = {key.lower(): value for key, value in hook.headers.items()}
        inbound = Inbound("POST", hook.path, "", headers, hook.body, time.time())
        genuine = {which: provider.verify(settings.accounts[which].account, inbound) for which in ("one", "two")}  # type: ignore[misc]
        assert genuine == {which: hook.path.endswith(which) for which in ("one", "two")}


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
