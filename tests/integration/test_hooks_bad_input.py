"""What a stranger may write to the receiver's socket: each gets a clear answer or none, and nothing is changed."""

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from tests.support.installation import ACCOUNT, Installation
from tests.support.receiver import SECRET, Hooks, receiving, report, sign
from worker.commands import serving

Build = Callable[..., Installation]
PATH = f"/hooks/{ACCOUNT}"
BODY = json.dumps(report("msg_1", "delivered")).encode()
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: hooks\r\n"
SIGNED = f"X-Aurogy-Signature: {sign(BODY)}\r\n"
LENGTH = f"Content-Length: {len(BODY)}\r\n"


@pytest.fixture
def built(build: Build) -> Installation:
    return build(webhook_secret=SECRET)


@pytest.fixture
def hooks(built: Installation) -> Iterator[Hooks]:
    with receiving(built.engine, built.topology) as found:
        yield found


def raw(hooks: Hooks, *pieces: bytes, end: bool = False) -> tuple[int, bytes]:
    """Write these bytes, and read the first answer; (0, b"") if the connection is closed without one."""
    with socket.create_connection(("127.0.0.1", hooks.port), timeout=60) as connection:
        for piece in pieces:
            connection.sendall(piece)
        if end:
            connection.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(connection)
        try:
            answer.begin()
            return answer.status, answer.read()
        except (http.client.BadStatusLine, ConnectionError):
            return 0, b""


def stored(built: Installation) -> int:
    return int(built.rows("SELECT count(*) AS count FROM paceline_webhook")[0]["count"])


def test_a_request_as_it_should_be_is_taken(built: Installation, hooks: Hooks) -> None:
    """The same bytes without any trick: so that what follows is refused for its trick."""
    assert raw(hooks, (HEAD + SIGNED + LENGTH + "\r\n").encode() + BODY) == (200, b"")
    chunked = f"{HEAD}{SIGNED}Transfer-Encoding: chunked\r\n\r\n{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\n\r\n"
    assert raw(hooks, chunked) == (200, b"")
    assert stored(built) == 1


MALFORMED = {
    "two lengths that differ": HEAD + SIGNED + LENGTH + "Content-Length: 1\r\n\r\n",
    "a length that is no number": HEAD + SIGNED + "Content-Length: many\r\n\r\n",
    "a negative length": HEAD + SIGNED + "Content-Length: -1\r\n\r\n",
    "a folded header": HEAD + f"X-Aurogy-Signature:\r\n {sign(BODY)}\r\n" + LENGTH.replace(": ", ":\r\n x") + "\r\n",
    "a space before the colon": HEAD + SIGNED.replace(":", " :") + LENGTH + "\r\n",
    "a header without a colon": HEAD + "nonsense\r\n" + LENGTH + "\r\n",
    "a NUL in a header": HEAD + "X-Aurogy-Signature: \x00\r\n" + LENGTH + "\r\n",
    "no host": HEAD.replace("Host: hooks\r\n", "") + SIGNED + LENGTH + "\r\n",
    "an unknown coding": HEAD + SIGNED + "Transfer-Encoding: gzip, chunked\r\n\r\n",
    "a chunk whose size is no number": HEAD + SIGNED + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a chunk that is longer than its size": HEAD + SIGNED + "Transfer-Encoding: chunked\r\n\r\n3\r\n{}{}{}\r\n",
    "no HTTP": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "an empty line alone": " \r\n\r\n",
    "a huge header": HEAD + SIGNED + "X-Padding: " + "a" * 200_000 + "\r\n" + LENGTH + "\r\n",
    "ten thousand headers": HEAD + SIGNED + "".join(f"X-{n}: a\r\n" for n in range(10_000)) + LENGTH + "\r\n",
    "a huge address": HEAD.replace(PATH, PATH + "a" * 200_000) + SIGNED + LENGTH + "\r\n",
}


@pytest.mark.parametrize("trick", MALFORMED)
def test_what_is_no_http_is_answered_400_and_changes_nothing(built: Installation, hooks: Hooks, trick: str) -> None:
    status, said = raw(hooks, MALFORMED[trick].encode("latin-1") + BODY)

    assert (status, said) in ((400, b"Invalid HTTP request received."), (0, b""))  # 0: reset while we still wrote
    if len(MALFORMED[trick]) < 10_000:
        assert status == 400
    assert stored(built) == 0
    assert hooks.post(BODY) == 200, "others are served as before"


REFUSED = {
    "a signature given twice": (HEAD + SIGNED + SIGNED + LENGTH, BODY, 401),
    "a signature and a forged one": (HEAD + SIGNED + "X-Aurogy-Signature: 0\r\n" + LENGTH, BODY, 401),
    "a length and chunks": (
        HEAD + SIGNED + "Content-Length: 3\r\nTransfer-Encoding: chunked",
        b"3\r\n{}\n\r\n0\r\n\r\n",
        401,
    ),
    "many headers": (HEAD + "".join(f"X-{n}: a\r\n" for n in range(1000)) + LENGTH, BODY, 401),
    "a declared 10 MB": (HEAD + SIGNED + "Content-Length: 10485760", b"", 413),
    "a declared exabyte": (HEAD + SIGNED + f"Content-Length: {10**18}", b"", 413),
    "a wrong encoding": (HEAD + f"Content-Length: {4 * len(BODY)}", BODY.decode().encode("utf-32-le"), 401),
    "a compressed body": (HEAD + SIGNED + "Content-Encoding: gzip\r\nContent-Length: 4", b"\x1f\x8b\x08\x00", 401),
    "another method": (HEAD.replace("POST", "DELETE") + SIGNED + LENGTH, BODY, 405),
    "a path that climbs": (HEAD.replace(PATH, f"/hooks/../hooks/{ACCOUNT}") + SIGNED + LENGTH, BODY, 404),
    "a path with an escaped slash": (HEAD.replace(PATH, f"/hooks/x%2f{ACCOUNT}") + SIGNED + LENGTH, BODY, 404),
    "an account that is no text": (HEAD.replace(PATH, "/hooks/%ff%00") + SIGNED + LENGTH, BODY, 404),
    "an upgrade": (HEAD + "Connection: upgrade\r\nUpgrade: websocket\r\n" + LENGTH, BODY, 401),
}


@pytest.mark.parametrize("trick", REFUSED)
def test_what_is_http_and_not_genuine_is_refused_by_its_code(built: Installation, hooks: Hooks, trick: str) -> None:
    head, body, expected = REFUSED[trick]
    status, said = raw(hooks, head.rstrip("\r\n").encode() + b"\r\n\r\n" + body)

    assert status == expected
    assert said.endswith(b".\n")
    assert stored(built) == 0
    assert hooks.post(BODY) == 200, "others are served as before"


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"3", b'"a"', b'{"event": ["message.read"], "data": {}}', b"\xff" * 9, b'{"a":' * 50_000]
)
def test_broken_json_and_wrong_types_move_nothing(built: Installation, hooks: Hooks, body: bytes) -> None:
    """Unsigned they are refused; signed they are kept for people, and no message moves."""
    receipt = built.text(1)
    before = built.rows("SELECT * FROM paceline_message")

    assert hooks.post(body, secret="another") == 401
    assert stored(built) == 0
    assert hooks.post(body) == 200
    assert built.rows("SELECT kind FROM paceline_webhook") == [{"kind": "unreadable"}]
    assert built.rows("SELECT * FROM paceline_message") == before
    assert built.client.status(receipt.id).status == "queued"


def test_ten_megabytes_in_chunks_are_read_no_further_than_the_first(built: Installation, hooks: Hooks) -> None:
    piece = b"10000\r\n" + b"a" * 65536 + b"\r\n"
    head = f"{HEAD}{SIGNED}Transfer-Encoding: chunked\r\n\r\n".encode()
    with closing(socket.create_connection(("127.0.0.1", hooks.port), timeout=60)) as connection:
        connection.sendall(head)
        sent = 0
        try:
            for _ in range(160):
                connection.sendall(piece)
                sent += 1
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert answer.status == 413
        except ConnectionError:
            assert sent > 10  # answered and closed while we still wrote
    assert stored(built) == 0


def test_a_body_that_ends_early_is_no_webhook(built: Installation, hooks: Hooks) -> None:
    """Given a genuine signature of less than was announced, when the connection ends, then nobody is answered."""
    head = f"{HEAD}{SIGNED}Content-Length: {len(BODY) + 5}\r\n\r\n".encode()
    raw(hooks, head + BODY, end=True)
    chunked = f"{HEAD}{SIGNED}Transfer-Encoding: chunked\r\n\r\n{len(BODY):x}\r\n".encode() + BODY + b"\r\n"
    raw(hooks, chunked, end=True)

    assert stored(built) == 0
    assert hooks.post(BODY) == 200


def test_a_second_request_behind_the_first_is_judged_by_itself(built: Installation, hooks: Hooks) -> None:
    """Given a body with another request in it, when the length says where it ends, then it is that, and no more."""
    smuggled = f"{HEAD}{SIGNED}{LENGTH}\r\n".encode() + BODY
    first = f"{HEAD}Content-Length: {len(smuggled)}\r\nConnection: close\r\n\r\n".encode() + smuggled

    assert raw(hooks, first)[0] == 401
    assert stored(built) == 0


def test_a_head_that_does_not_come_is_not_waited_for(built: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given connections that say nothing, or half of it, when time is up, then they are closed; an idle one is not."""
    monkeypatch.setattr(serving, "HEAD", 4.0)
    with ExitStack() as stack:
        hooks = stack.enter_context(receiving(built.engine, built.topology))

        def opened() -> socket.socket:
            return stack.enter_context(closing(socket.create_connection(("127.0.0.1", hooks.port), timeout=60)))

        used = http.client.HTTPConnection("127.0.0.1", hooks.port, timeout=60)
        stack.callback(used.close)
        used.request("POST", PATH, BODY, {"X-Aurogy-Signature": sign(BODY)})
        assert used.getresponse().read() == b""
        started = time.monotonic()
        silent, slow = opened(), opened()
        slow.sendall(HEAD.encode())

        assert (silent.recv(100), slow.recv(100)) == (b"", b"")
        assert time.monotonic() - started > 3
        used.request("GET", "/health")
        assert used.getresponse().status == 200


def test_beyond_its_connections_the_receiver_says_try_again(
    built: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given as many connections as are allowed, when one more webhook comes, then it is answered 503, never 4xx."""
    monkeypatch.setattr(serving, "CONNECTIONS", 20)
    monkeypatch.setattr(serving, "HEAD", 600.0)
    with receiving(built.engine, built.topology) as hooks, ExitStack() as stack:
        held = [
            stack.enter_context(closing(socket.create_connection(("127.0.0.1", hooks.port), timeout=60)))
            for _ in range(25)
        ]
        for each in held:
            each.sendall(HEAD.encode()[:10])
        assert hooks.post(BODY) == 503
    with receiving(built.engine, built.topology) as hooks:
        assert hooks.post(BODY) == 200


def test_a_hundred_strangers_do_not_keep_a_provider_waiting(built: Installation, hooks: Hooks) -> None:
    """Given a hundred forgeries at once, when a genuine webhook comes among them, then it is taken."""
    with ThreadPoolExecutor(20) as pool:
        forged = [pool.submit(hooks.post, BODY, secret="another") for _ in range(100)]
        assert hooks.post(BODY) == 200
        assert {each.result() for each in forged} == {401}
    assert stored(built) == 1
