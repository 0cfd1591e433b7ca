"""A plain client of the sandbox's AuroraSendCloud, and a receiver of its webhooks."""

import http.client
import http.server
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from sandbox import SandboxServer

NAME = "aurorasendcloud"
ANA, PHONE = "ana@example.org", "+447700900123"
KEYS = {"api_user": "acme_api", "api_key": "k_demo"}
SMS_KEYS = {"smsUser": "acme_sms", "smsKey": "k_demo"}
MAIL = {"from": "news@mail.example.com", "to": ANA, "subject": "Hello", "html": "<p>Hi</p>"}
TEMPLATE = {
    "from": "news@mail.example.com",
    "templateInvokeName": "order_confirmation",
    "xsmtpapi": '{"to":["ana@example.org"],"sub":{"%name%":["Ana"]}}',
}
SMS = {"templateId": "29999", "phone": PHONE, "vars": '{"code":"492817"}'}
PLENTY = {"mail": "100000/minute", "sms": "100000/minute", "status": "100000/minute", "query": "100000/minute"}
STILL: dict[str, Any] = {"ratelimit": PLENTY, "lifecycle": {"outcomes": {"*": "queued"}}}  # nothing happens by itself
FORM = "application/x-www-form-urlencoded"
WAIT = 60.0  # seconds for anything that should happen at once, on a machine that is busy


@dataclass
class Answered:
    """An answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    path: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> int:
        """Of the envelope, whichever way it is spelt."""
        return int(self.json.get("statusCode", self.json.get("statuscode")))

    @property
    def id(self) -> str:
        """Of the one mail or SMS that was accepted."""
        info = self.json["info"]
        [found] = info.get("emailIdList", info.get("smsIds"))
        return str(found)


def ask(
    sandbox: SandboxServer, path: str, body: Mapping[str, str] | bytes = b"", *, method: str = "POST", type_: str = FORM
) -> Answered:
    """One request on a connection of its own; a mapping is sent as a form."""
    parts = urlsplit(sandbox.base_url(NAME))
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=WAIT)
    raw = body if isinstance(body, bytes) else urlencode(body).encode()
    try:
        connection.request(method, parts.path + path, raw, {"Content-Type": type_} if method == "POST" else {})
        response = connection.getresponse()
        return Answered(response.status, dict(response.headers), response.read())
    finally:
        connection.close()


def mail(sandbox: SandboxServer, path: str = "/mail/send", **fields: str) -> Answered:
    """One mail; a field that is given as empty is left out."""
    return ask(sandbox, path, {name: value for name, value in (KEYS | MAIL | fields).items() if value})


def template(sandbox: SandboxServer, **fields: str) -> Answered:
    """One template mail; a field that is given as empty is left out."""
    whole = KEYS | TEMPLATE | fields
    return ask(sandbox, "/mail/sendtemplate", {name: value for name, value in whole.items() if value})


def sms(sandbox: SandboxServer, **fields: str) -> Answered:
    """One SMS; a field that is given as empty is left out."""
    return ask(sandbox, "/smsapi/send", {name: value for name, value in (SMS_KEYS | SMS | fields).items() if value})


def status(sandbox: SandboxServer, **fields: str) -> Answered:
    """One status query."""
    return ask(sandbox, "/api/data/emailStatus", KEYS | {"days": "3"} | fields)


@dataclass
class Hook:
    """One webhook that arrived."""

    headers: Mapping[str, str]
    body: bytes
    path: str = ""

    @property
    def fields(self) -> dict[str, Any]:
        """Whatever its encoding."""
        if self.headers["Content-Type"] == "application/json":
            found: dict[str, Any] = json.loads(self.body)
            return found
        return dict(parse_qsl(self.body.decode("ascii"), keep_blank_values=True, strict_parsing=True))


@dataclass
class Receiver:
    """A real HTTP server. `tests` are the statuses that GETs get in turn, `answers` those of POSTs; then 200."""

    url: str = ""
    hooks: list[Hook] = field(default_factory=list)
    tests: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    tested: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait_until(self, condition: Callable[[], bool]) -> list[Hook]:
        """The hooks, once the condition holds."""
        with self.changed:
            assert self.changed.wait_for(condition, WAIT), f"{len(self.hooks)} webhooks, {self.tested} tests"
            return list(self.hooks)

    def wait_for(self, count: int) -> list[Hook]:
        """The hooks, once there are `count`."""
        return self.wait_until(lambda: len(self.hooks) >= count)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Serves a `Receiver` on a free port."""
    kept = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with kept.changed:
                kept.tested += 1
                self._end(kept.tests.pop(0) if kept.tests else 200)
                kept.changed.notify_all()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with kept.changed:
                kept.hooks.append(Hook(dict(self.headers), body, self.path))
                self._end(kept.answers.pop(0) if kept.answers else 200)
                kept.changed.notify_all()

        def _end(self, answer: int) -> None:
            self.send_response(answer)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_address[1]}/hooks/mail-main"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
