"""A plain client, a client of raw sockets and a webhook receiver, to look at the sandbox from outside."""

import http.client
import http.server
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from sandbox import SandboxServer

KEY = "auro_live_sk_sandbox_01"
ANA = "auro_usr_5m2q70x1ck"
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
MEDIA = {"to": ANA, "media_url": "https://files.example.com/a.pdf", "media_type": "application/pdf"}
TEMPLATE = {"to": ANA, "template": "order_confirmation", "language": "en", "variables": {"order": "7719"}}
STILL = {  # an Aurogy without limits, in which nothing happens by itself
    "aurogy": {
        "ratelimit": dict.fromkeys(("send", "status", "conversations", "profile", "profile_read"), "100000/minute"),
        "lifecycle": {"outcomes": {"*": "queued"}},
        "templates": {
            "order_confirmation": {"variables": ["order"]},
            "waiting": {"approved": False},
            "german": {"languages": ["de", "de-AT"]},
        },
        "media": {"sizes": {"huge.mp4": 104_857_601, "edge.mp4": 104_857_600, "avatar.png": 5_242_881}},
    }
}
# For 127.0.0.1 and localhost, self-signed for a hundred years, made for these tests.
CERTIFICATE_AND_KEY = """\
-----BEGIN CERTIFICATE-----
MIIBnDCCAUGgAwIBAgIUUMvBEPyKt2mwg4jFcQK4tT9XEcYwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMDE4MTgzMFoYDzIxMjYxMDI3
MTgxODMwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQ9rkhdTeLNHex4smNAB1cybP1Y83j1Jli4vu9D69F6rR3uJ3Y4nPCx
CU9mvebITtfSSs5Yvb1AArws2/06S61ho28wbTAdBgNVHQ4EFgQUtS19/j/DsRfp
uRVBEccW6xfhVc4wHwYDVR0jBBgwFoAUtS19/j/DsRfpuRVBEccW6xfhVc4wDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARhwR/AAABgglsb2NhbGhvc3QwCgYIKoZI
zj0EAwIDSQAwRgIhAMwngCwRY0b1vzMUR6VT66zQOjDRe30ejKBs1AVqpDAOAiEA
hgFndQa1++FcLh9UoJoKcbtKkeFI788zq2dgYQ7H6Fw=
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1YguVfw7ntHTWJeD
h1TNWH7DmWinPhEcUTry6GdxV8ChRANCAAQ9rkhdTeLNHex4smNAB1cybP1Y83j1
Jli4vu9D69F6rR3uJ3Y4nPCxCU9mvebITtfSSs5Yvb1AArws2/06S61h
-----END PRIVATE KEY-----
"""
WAIT = 60.0  # seconds for anything that should happen at once, on a machine that is busy


@dataclass
class Answered:
    """An answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Of Aurogy's error body."""
        error = self.json["error"]
        assert set(error) == {"code", "message", "status"}
        assert error["status"] == self.status
        return str(error["code"])


def ask(
    url: str, method: str, path: str, data: object = None, *, key: str = KEY, headers: Mapping[str, str] | None = None
) -> Answered:
    """One request on a connection of its own; `data` is sent as JSON unless it is bytes."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=WAIT)
    given = {"Authorization": f"Bearer {key}"} if key else {}
    body = data if isinstance(data, bytes) else None if data is None else json.dumps(data).encode()
    if body is not None:
        given["Content-Type"] = "application/json"
    try:
        connection.request(method, parts.path + path, body, given | dict(headers or {}))
        response = connection.getresponse()
        return Answered(response.status, dict(response.headers), response.read())
    finally:
        connection.close()


def text(to: str = ANA, **more: Any) -> dict[str, Any]:
    """The body of a text message."""
    return {"to": to, "text": "Parcel 7719 leaves the depot today.", **more}


def post(sandbox: SandboxServer, kind: str, data: object, **more: Any) -> Answered:
    """One send to Aurogy."""
    return ask(sandbox.base_url("aurogy"), "POST", f"/messages/{kind}", data, **more)


def get(sandbox: SandboxServer, path: str, **more: Any) -> Answered:
    """One reading request to Aurogy."""
    return ask(sandbox.base_url("aurogy"), "GET", path, **more)


@dataclass
class Raw:
    """What came over a socket, and how it ended: "closed", "reset" or "open" (nothing more within the patience)."""

    received: bytes
    end: str
    seconds: float

    @property
    def status(self) -> int:
        return int(self.received.split(b" ", 2)[1])

    @property
    def head(self) -> str:
        return self.received.partition(b"\r\n\r\n")[0].decode()

    @property
    def body(self) -> bytes:
        return self.received.partition(b"\r\n\r\n")[2]


def request_bytes(path: str = "/aurogy/v1/messages/text", data: object = None, *, method: str = "POST") -> bytes:
    """A request as it goes over the wire."""
    body = json.dumps(text() if data is None else data).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: sandbox\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def exchange(url: str, request: bytes | None = None, patience: float = WAIT, linger: float = 0.1) -> Raw:
    """Sends bytes on a fresh connection, and listens until it ends.

    It is taken for open if nothing comes for `patience` seconds, or after a whole answer for `linger` seconds.
    """
    parts = urlsplit(url)
    received, started = b"", time.monotonic()
    try:
        # A reset may be there before `connect` has returned.
        with socket.create_connection((parts.hostname, parts.port), timeout=WAIT) as connection:
            connection.settimeout(patience)
            connection.sendall(request_bytes() if request is None else request)
            while piece := connection.recv(65536):
                received += piece
                if _is_whole(received):
                    connection.settimeout(linger)
        end = "closed"
    except TimeoutError:
        end = "open"
    except (ConnectionResetError, BrokenPipeError):
        end = "reset"
    return Raw(received, end, time.monotonic() - started)


def _is_whole(received: bytes) -> bool:
    head, blank, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
    return bool(blank) and length is not None and len(body) == int(length[1])


@dataclass
class Hook:
    """One webhook that arrived."""

    at: float
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def event(self) -> str:
        return str(self.json["event"])


@dataclass
class Receiver:
    """A real HTTP server that collects webhooks. `answers` are statuses given in turn, then 200; None: no answer."""

    url: str = ""
    hooks: list[Hook] = field(default_factory=list)
    answers: list[int | None] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _ended: threading.Event = field(default_factory=threading.Event)

    def take(self, hook: Hook) -> int:
        with self._changed:
            self.hooks.append(hook)
            self._changed.notify_all()
            status = self.answers.pop(0) if self.answers else 200
        if status is None:
            self._ended.wait(WAIT)
        return status or 200

    def wait_for(self, count: int) -> list[Hook]:
        """The hooks, once there are `count`."""
        return self.wait_until(lambda hooks: len(hooks) >= count)

    def wait_until(self, condition: Callable[[list[Hook]], bool]) -> list[Hook]:
        """The hooks, once they meet the condition."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self.hooks), WAIT), f"only {len(self.hooks)} webhooks came"
            return list(self.hooks)

    def end(self) -> None:
        self._ended.set()


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Serves a `Receiver` on a free port."""
    kept = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = kept.take(Hook(time.time(), dict(self.headers), body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            if 300 <= status < 400:
                self.send_header("Location", kept.url)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128  # else many at once are dropped by the kernel and tried again a second later

    server = Server(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_address[1]}/hooks/aurogy-main"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield kept
    finally:
        kept.end()
        server.shutdown()
        thread.join()
        server.server_close()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Looks again every 5 ms until the condition holds; fails after a minute."""
    deadline = time.monotonic() + WAIT
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"it never came to pass that {what}"
        pause.wait(0.005)
