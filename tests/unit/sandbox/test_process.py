"""The sandbox as a process of its own does what the one on a thread does, and says when requests really arrived."""

import http.client
import signal
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from sandbox.arrivals import _STAMP
from sandbox.process import ControlError, SandboxProcess
from tests.chaos.servers import stopped

HEADERS = {"Authorization": "Bearer auro_live_sk_sandbox_01", "Content-Type": "application/json"}


@pytest.fixture
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess('[aurogy.ratelimit]\nsend = "3/1h"\n') as server:
        yield server


def post(url: str, recipient: str = "auro_usr_5m2q70x1ck") -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    connection.request("POST", f"{parts.path}/messages/text", f'{{"to": "{recipient}", "text": "x"}}', HEADERS)
    status = connection.getresponse().status
    connection.close()
    return status


def test_it_is_steered_and_asked_from_outside(sandbox: SandboxProcess) -> None:
    url = sandbox.base_url("aurogy")
    assert sandbox.settings("aurogy", {})["ratelimit"]["send"] == "3/3600s"

    sandbox.fault("aurogy", "status", status=503, count=1)
    assert [post(url), post(url)] == [503, 200]
    sandbox.fault("aurogy", "status", status=503)
    sandbox.clear_faults("aurogy")
    assert post(url) == 200

    sandbox.wait_for_requests("aurogy", 3)
    first, *others = sandbox.ledger("aurogy")
    assert (first.status, first.fault, len(others)) == (503, "status", 2)
    assert sandbox.ledger("aurogy", after=first.seq) == others
    assert sandbox.summary("aurogy")["requests"] == 3


def test_what_it_refuses_is_said(sandbox: SandboxProcess) -> None:
    with pytest.raises(ControlError, match="fault"):
        sandbox.fault("aurogy", "no such kind")


def test_connections_that_are_refused_are_not_those_of_who_steers_it(sandbox: SandboxProcess) -> None:
    sandbox.fault("aurogy", "refuse", count=1)
    sandbox.summary("aurogy")

    with pytest.raises(ConnectionError):
        post(sandbox.base_url("aurogy"))
    assert post(sandbox.base_url("aurogy")) == 200


@pytest.mark.skipif(_STAMP is None, reason="this system stamps no arrivals")
def test_a_request_arrived_when_it_did_and_not_when_it_was_read(sandbox: SandboxProcess) -> None:
    """Given a sandbox that stands still, when requests arrive meanwhile, then its ledger has them where they were."""
    parts = urlsplit(sandbox.base_url("aurogy"))
    post(sandbox.base_url("aurogy"))
    assert sandbox._process is not None
    request = "\r\n".join(
        [f"POST {parts.path}/messages/text HTTP/1.1", "Host: x", *(f"{name}: {it}" for name, it in HEADERS.items())]
        + ["Content-Length: 2", "Connection: close", "", "{}"]
    )
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        stopped(sandbox._process)
        before = time.monotonic()
        connection.sendall(request.encode())
        time.sleep(0.5)  # the fault itself
        goes_on = time.monotonic()
        sandbox._process.send_signal(signal.SIGCONT)
        connection.recv(1000)

    late = sandbox.ledger("aurogy")[-1]
    assert before - 0.1 < late.monotonic < goes_on - 0.3
    assert late.lag is not None
    assert late.lag > 0.3
