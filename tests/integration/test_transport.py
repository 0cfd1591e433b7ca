"""The wire: what counts as sent, what the hook withholds, and that of what it withholds not one byte arrives."""

import gzip
import math
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from providers.base import Request
from tests.support.installation import until
from tests.support.raw_server import Behaviour, Peer, RawServer, raw_server
from worker import transport as wire
from worker.transport import Answer, Exchange, Guard, Transport

Serve = Callable[[Behaviour], RawServer]
LONG = 60.0  # seconds for what should happen at once, on a machine that is busy


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = Transport()
    yield made
    made.close()


@pytest.fixture
def serve(transport: Transport) -> Iterator[Serve]:
    """Starts raw servers; kept connections are closed before the servers are."""
    with ExitStack() as stack:
        yield lambda behaviour: stack.enter_context(raw_server(behaviour))
        transport.close()


def guard(**changes: Any) -> Guard:
    values: dict[str, Any] = {
        "token_until": math.inf,
        "token_life": math.inf,
        "token_dead": math.inf,
        "lease_until": math.inf,
        "closed": lambda: False,
        "stamp": lambda: True,
    }
    return Guard(**(values | changes))


def exchange(
    port: int, method: str = "POST", *, timeout: float = LONG, url: str = "", path: str = "/send", **changes: Any
) -> Exchange:
    body = b"" if method == "GET" else b'{"to": "somebody"}'
    request = Request(method, url or f"http://127.0.0.1:{port}{path}", {"authorization": "Bearer secret"}, body)
    return Exchange(request, guard(**changes), timeout, LONG)


def ask(transport: Transport, *exchanges: Exchange) -> list[Answer]:
    """All answers, in the order in which they came."""
    answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    transport.send(exchanges, answers.put)
    return [answers.get(timeout=2 * LONG) for _ in exchanges]


def one_that_left(transport: Transport, port: int, timeout: float) -> Answer:
    """The answer to a request that was on the wire before its time was over, which a pause may take all of."""
    for _ in range(20):
        [answer] = ask(transport, exchange(port, timeout=timeout))
        if answer.sent:
            return answer
    raise AssertionError("no request left")


def echo(peer: Peer) -> None:
    while peer.read_request():
        peer.answer()


def slow_stamp() -> bool:
    """A limiter that takes longer than the token it stamps may live."""
    time.sleep(0.05)
    return True


class Stamps:
    """A limiter that stamps every token, and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> bool:
        self.calls += 1
        return True


# What the hook withholds


WITHHELD: list[tuple[str, dict[str, Any]]] = [
    ("token too old", {"token_until": -math.inf, "token_dead": -math.inf}),
    ("token not stamped", {"token_until": -math.inf, "stamp": lambda: False}),
    ("token too old", {"token_until": -math.inf, "token_life": 0.02, "stamp": slow_stamp}),
    ("lease too short", {"lease_until": -math.inf}),
    ("lane closed", {"closed": lambda: True}),
]


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize(
    ("reason", "changes"), WITHHELD, ids=["dead", "unstamped", "stamped too slowly", "lease", "lane"]
)
def test_of_what_is_withheld_not_one_byte_arrives(
    transport: Transport, serve: Serve, method: str, reason: str, changes: dict[str, Any]
) -> None:
    server = serve(echo)
    asked = exchange(server.port, method, **changes)

    [answer] = ask(transport, asked)

    assert server.accepted.wait(LONG)
    assert not answer.sent
    assert answer.response is None
    assert asked.guard.withheld == answer.error == reason
    assert server.settled() == [b""]


def test_a_lane_that_closes_while_it_connects_stops_the_request(transport: Transport, serve: Serve) -> None:
    """Given a lane that is open until the connection stands, when it stands, then nothing is written."""
    server = serve(echo)
    asked = exchange(server.port, closed=lambda: server.accepted.wait(LONG))

    [answer] = ask(transport, asked)

    assert asked.guard.withheld == "lane closed"
    assert not answer.sent
    assert server.settled() == [b""]


def test_a_lane_that_closes_while_a_token_is_stamped_stops_the_request(transport: Transport, serve: Serve) -> None:
    server, shut = serve(echo), threading.Event()

    def stamp() -> bool:
        shut.set()
        return True

    [answer] = ask(transport, exchange(server.port, token_until=-math.inf, closed=shut.is_set, stamp=stamp))

    assert answer.error == "lane closed"
    assert server.settled() == [b""]


def test_an_old_token_is_stamped_and_the_request_leaves(transport: Transport, serve: Serve) -> None:
    server, stamps = serve(echo), Stamps()

    [answer] = ask(transport, exchange(server.port, token_until=-math.inf, stamp=stamps))

    assert answer.response is not None
    assert stamps.calls == 1


def test_a_young_token_is_not_stamped(transport: Transport, serve: Serve) -> None:
    server, stamps = serve(echo), Stamps()

    [answer] = ask(transport, exchange(server.port, stamp=stamps))

    assert answer.response is not None
    assert stamps.calls == 0


def test_stamping_holds_nobody_up(transport: Transport, serve: Serve) -> None:
    """Given a limiter that does not answer one request, when another goes, then it goes at once."""
    server, gone = serve(echo), threading.Event()
    answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    slow = exchange(server.port, path="/slow", token_until=-math.inf, stamp=lambda: gone.wait(LONG))

    transport.send([slow, exchange(server.port, path="/quick")], answers.put)
    first = answers.get(timeout=2 * LONG)
    gone.set()

    assert first.exchange.request.url.endswith("/quick")
    assert answers.get(timeout=2 * LONG).response is not None


def test_the_moment_it_passed_is_noted_on_the_live_connection(transport: Transport, serve: Serve) -> None:
    server = serve(echo)
    before = time.monotonic()

    [answer] = ask(transport, exchange(server.port))

    assert answer.exchange.guard.passed_at is not None
    assert before <= answer.exchange.guard.passed_at <= time.monotonic()


# What was not sent


def test_refused_connections_are_not_sent(transport: Transport) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        [answer] = ask(transport, exchange(unused.getsockname()[1]))

    assert (answer.sent, answer.response, answer.error) == (False, None, "ConnectionRefusedError")
    assert answer.exchange.guard.withheld is None


def test_an_unknown_host_is_not_sent(transport: Transport) -> None:
    [answer] = ask(transport, exchange(0, url="http://nobody.invalid/send"))

    assert not answer.sent
    assert answer.response is None
    assert "nobody" not in answer.error  # no addresses in what is logged


def test_a_failed_tls_handshake_is_not_sent(transport: Transport, serve: Serve) -> None:
    """Given a server that does not speak TLS, when https is asked of it, then the request itself never left."""

    def gibberish(peer: Peer) -> None:
        peer.say(b"220 mail.example ESMTP\r\n")

    server = serve(gibberish)

    [answer] = ask(transport, exchange(0, url=f"https://127.0.0.1:{server.port}/send"))

    assert not answer.sent
    assert answer.response is None


def test_a_connection_that_does_not_come_is_not_sent(transport: Transport) -> None:
    """Given a listener whose queue is full, when the connect timeout passes, then nothing left."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as stack:
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        asked = exchange(full.getsockname()[1])
        [answer] = ask(transport, Exchange(asked.request, asked.guard, LONG, 0.2))

    assert not answer.sent
    assert answer.error != "timeout"  # which is the word for the limit of the whole


def test_a_timeout_before_the_connection_stands_is_not_sent(transport: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as stack:
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        [answer] = ask(transport, exchange(full.getsockname()[1], timeout=0.2))

    assert (answer.sent, answer.error) == (False, "timeout")


# What was sent, and brought no answer


def reset_on_accept(peer: Peer) -> None:
    peer.reset()


def reset_on_request(peer: Peer) -> None:
    peer.read_request()
    peer.reset()


def close_on_request(peer: Peer) -> None:
    peer.read_request()


def half_a_head(peer: Peer) -> None:
    peer.read_request()
    peer.say(b"HTTP/1.1 200 O")


def half_a_body(peer: Peer) -> None:
    peer.read_request()
    peer.say(b'HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"id": ')


def silence(peer: Peer) -> None:
    while peer.read_request():
        pass


def gibberish(peer: Peer) -> None:
    peer.read_request()
    peer.say(b"\x00\xff not http\r\n\r\n")


@pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
@pytest.mark.parametrize(
    "behaviour", [reset_on_request, close_on_request, half_a_head, half_a_body, gibberish], ids=lambda it: it.__name__
)
def test_what_left_and_was_not_answered_counts_as_sent(
    transport: Transport, serve: Serve, behaviour: Behaviour, method: str
) -> None:
    server = serve(behaviour)

    [answer] = ask(transport, exchange(server.port, method))

    assert answer.sent
    assert answer.response is None
    assert answer.error
    assert "secret" not in answer.error
    assert sum(text.count(method.encode() + b" /send") for text in server.settled()) == 1


def test_a_connection_that_stood_and_broke_counts_as_sent_if_the_hook_let_it_pass(
    transport: Transport, serve: Serve
) -> None:
    server = serve(reset_on_accept)

    [answer] = ask(transport, exchange(server.port))

    assert answer.response is None
    assert answer.sent is (answer.exchange.guard.passed_at is not None)
    assert answer.exchange.guard.withheld is None


def test_silence_ends_with_the_timeout(transport: Transport, serve: Serve) -> None:
    server = serve(silence)

    answers = [one_that_left(transport, server.port, timeout=0.3) for _ in range(3)]

    assert {(answer.response, answer.error) for answer in answers} == {(None, "timeout")}
    assert 0.29 <= min(answer.duration for answer in answers) < 2  # a pause makes slow, never quick


def test_the_timeout_counts_to_the_last_byte(transport: Transport, serve: Serve) -> None:
    """Given an answer that drips in, when the whole of it takes too long, then it is no answer."""

    def drip(peer: Peer) -> None:
        peer.read_request()
        peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        for _ in range(100):
            if not peer.say(b"x") or peer.over.wait(0.05):
                return

    answer = one_that_left(transport, serve(drip).port, timeout=0.4)

    assert (answer.response, answer.error) == (None, "timeout")


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
def test_the_client_library_repeats_nothing_on_a_kept_connection_that_died(
    transport: Transport, serve: Serve, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Given a kept connection, when it dies under the next request, then that is not sent again on another one."""
    monkeypatch.setattr(wire, "IDLE_CONNECTION", LONG)

    def once(peer: Peer) -> None:
        peer.read_request()
        peer.answer()
        if peer.number == 0:
            peer.read_request()

    server = serve(once)
    [first] = ask(transport, exchange(server.port, method))
    [second] = ask(transport, exchange(server.port, method))

    assert first.response is not None
    assert second.response is None
    assert second.sent
    assert second.exchange.guard.withheld is None  # it left once: nothing may put it back
    assert sum(text.count(method.encode() + b" /send") for text in server.settled()) == 2


# Answers


def test_an_answer_is_read_whole_with_its_headers_in_lower_case(transport: Transport, serve: Serve) -> None:
    def created(peer: Peer) -> None:
        peer.read_request()
        peer.answer(b'{"id": "m1"}', "HTTP/1.1 201 Created", X_Request_Id="r-1")

    server = serve(created)
    before = time.time()
    [answer] = ask(transport, exchange(server.port))

    assert answer.response is not None
    assert (answer.response.status, answer.response.body) == (201, b'{"id": "m1"}')
    assert answer.response.headers["x-request-id"] == "r-1"
    assert before <= answer.response.received_at <= time.time()
    [request] = server.settled()
    assert request.startswith(b"POST /send HTTP/1.1\r\n")
    assert b"authorization: bearer secret\r\n" in request.lower()
    assert request.endswith(b'\r\n\r\n{"to": "somebody"}')


def test_redirects_are_not_followed(transport: Transport, serve: Serve) -> None:
    def elsewhere(peer: Peer) -> None:
        while peer.read_request():
            peer.answer(b"", "HTTP/1.1 302 Found", Location="/other")

    server = serve(elsewhere)
    [answer] = ask(transport, exchange(server.port, "GET"))

    assert answer.response is not None
    assert answer.response.status == 302
    transport.close()
    assert b"/other" not in b"".join(server.settled())


def test_an_answer_is_read_up_to_the_cap(transport: Transport, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "ANSWER_LIMIT", 100_000)

    def endless(peer: Peer) -> None:
        peer.read_request()
        peer.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(200):
            peer.say(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    [answer] = ask(transport, exchange(serve(endless).port))

    assert answer.response is not None
    assert len(answer.response.body) == 100_000


def test_a_compressed_answer_is_unpacked_and_none_is_asked_for(transport: Transport, serve: Serve) -> None:
    """Given a gateway that compresses whatever it is asked, then its acceptance is still read."""

    def packed(peer: Peer) -> None:
        peer.read_request()
        peer.answer(gzip.compress(b'{"id": "m1"}'), content_encoding="gzip")

    server = serve(packed)
    [answer] = ask(transport, exchange(server.port))

    assert answer.response is not None
    assert answer.response.body == b'{"id": "m1"}'
    assert b"accept-encoding: identity\r\n" in server.settled()[0].lower()


def test_a_compressed_answer_that_unpacks_to_too_much_is_cut(
    transport: Transport, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "ANSWER_LIMIT", 100_000)

    def bomb(peer: Peer) -> None:
        peer.read_request()
        peer.answer(gzip.compress(bytes(5_000_000)), content_encoding="gzip")

    [answer] = ask(transport, exchange(serve(bomb).port))

    assert answer.response is not None
    assert len(answer.response.body) == 100_000


def test_an_answer_that_is_packed_twice_is_left_packed(transport: Transport, serve: Serve) -> None:
    """Given a few hundred bytes that unpack to gigabytes in two steps, then nothing is unpacked at all."""
    packed = gzip.compress(gzip.compress(bytes(50_000_000)))

    def bomb(peer: Peer) -> None:
        peer.read_request()
        peer.answer(packed, content_encoding="gzip, gzip")

    [answer] = ask(transport, exchange(serve(bomb).port))

    assert answer.response is not None
    assert answer.response.body == packed


def test_an_answer_that_is_not_packed_as_it_says_is_no_answer(transport: Transport, serve: Serve) -> None:
    def liar(peer: Peer) -> None:
        peer.read_request()
        peer.answer(b'{"id": "m1"}', content_encoding="gzip")

    [answer] = ask(transport, exchange(serve(liar).port))

    assert (answer.response, answer.error, answer.sent) == (None, "BrokenPacking", True)


def test_cookies_are_not_kept(transport: Transport, serve: Serve) -> None:
    def baker(peer: Peer) -> None:
        while peer.read_request():
            peer.answer(Set_Cookie="session=1; Path=/")

    server = serve(baker)
    ask(transport, exchange(server.port))
    ask(transport, exchange(server.port))
    transport.close()

    assert b"cookie" not in b"".join(server.settled()).lower()


# Connections and loops


def test_connections_are_kept_for_a_moment_and_dropped_before_they_die(
    transport: Transport, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "IDLE_CONNECTION", LONG)
    server = serve(echo)
    ask(transport, exchange(server.port))
    ask(transport, exchange(server.port))
    assert len(server.peers) == 1

    transport.close()
    monkeypatch.setattr(wire, "IDLE_CONNECTION", 0.3)
    ask(transport, exchange(server.port))
    assert server.peers[1].over.wait(LONG)  # the client has let it go by itself
    ask(transport, exchange(server.port))

    assert len(server.peers) == 3


def test_connections_are_dropped_after_two_seconds() -> None:
    assert wire.IDLE_CONNECTION == 2.0


def test_every_request_gets_one_answer(transport: Transport, serve: Serve) -> None:
    good, bad = serve(echo), serve(reset_on_request)
    asked = [exchange(port) for port in [good.port, bad.port] * 20]

    answers = ask(transport, *asked)

    assert len({id(answer.exchange) for answer in answers}) == 40
    assert sum(answer.response is not None for answer in answers) == 20


def test_a_closed_transport_leaves_no_thread_and_opens_again(transport: Transport, serve: Serve) -> None:
    server = serve(echo)
    ask(transport, exchange(server.port))

    transport.close()
    transport.close()
    until(lambda: all(thread.name != "paceline-wire" for thread in threading.enumerate()))

    assert ask(transport, exchange(server.port))[0].response is not None
