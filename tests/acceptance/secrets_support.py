"""A whole service at its most talkative, into which content and secrets are planted, and all that it lets be seen."""

import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
from celery import Celery
from redis import Redis
from sqlalchemy import Engine, text

from paceline import CallFailed, Client, Email, MessageNotFound, Template, Text, wire
from paceline.celery import send
from paceline.connection import resolve
from paceline.database import engine
from paceline.messages import Message
from sandbox import SandboxServer
from tests.acceptance.commands_support import ROOT, START, Ports, clean_environment, free_ports, paceline, until
from tests.acceptance.shop_support import running
from tests.support.planted import monitoring
from tests.support.ports import free_port
from tests.support.servers import start_valkey
from worker.hooks.callbacks import Callbacks

BODY = "Plantedbody4711"
CONTENT = {
    "aurogy's recipient": "auro_usr_planted4711a",
    "augnet's recipient": "447700904711",
    "aulm's recipient": "966512304711",
    "an e-mail's recipient": "planted4716@example.org",
    "a text message's recipient": "447700904717",
    "a conversation": "conv_planted4718",
    "a recipient of the broker's": "auro_usr_planted4712b",
    "a misspelt call's recipient": "auro_usr_planted4713c",
    "somebody who writes": "auro_usr_planted4714d",
    "a poisoned row's recipient": "auro_usr_planted4715e",
    "a body": BODY,
    "a word that is a body": "plantedword",
    "a body of the broker's": "Brokerbody4712",
    "what somebody writes": "Inboundbody4714",
    "metadata": "Plantedmeta4711",
    "a provider's answer": "Plantedanswer4711",
}
CREDENTIALS = {
    "aurogy's key": "auro_test_sk_planted4711",
    "aurogy's webhook secret": "auro_whsec_planted4711",
    "augnet's key": "augnet_planted_key_4711",
    "augnet's signing key": "augnet_planted_signing_4711",
    "aulm's key": "alm_sk_live_" + "4711feed" * 8,
    "aulm's webhook secret": "aulm_whsec_planted4711",
    "politicalcomms' key": "pc_live_planted4711abcdef",
    "politicalcomms' webhook secret": "whsec_pc_planted4711",
    "the e-mail user's key": "scmailkeyplanted4711",
    "the e-mail webhook's secret": "scmailhookplanted4711",
    "the SMS user's key": "scsmskeyplanted4711",
    "the SMS webhook's secret": "scsmshookplanted4711",
    "the broker's password": "brokerplanted4711",
    "Flower's password": "flowerplanted4711",
}
PROJECT = "5f0c2d7e-9a41-4b1f-8f57-2c1b7e0a9d33"
SESSION = "9b2f4c1e-6d3a-4e57-a1c8-0f7d5b3e2a94"
TO = {
    "aurogy": CONTENT["aurogy's recipient"],
    "augnet": "+" + CONTENT["augnet's recipient"],
    "aulm": "+" + CONTENT["aulm's recipient"],
    "aurorasendcloud-email": CONTENT["an e-mail's recipient"],
    "aurorasendcloud-sms": "+" + CONTENT["a text message's recipient"],
    "politicalcomms": CONTENT["a conversation"],
}
SANDBOXES = {name: name.partition("-")[0] for name in TO}
CELERY = (sys.executable, "-m", "celery", "-A", "worker.app")
KINDS = {"status", "message_received", "inbound_message", "message_replied"}  # what webhooks must have told of


@dataclass
class Seen:
    """All that a run let be seen, as bytes or text by where it stood."""

    engine: Engine
    broker: str = ""
    logs: dict[str, str] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    statuses: dict[str, str] = field(default_factory=dict)
    webhooks: list[str] = field(default_factory=list)


@contextmanager
def service() -> Iterator["Planted"]:
    """Worker, beat, hooks and Flower as processes, every one of them at DEBUG where it can be, and the sandbox."""
    with ExitStack() as stack:
        # A socket's path must be short.
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plk")))
        ports, port = free_ports(), free_port()
        password = CREDENTIALS["the broker's password"]
        stack.enter_context(start_valkey(directory, "--port", str(port)))
        redis = stack.enter_context(Redis(port=port))
        redis.config_set("requirepass", password)
        # Nothing is heard while nothing happens, and that is no trouble.
        redis = stack.enter_context(Redis(port=port, password=password, socket_timeout=None))
        sandbox = stack.enter_context(SandboxServer(_sandbox_settings(ports.hooks)))
        file = directory / "paceline.toml"
        file.write_text(_toml(sandbox, ports, f"redis://:{password}@127.0.0.1:{port}/0"))
        yield Planted(directory, file, ports, redis, sandbox, stack)


@dataclass
class Planted:
    """The service before it starts, and while it runs."""

    directory: Path
    file: Path
    ports: Ports
    redis: Redis
    sandbox: SandboxServer
    stack: ExitStack

    def run(self, template: Path) -> Seen:
        """Everything that can happen to content and secrets, and what was to be seen meanwhile."""
        database = self.directory / ".paceline" / "paceline.db"
        database.parent.mkdir(mode=0o700)
        shutil.copy(template, database)
        client = self.stack.enter_context(Client(self.file, environ={}))
        opened = engine(resolve(self.file, environ={}))
        self.stack.callback(opened.dispose)
        migrated = paceline(self.directory, "migrate")
        assert migrated.code == 0, migrated.err
        seen = Seen(opened)
        with monitoring(self.redis) as monitor, ExitStack() as processes:
            self._start(processes, seen)
            self._send(client, opened, seen)
            self._look(seen)
            seen.broker = monitor.stop()
        seen.logs = {path.name: path.read_text() for path in self.directory.glob("*.log")}
        return seen

    def _start(self, stack: ExitStack, seen: Seen) -> None:
        environment = clean_environment(PACELINE_CONFIG=str(self.file), PYTHONWARNINGS="ignore")
        celery = {
            "worker": (*CELERY, "worker", "-l", "debug"),
            "beat": (*CELERY, "beat", "-l", "debug"),
        }
        commands = {name: (sys.executable, "-m", "paceline.cli", name) for name in ("hooks", "flower")}
        processes = [
            stack.enter_context(running(command, self.directory / f"{name}.log", cwd=ROOT, env=environment))
            for name, command in (celery | commands).items()
        ]
        until(lambda: self._answers("hooks", "/health") and self._flower_hears(), START)
        seen.commands = [" ".join(psutil.Process(process.pid).cmdline()) for process in processes]

    def _answers(self, name: str, path: str) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{getattr(self.ports, name)}{path}", timeout=START).is_success
        return False

    def _flower_hears(self) -> bool:
        """True once it has heard the worker's heart: what it hears nothing of, it cannot show."""
        with contextlib.suppress(httpx.HTTPError), self._flower() as flower:
            answer = flower.get("/workers?json=1")
            return answer.is_success and bool(answer.json()["data"])
        return False

    def _flower(self) -> httpx.Client:
        login = ("ann", CREDENTIALS["Flower's password"])
        return httpx.Client(base_url=f"http://127.0.0.1:{self.ports.flower}", auth=login, timeout=START)

    def _send(self, client: Client, opened: Engine, seen: Seen) -> None:
        quoting = {name: " ".join((CONTENT["a provider's answer"], to, BODY)) for name, to in TO.items()}
        # Of each provider the first is taken, the second refused with an answer that quotes everything it was told.
        taken = {name: self._text(client, name, "taken") for name in TO}
        until(lambda: all(client.status(id_).status.rank for id_ in taken.values()), START)
        for provider in sorted(set(SANDBOXES.values())):
            words = " ".join(said for name, said in quoting.items() if SANDBOXES[name] == provider)
            to = "-".join(who for name, who in TO.items() if SANDBOXES[name] == provider)
            self.sandbox.fault(provider, kind="status", status=422, body=_quoting(words), headers=_headers(to))
        refused = {name: self._text(client, name, "refused") for name in TO}
        until(lambda: all(client.status(id_).status in ("failed", "unknown") for id_ in refused.values()), START)
        for provider in SANDBOXES.values():
            self.sandbox.clear_faults(provider)
        said = {"error": {"code": CONTENT["a word that is a body"]}}
        named = {"X-Request-Id": CREDENTIALS["aurogy's key"]}
        self.sandbox.fault("aurogy", kind="status", status=400, body=said, headers=named)
        word = client.enqueue(Text(TO["aurogy"], CONTENT["a word that is a body"]), via="aurogy-main").id
        until(lambda: client.status(word).status == "failed", START)
        self.sandbox.clear_faults("aurogy")
        with contextlib.suppress(CallFailed):
            client.aurogy("aurogy-main", timeout=START).conversations(limit=2)
        poisoned = self._poison(client, opened)
        self._through_the_broker(client)
        self._webhooks(opened, taken["augnet"])
        ids = {**{f"taken by {name}": id_ for name, id_ in taken.items()}, "quoted": word, "poisoned": poisoned}
        ids |= {f"refused by {name}": id_ for name, id_ in refused.items()}
        seen.statuses = {name: str(client.status(id_).status) for name, id_ in ids.items()}
        for name, id_ in ids.items():
            view = client.status(id_)
            seen.shown[f"repr of {name}"] = repr(view)
            # Metadata comes back to the application that gave it.
            said = {field: value for field, value in view.as_json().items() if field != "metadata"}
            seen.shown[f"status of {name}"] = json.dumps(said, default=str)
        for command in (["show", word], ["show", refused["aurogy"]], ["list"], ["lanes"], ["doctor"]):
            ran = paceline(self.directory, *command, "--json")
            seen.shown[" ".join(command)] = ran.out + ran.err
        with opened.connect() as connection:
            seen.webhooks = list(connection.execute(text("SELECT kind FROM paceline_webhook")).scalars())

    def _text(self, client: Client, provider: str, key: str) -> str:
        return client.enqueue(
            _message(provider),
            via=f"{provider}-main",
            idempotency_key=f"{provider}-{key}",
            metadata={"order": CONTENT["metadata"]} if provider == "aurogy" else None,
        ).id

    def _poison(self, client: Client, opened: Engine) -> str:
        """A row that no request can be made of: it was written by something else than Paceline, before it was due."""
        who = CONTENT["a poisoned row's recipient"]
        later = datetime.now(UTC) + timedelta(hours=1)
        id_ = client.enqueue(Text(who, BODY), via="aurogy-main", send_at=later).id
        with opened.begin() as connection:
            payload = json.dumps({"kind": "text", "to": who, "text": BODY, "nonsense": BODY})
            statement = text("UPDATE paceline_message SET payload = :payload, due_at = 1 WHERE id = :id")
            connection.execute(statement, {"payload": payload, "id": id_})
        until(lambda: client.status(id_).status == "failed", START)
        return id_

    def _through_the_broker(self, client: Client) -> None:
        app = Celery("shop", broker=self.redis_url, set_as_current=False)
        message = Text(CONTENT["a recipient of the broker's"], CONTENT["a body of the broker's"])
        signature = send.s(message, via="aurogy-main", idempotency_key="through-the-broker")
        lost = {"message": {"kind": "text", "to": CONTENT["a misspelt call's recipient"], "text": BODY}}
        with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
            app.send_task("paceline.enqeue", kwargs=lost, producer=producer, queue=wire.ENQUEUE_QUEUE)
            app.send_task(wire.ENQUEUE, kwargs=lost, producer=producer, queue=wire.ENQUEUE_QUEUE)
            called = {"task": wire.ENQUEUE, "id": "1", "argsrepr": BODY, "kwargsrepr": json.dumps(lost)}
            for body, headers in _malformed(lost):
                producer.publish(
                    body,
                    content_type="application/json",
                    content_encoding="utf-8",
                    routing_key=wire.ENQUEUE_QUEUE,
                    headers={name: value for name, value in {**called, **headers}.items() if value is not None},
                )
            producer.publish(json.dumps(lost), content_type="text/plain", routing_key=wire.ENQUEUE_QUEUE)
            # The last of all, so that its row shows that the worker has outlived the others.
            app.send_task(signature.task, kwargs=dict(signature.kwargs), producer=producer, **signature.options)
        until(lambda: _is_stored(client, "through-the-broker"), START)
        log = self.directory / "worker.log"
        until(lambda: "unregistered" in log.read_text(), START)
        until(lambda: self.redis.llen(wire.ENQUEUE_QUEUE) == 0, START)

    def _webhooks(self, opened: Engine, message: str) -> None:
        """What somebody writes, and callbacks that quote everything everywhere."""
        said = {"from": CONTENT["somebody who writes"], "text": CONTENT["what somebody writes"]}
        self.sandbox.inject("aurogy", {"event": "message.received", "data": said})
        self.sandbox.inject("aurogy", {"event": "message.received", "data": {**said, "text": "STOP"}})
        failed = {"message_id": f"msg_{BODY}", "to": TO["aurogy"], "status": "failed", "error": _quoting(BODY)}
        self.sandbox.inject("aurogy", {"event": "message.failed", "data": failed})
        self.sandbox.inject("aulm", {"event": "inbound_message", "data": {"from": TO["aulm"], "body": BODY}})
        url = Callbacks.of(opened, f"http://127.0.0.1:{self.ports.hooks}").url("augnet-main", message)
        self.sandbox.inject(
            "augnet", {"message_id": BODY, "status": "delivered", "recipient": TO["augnet"], "url": url}
        )
        reply = {"conversation_id": TO["politicalcomms"], "text": CONTENT["what somebody writes"]}
        self.sandbox.inject("politicalcomms", {"event": "message.replied", "data": reply})
        for hook, who in (("mail", {"recipient": TO["aurorasendcloud-email"]}), ("sms", {"phone": BODY})):
            quoted = {**who, "message": BODY, "reason": BODY, "subStat": BODY, "statusCode": BODY}
            event = "bounce" if hook == "mail" else "workererror"
            self.sandbox.inject("aurorasendcloud", {"hook": hook, "event": event, "data": quoted})
        # Nobody's: refused, and logged.
        headers = {"X-Aurogy-Signature": BODY}
        httpx.post(url.replace("augnet", "aurogy"), content=json.dumps(failed), headers=headers, timeout=START)

        def stored() -> bool:
            with opened.connect() as connection:
                told = connection.execute(text("SELECT account, kind FROM paceline_webhook")).all()
            accounts, kinds = {row.account for row in told}, {row.kind for row in told}
            return {f"{name}-main" for name in TO} <= accounts and kinds >= KINDS

        until(stored, START)

    def _look(self, seen: Seen) -> None:
        """Every page of Flower's, its whole API, and the metrics."""
        with self._flower() as flower:

            def shown() -> bool:
                rows = flower.get("/api/tasks?limit=10000").text
                return wire.ENQUEUE in rows and wire.SEND in rows

            until(shown, START)
            tasks = flower.get("/api/tasks?limit=10000").raise_for_status().json()
            workers = list(flower.get("/workers?json=1").raise_for_status().json()["data"])
            paths = ["/api/tasks?limit=10000", "/tasks", "/workers", "/workers?json=1", "/api/workers?refresh=1"]
            paths += ["/broker", "/api/queues/length", "/metrics", "/api/task/types"]
            paths += [f"/worker/{worker['hostname']}" for worker in workers]
            chosen = [id_ for id_, row in tasks.items() if row["name"] in (wire.SEND, wire.ENQUEUE)][:40]
            paths += [f"{page}/{id_}" for id_ in chosen for page in ("/task", "/api/task/info")]
            seen.pages = {path: flower.get(path).text for path in paths}
        seen.pages["metrics"] = httpx.get(f"http://127.0.0.1:{self.ports.metrics}/metrics", timeout=START).text

    @property
    def redis_url(self) -> str:
        """The broker as a Celery application of the user's addresses it."""
        at: Mapping[str, Any] = self.redis.connection_pool.connection_kwargs
        return f"redis://:{at['password']}@127.0.0.1:{at['port']}/0"


def _message(name: str) -> Message:
    """What an account of that name sends, with the planted body wherever something is said."""
    said = f"{BODY} is your code."
    if name == "aurorasendcloud-email":
        return Email(TO[name], f"{BODY}: your code", html=f"<p>{said}</p>", text=said, headers={"X-Code": BODY})
    if name == "aurorasendcloud-sms":
        return Template(TO[name], "29999", variables={"code": BODY})
    return Text(TO[name], said)


def _malformed(lost: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Calls that are none: bodies, and what differs in their headers."""
    call = json.dumps([[], lost, {}])
    bodies = ["{" + call, "3", '"x"', "null", "[]", json.dumps([lost, 3]), json.dumps([3, lost, 3, 4])]
    bodies += [json.dumps([3, lost, {}]), json.dumps([[], [lost], {}]), json.dumps([[], lost, 3]), json.dumps(lost)]
    yield from ((body, {}) for body in bodies)
    headers: list[dict[str, Any]] = [{"id": None}, {"id": 3}, {"timelimit": 3}, {"timelimit": ["a", "b"]}]
    headers += [
        {"eta": "soon"},
        {"expires": [1]},
        {"retries": "x"},
        {"task": 3},
        {"task": None},
        {"root_id": {}},
        {"shadow": {}},
    ]
    yield from ((call, each) for each in headers)


def _is_stored(client: Client, key: str) -> bool:
    with contextlib.suppress(MessageNotFound):
        return bool(client.status(idempotency_key=key))
    return False


def _sandbox_settings(hooks: int) -> dict[str, Any]:
    def webhook(provider: str, secret: str) -> dict[str, Any]:
        return {"webhook": {"url": f"http://127.0.0.1:{hooks}/hooks/{provider}-main", "secret": CREDENTIALS[secret]}}

    return {
        "aurogy": webhook("aurogy", "aurogy's webhook secret"),
        "augnet": webhook("augnet", "augnet's signing key"),
        "aulm": webhook("aulm", "aulm's webhook secret"),
        "politicalcomms": {
            **webhook("politicalcomms", "politicalcomms' webhook secret"),
            "open_conversations": ["conv_planted*"],
        },
        "aurorasendcloud": {
            **webhook("aurorasendcloud-email", "the e-mail webhook's secret"),
            "sms_webhook": webhook("aurorasendcloud-sms", "the SMS webhook's secret")["webhook"],
        },
    }


def _quoting(words: str) -> dict[str, Any]:
    """An error that says everything it was told in every place where anything can be said."""
    inner = {"code": words, "message": words, "status": words, "type": words, words: words}
    told = {"error": inner, "code": words, "message": words, "detail": [words], "id": words, "request_id": words}
    return {**told, "details": {"projects": words.split(), "missingSteps": words.split()}}


def _headers(to: str) -> dict[str, str]:
    return {"X-Request-Id": f"req-{to.lstrip('+')}", "X-Error": BODY, "Server": BODY}


def _toml(sandbox: SandboxServer, ports: Ports, broker: str) -> str:
    return f"""
[broker]
url = "{broker}"
[hooks]
bind = "127.0.0.1:{ports.hooks}"
metrics_bind = "127.0.0.1:{ports.metrics}"
[flower]
bind = "127.0.0.1:{ports.flower}"
basic_auth = "ann:{CREDENTIALS["Flower's password"]}"
[events]
task = "shop.on_message"
queue = "shop"
[accounts.aurogy-main]
provider = "aurogy"
base_url = "{sandbox.base_url("aurogy")}"
api_key = "{CREDENTIALS["aurogy's key"]}"
webhook_secret = "{CREDENTIALS["aurogy's webhook secret"]}"
[accounts.aurogy-main.poll]
schedule = [1]
[accounts.augnet-main]
provider = "augnet"
base_url = "{sandbox.base_url("augnet")}"
project_id = "{PROJECT}"
api_key = "{CREDENTIALS["augnet's key"]}"
sender = "ABCTAXI"
signing_key = "{CREDENTIALS["augnet's signing key"]}"
[accounts.aulm-main]
provider = "aulm"
base_url = "{sandbox.base_url("aulm")}"
api_key = "{CREDENTIALS["aulm's key"]}"
session_id = "{SESSION}"
webhook_secret = "{CREDENTIALS["aulm's webhook secret"]}"
[accounts.politicalcomms-main]
provider = "politicalcomms"
base_url = "{sandbox.base_url("politicalcomms")}"
api_key = "{CREDENTIALS["politicalcomms' key"]}"
organization_id = "01JV0ORG0000000000000000A1"
webhook_secret = "{CREDENTIALS["politicalcomms' webhook secret"]}"
[accounts.aurorasendcloud-email-main]
provider = "aurorasendcloud-email"
base_url = "{sandbox.base_url("aurorasendcloud")}"
api_user = "acme_api"
api_key = "{CREDENTIALS["the e-mail user's key"]}"
sender = "news@mail.example.com"
webhook_secret = "{CREDENTIALS["the e-mail webhook's secret"]}"
[accounts.aurorasendcloud-sms-main]
provider = "aurorasendcloud-sms"
base_url = "{sandbox.base_url("aurorasendcloud")}"
sms_user = "acme_sms"
sms_key = "{CREDENTIALS["the SMS user's key"]}"
webhook_secret = "{CREDENTIALS["the SMS webhook's secret"]}"
"""
