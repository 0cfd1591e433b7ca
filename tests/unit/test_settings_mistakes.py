"""Every way in which a configuration can be wrong, and that all of them are said at once."""

from pathlib import Path

import pytest

from config.settings import load
from paceline.errors import ConfigurationError
from tests.unit.settings_support import COURIER, KEY, MAIN, Refused, configure, refused

__all__ = ["configure", "refused"]  # fixtures

MAIL = '[accounts.mail]\nprovider = "courier-email"\nuser = "u"\n'

MISTAKES = {
    # sections and keys
    "[workers]\nprocesses = 1": "workers: is not known here; did you mean worker?",
    "[nonsense]": "nonsense: is not known here; it has accounts, broker, content, database,",
    "[worker]\nproceses = 1": "worker.proceses: is not known here; did you mean processes?",
    "worker = 1": "worker: must be a table",
    "accounts = 1": "accounts: must be a table of tables",
    "[accounts]\nmain = 1": "accounts.main: must be a table",
    "routes = 1": "routes: must be a table",
    # values
    "[worker]\nprocesses = 0": "worker.processes: must be a whole number from 1 to 64",
    "[worker]\nin_flight = true": "worker.in_flight: must be a whole number from 1 to 1024",
    '[worker]\nin_flight = "64"': "worker.in_flight: must be a whole number",
    "[worker]\ndownloads = true": "worker.downloads: must be a directory",
    '[hooks]\nbind = "127.0.0.1"': "hooks.bind: must be a host and a port",
    '[hooks]\nbind = ":8085"': "hooks.bind: must be a host and a port",
    '[hooks]\nbind = "h:0"': "hooks.bind: must be a host and a port",
    '[hooks]\nbind = "h:65536"': "hooks.bind: must be a host and a port",
    '[hooks]\nbind = "h:80/x"': "hooks.bind: must be a host and a port",
    "[hooks]\nbind = 8085": "hooks.bind: must be a host and a port",
    '[hooks]\nmetrics_bind = "9185"': "hooks.metrics_bind: must be a host and a port",
    "[hooks]\nmetrics_bind = false": "hooks.metrics_bind: must be a host and a port",
    '[hooks]\nbind = "h:80"\nmetrics_bind = "h:80"': "hooks.metrics_bind: must be another address than hooks.bind",
    '[hooks]\npublic_url = "hooks.example.com"': "hooks.public_url: must be an https:// URL",
    '[hooks]\npublic_url = "https://u:p@hooks.example.com"': "hooks.public_url: must be an https:// URL",
    '[hooks]\npublic_url = "https://hooks.example.com?a=b"': "hooks.public_url: must be an https:// URL",
    '[hooks]\npublic_url = "https://hooks.example.com:x"': "hooks.public_url: must be an https:// URL",
    '[hooks]\npublic_url = "https://hooks.example.com:0"': "hooks.public_url: must be an https:// URL",
    '[hooks]\npublic_url = "https://a b"': "hooks.public_url: must be an https:// URL",
    '[flower]\nbasic_auth = "ann"': 'flower.basic_auth: must be "user:password"',
    '[flower]\nbasic_auth = "ann:x,"': 'flower.basic_auth: must be "user:password"',
    '[flower]\nbind = "0.0.0.0:5555"': "flower.basic_auth: is required where flower.bind is not loopback",
    '[flower]\nbind = "h:5555"\nbasic_auth = "ann"': 'flower.basic_auth: must be "user:password"',
    "[flower]\nrows_per_second = -1": "flower.rows_per_second: must be a whole number from 0",
    '[events]\nqueue = "myapp"': "events.task: is required beside queue and broker",
    '[events]\ntask = "my app"': "events.task: must be a name without spaces",
    '[events]\ntask = "t"\nbroker = "myapp"': "events.broker: must be a broker's URL",
    "[limiter]\nguard = 0": "limiter.guard: must be a duration",
    '[retention]\ncontent = "59m"': 'retention.content: must be a duration from "1h" to "36500d", such as "30d"',
    '[retention]\nmessages = "36501d"': "retention.messages: must be a duration from",
    '[retention]\nmessages = "200d"': "retention.idempotency_keys: must not be shorter than retention.messages",
    '[retention]\nidempotency_keys = "60d"': "retention.idempotency_keys: must not be shorter than retention.messages",
    '[retention]\nwebhooks = "47h"': 'retention.webhooks: must be at least "2d"',
    '[retention]\nevents = "for ever"': "retention.events: must be a duration from",
    "[database]\nurl = 1": "database.url: must be a URL such as",
    "[broker]\nuri = 1": "broker.uri: is not a key of this table; it has url",
    # accounts
    '[accounts."Main!"]\nprovider = "aurogy"\napi_key = "' + KEY + '"': "accounts.Main!: must be named with 1 to 63 of",
    "[accounts.a]": "accounts.a.provider: must be one of aurogy, courier, courier-email",
    '[accounts.a]\nprovider = "pigeon"\npassword = "x"': "accounts.a.provider: must be one of aurogy, courier",
    "[accounts.a]\nprovider = 1": "accounts.a.provider: must be one of aurogy, courier",
    '[accounts.a]\nprovider = "aurogy"': "accounts.a.api_key: is required: auro_live_sk_ or auro_test_sk_",
    f"{MAIN}webhook_secret = 1": "accounts.main.webhook_secret: must be a string",
    f'{MAIN}webhook_secret = " "': "accounts.main.webhook_secret: must not be empty",
    COURIER.replace("parcelsx", "parcelsx9"): "accounts.courier-main.password: must be 8 letters from a to z",
    f"{MAIN}api_kay = 1": "accounts.main.api_kay: is not known here; did you mean api_key?",
    f"{COURIER}api_key = 1": "accounts.courier-main.api_key: is not known here",
    f'{MAIN}base_url = "ftp://h"': "accounts.main.base_url: must be an https:// URL",
    f'{MAIN}on_unknown = "resend"': "accounts.main.on_unknown: must be 'hold' or 'retry'",
    f'{MAIN}timeout = "0s"': "accounts.main.timeout: must be a duration",
    f'{MAIN}timeout = "601s"': "accounts.main.timeout: must be a duration",
    f'{MAIN}timeout = "1d"': "accounts.main.timeout: must be a duration",
    f"{MAIN}timeout = true": "accounts.main.timeout: must be a duration",
    f"{MAIN}timeout = nan": "accounts.main.timeout: must be a duration",
    f"{MAIN}timeout = []": "accounts.main.timeout: must be a duration",
    f'{MAIN}reserve = "100%"': "accounts.main.reserve: must be a percentage",
    f'{MAIN}reserve = "nan%"': "accounts.main.reserve: must be a percentage",
    f'{MAIN}reserve = "-1%"': "accounts.main.reserve: must be a percentage",
    f"{MAIN}reserve = 10": "accounts.main.reserve: must be a percentage",
    f'{MAIN}limits.send = "1/day"': "accounts.main.limits.send: must be a list",
    f"{MAIN}limits.send = []": "accounts.main.limits.send: must hold at least 1",
    f"{MAIN}limits.send = [1]": 'accounts.main.limits.send[0]: must be a limit such as "100/minute"',
    f'{MAIN}limits.send = ["1/day@Nowhere"]': "accounts.main.limits.send[0]: ",
    f'{MAIN}limits.sned = ["1/day"]': "accounts.main.limits.sned: is not known here; did you mean send?",
    f"{MAIN}limits = 1": "accounts.main.limits: must be a table",
    f"{MAIN}retry.schedule = [-1]": "accounts.main.retry.schedule[0]: must be a duration",
    f"{MAIN}retry.schedule = [{'1,' * 51}]": "accounts.main.retry.schedule: must hold at most 50",
    f"{MAIN}retry.sched = [1]": "accounts.main.retry.sched: is not known here; did you mean schedule?",
    f"{MAIN}retry = 1": "accounts.main.retry: must be a table",
    f"{MAIN}poll.schedule = []": "accounts.main.poll.schedule: must hold at least 1",
    f"{MAIN}poll.schedule = [0]": "accounts.main.poll.schedule[0]: must be a duration",
    f'{MAIN}poll.give_up_after = "3 days"': "accounts.main.poll.give_up_after: must be a duration",
    f"{COURIER}options.parts.max = 1.5": "accounts.courier-main.options.parts.max: must be a whole number: most parts",
    f"{COURIER}options.parts.max = true": "accounts.courier-main.options.parts.max: must be a whole number",
    f'{COURIER}options.factor = "2"': "accounts.courier-main.options.factor: must be a number",
    f"{COURIER}options.strict = 1": "accounts.courier-main.options.strict: must be true or false",
    f"{COURIER}options.part.max = 1": "accounts.courier-main.options.part.max: is not known here; did you mean parts",
    # routes
    f'{MAIN}[routes]\nsms = "main"': "routes.sms: must be a list of accounts' names",
    f"{MAIN}[routes]\nsms = []": "routes.sms: must be a list of accounts' names",
    f'{MAIN}[routes]\nsms = ["main", "main"]': "routes.sms: must name each account once",
    f'{MAIN}[routes]\nsms = ["main", "mian"]': "routes.sms: must name accounts only, and its item 2 names none of main",
    f'{MAIN}[routes]\nmain = ["main"]': "routes.main: must not have the name of an account",
    f'{MAIN}[routes]\nSMS = ["main"]': "routes.SMS: must be named with 1 to 63 of the characters a-z",
    f'{MAIN}{MAIL}[routes]\nboth = ["main", "mail"]': "routes.both: must name accounts that can carry a common kind",
    # the environment
    f'{MAIN}webhook_secret = "${{SECRET}}"': "accounts.main.webhook_secret: reads the environment variable SECRET, ",
    f'{MAIN}timeout = "${{A"': "accounts.main.timeout: must name an environment variable between ${ and }",
    f'{MAIN}limits.send = ["${{N}}/day"]': "accounts.main.limits.send[0]: reads the environment variable N, ",
}


@pytest.mark.parametrize(("text", "problem"), MISTAKES.items(), ids=list(MISTAKES.values()))
def test_a_mistake_is_named_with_what_is_allowed(refused: Refused, text: str, problem: str) -> None:
    found = refused(text)

    assert len(found) == 1, found
    assert found[0].startswith(problem)


def test_all_mistakes_are_reported_at_once(refused: Refused) -> None:
    found = refused(
        """
        [database]
        url = 1
        [broker]
        uri = 1
        [worker]
        proceses = 1
        [limiter]
        guard = 0
        [accounts.a]
        provider = "aurogy"
        api_key = "x"
        timeout = "soon"
        base_url = "http://h"
        nonsense = 1
        limits.sned = ["1/day"]
        limits.send = ["x"]
        options.none = 1
        retry.schedule = "x"
        poll.x = 1
        [accounts.b]
        provider = "pigeon"
        reserve = 1
        nonsense = 1
        [routes]
        x = ["a", "c"]
        """
    )

    assert [problem.split(":")[0] for problem in found] == [
        "broker.uri",
        "database.url",
        "accounts.a.timeout",
        "accounts.a.limits.send[0]",
        "accounts.a.retry.schedule",
        "accounts.a.poll.x",
        "accounts.a.nonsense",
        "accounts.a.base_url",
        "accounts.a.api_key",
        "accounts.a.options.none",
        "accounts.a.limits.sned",
        "accounts.b.provider",
        "accounts.b.reserve",
        "accounts.b.nonsense",
        "worker.proceses",
        "limiter.guard",
        "routes.x",
    ]


def test_a_file_elsewhere_is_named_in_every_sentence(tmp_path: Path) -> None:
    file = tmp_path / "there.toml"
    file.write_text("[worker]\nprocesses = 0\n[broker]\nurl = 1\n")

    with pytest.raises(ConfigurationError) as refusal:
        load(file, environ={})

    assert len(refusal.value.problems) == 2
    assert all(problem.startswith(f"{file}: ") for problem in refusal.value.problems)
