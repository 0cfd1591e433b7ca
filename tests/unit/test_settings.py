"""What a configuration says: values in force, keys, the sandbox, and where http is allowed."""

from pathlib import Path

import pytest

from config.settings import load
from tests.unit.settings_support import COURIER, KEY, MAIN, PROVIDERS, Configure, Refused, configure, refused

__all__ = ["configure", "refused"]  # fixtures

# What is in force


def test_without_a_file_there_are_no_accounts_and_everything_has_its_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    settings = load(environ={})

    assert settings.file is None
    assert settings.connection.broker_url == "embedded"
    assert (str(settings.hooks.bind), settings.hooks.public_url) == ("127.0.0.1:8085", None)
    assert (settings.worker.processes, settings.worker.in_flight) == (2, 64)
    assert settings.worker.downloads == ".paceline/downloads"
    assert (str(settings.flower.bind), settings.flower.rows_per_second) == ("127.0.0.1:5555", 200)
    assert settings.sandbox.url == "http://127.0.0.1:8900"
    assert (settings.events.task, settings.limiter.guard) == (None, None)
    days = {name: seconds / 86400 for name, seconds in settings.retention.model_dump().items()}
    assert days == {
        "content": 30, "messages": 90, "events": 90, "webhooks": 30, "idempotency_keys": 180, "jobs": 30, "grants": 7,
    }  # fmt: skip
    assert (settings.accounts, settings.routes, settings.keys) == ({}, {}, {})


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("", "127.0.0.1:9185"),
        ('metrics_bind = "[::1]:9000"', "[::1]:9000"),
        ('metrics_bind = "none"', "None"),
        ('metrics_bind = ""', "None"),
    ],
)
def test_metrics_have_an_address_of_their_own_or_none(configure: Configure, text: str, bind: str) -> None:
    assert str(configure(f"[hooks]\n{text}\n{MAIN}").hooks.metrics_bind) == bind


def test_an_account_has_its_providers_defaults(configure: Configure) -> None:
    account = configure(COURIER).accounts["courier-main"]

    assert account.provider is PROVIDERS["courier"]
    assert account.account.base_url == "https://courier.example/api/v2"
    assert account.account.credentials == {"user": "u", "password": "parcelsx"}
    assert account.account.options == {"parts.max": 10, "factor": 1.5, "strict": False}
    assert (account.on_unknown, account.timeout, account.reserve) == ("hold", 12.0, 0.0)
    assert [limit.text for limit in account.limits["send"]] == ["10/second", "5000/day"]
    assert account.retry_schedule == (5, 30, 120, 600, 3600)
    assert account.poll_schedule == (10, 30, 120, 600, 1800, 3600)
    assert account.give_up_after == 72 * 3600


def test_an_account_says_all_that_it_may(configure: Configure) -> None:
    settings = configure(
        COURIER
        + """
        base_url = "https://other.example/v3/"
        sender = "Paceline"
        on_unknown = "retry"
        timeout = "45s"
        reserve = "12.5%"
        [accounts.courier-main.limits]
        send = ["1000/minute"]
        [accounts.courier-main.retry]
        schedule = [1, "2m"]
        [accounts.courier-main.poll]
        schedule = [2.5]
        give_up_after = "1h"
        [accounts.courier-main.options]
        parts.max = 3
        "factor" = 2
        [routes]
        sms = ["courier-main"]
        """
    )

    account = settings.accounts["courier-main"]
    assert account.account.base_url == "https://other.example/v3"
    assert account.account.credentials["sender"] == "Paceline"
    assert (account.on_unknown, account.timeout, account.reserve) == ("retry", 45.0, 0.125)
    assert [limit.text for limit in account.limits["send"]] == ["1000/minute"]  # a larger plan
    assert [limit.text for limit in account.limits["status"]] == ["60/minute"]
    assert (account.retry_schedule, account.poll_schedule, account.give_up_after) == ((1, 120), (2.5,), 3600)
    assert account.account.options == {"parts.max": 3, "factor": 2, "strict": False}
    assert settings.routes == {"sms": ("courier-main",)}


def test_the_other_sections(configure: Configure) -> None:
    settings = configure(
        """
        [database]
        url = "sqlite:///data.db"
        [hooks]
        bind = "[::]:80"
        public_url = "https://hooks.example.com/base/"
        [worker]
        processes = 1
        in_flight = 8
        [flower]
        bind = "0.0.0.0:5555"
        basic_auth = "${LOGIN}"
        rows_per_second = 0
        [sandbox]
        bind = "0.0.0.0:9000"
        [events]
        task = "myapp.on_message"
        queue = "myapp"
        broker = "amqp://myapp:hunter2@rabbit"
        [limiter]
        guard = "0.2s"
        [retention]
        content = "36h"
        messages = "7d"
        """,
        {"LOGIN": "ann:hunter2"},
    )

    assert settings.connection.database_url == f"sqlite:///{settings.connection.root}/data.db"
    assert (settings.hooks.bind.host, str(settings.hooks.bind)) == ("::", "[::]:80")
    assert (settings.hooks.bind.url, settings.hooks.public_url) == ("http://[::1]:80", "https://hooks.example.com/base")
    assert (settings.worker.processes, settings.worker.in_flight) == (1, 8)
    assert settings.flower.basic_auth is not None
    assert settings.flower.basic_auth.get_secret_value() == "ann:hunter2"
    assert settings.flower.rows_per_second == 0
    assert settings.sandbox.url == "http://127.0.0.1:9000"
    assert (settings.events.task, settings.events.queue) == ("myapp.on_message", "myapp")
    assert settings.limiter.guard == 0.2
    assert (settings.retention.content, settings.retention.messages) == (36 * 3600, 7 * 86400)
    assert "hunter2" not in repr(settings)


def test_no_credential_is_in_a_repr_or_an_error(configure: Configure, refused: Refused) -> None:
    assert KEY not in repr(configure(MAIN))

    assert KEY[:-1] not in "".join(refused(MAIN.replace(KEY, f"{KEY}!") + f'timeout = "{KEY}"\n'))


def test_the_environment_stands_in_for_the_files_addresses(configure: Configure) -> None:
    settings = configure('[database]\nurl = "${NOT_SET}"\n', {"PACELINE_DATABASE_URL": "sqlite:////tmp/p.db"})

    assert settings.connection.database_url == "sqlite:////tmp/p.db"


def test_settings_cannot_be_changed(configure: Configure) -> None:
    settings = configure(MAIN)

    with pytest.raises(Exception, match="frozen"):
        settings.worker.processes = 3
    with pytest.raises(TypeError):
        settings.accounts["other"] = settings.accounts["main"]  # type: ignore[index]


# Keys


def test_accounts_with_the_same_credentials_are_one_key(configure: Configure) -> None:
    settings = configure(
        COURIER
        + 'sender = "A"\nreserve = "5%"\n[accounts.courier-main.limits]\nsend = ["50/minute", "9000/day"]\n'
        + COURIER.replace("courier-main", "second")
        + 'sender = "B"\nreserve = "20%"\n[accounts.second.limits]\nsend = ["60/minute", "2/second"]\n'
        + COURIER.replace("courier-main", "third").replace('"u"', '"v"')
    )

    assert [(key.name, key.accounts) for key in settings.keys.values()] == [
        ("courier-main", ("courier-main", "second")),
        ("third", ("third",)),
    ]
    key = settings.keys["courier-main"]
    assert key.reserve == 0.2
    assert [limit.text for limit in key.limits["send"]] == ["2/second", "50/minute", "9000/day"]
    assert [limit.text for limit in key.limits["status"]] == ["60/minute"]
    assert key.fingerprint == settings.accounts["second"].key_fingerprint


def test_a_fingerprint_is_the_same_everywhere_and_tells_nothing(configure: Configure) -> None:
    account = configure(COURIER).accounts["courier-main"]
    assert account.key_fingerprint == configure(COURIER).accounts["courier-main"].key_fingerprint
    assert len(account.key_fingerprint) == 64
    assert int(account.key_fingerprint, 16)

    elsewhere = configure(COURIER + 'base_url = "https://other.example"\n').accounts["courier-main"]
    assert elsewhere.key_fingerprint != account.key_fingerprint


# The sandbox


def test_the_sandbox_is_every_provider_and_lends_credentials(configure: Configure) -> None:
    settings = configure(
        '[sandbox]\npublic_url = "http://sandbox:8900/"\n'
        '[accounts.a]\nprovider = "courier"\nuser = "u"\npassword = "${PASSWORD}"\nbase_url = "https://real.example"\n'
        '[accounts.b]\nprovider = "courier-email"\n'
        '[accounts.c]\nprovider = "aurogy"\napi_key = ""\n',
        sandbox=True,
    )

    assert {name: account.account.base_url for name, account in settings.accounts.items()} == {
        "a": "http://sandbox:8900/courier/api/v2",
        "b": "http://sandbox:8900/courier",
        "c": "http://sandbox:8900/aurogy/v1",
    }
    assert settings.accounts["a"].account.credentials == {"user": "u", "password": "sandboxy"}
    assert settings.accounts["b"].account.credentials == {"user": "someone"}
    assert settings.accounts["c"].account.credentials["webhook_secret"]


def test_what_the_sandbox_cannot_lend_is_still_missing(refused: Refused) -> None:
    assert refused('[accounts.a]\nprovider = "courier"\nuser = "${WHO}"\n', sandbox=True) == [
        "accounts.a.user: reads the environment variable WHO, which is not set"
    ]


def test_a_sandbox_on_another_host_says_how_it_is_reached(refused: Refused) -> None:
    (problem,) = refused('[sandbox]\nbind = "10.0.0.7:8900"\n', sandbox=True)

    assert problem.startswith("sandbox.public_url: is required where sandbox.bind is not loopback")


# Unencrypted addresses


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1:1", "127.9.9.9", "[::1]:1", "sandbox:8900"])
def test_http_is_for_loopback_and_the_sandbox(configure: Configure, host: str) -> None:
    settings = configure(
        f'{MAIN}base_url = "http://{host}/aurogy"\n'
        '[sandbox]\npublic_url = "http://sandbox:8900"\n'
        '[hooks]\npublic_url = "http://hooks:8085"\n'  # which then only the sandbox is told
    )

    assert settings.accounts["main"].account.base_url == f"http://{host}/aurogy"


def test_http_is_refused_for_every_other_host(refused: Refused) -> None:
    problems = refused(
        f'{MAIN}base_url = "http://sandbox.example"\n[sandbox]\npublic_url = "http://sandbox:8900"\n'
        '[hooks]\npublic_url = "http://127.0.0.1.example"\n'
    )

    assert problems == [
        "accounts.main.base_url: must be https://: http:// is for loopback and the host of [sandbox] public_url",
        "hooks.public_url: must be https://, because providers post recipients to it",
    ]
