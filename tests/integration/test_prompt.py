"""Between the hook and the kernel lies nothing: a token that is young enough when it is looked at arrives as young."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.background import SandboxServer
from tests.integration.test_transport import ask, exchange
from tests.support.tls import certificate
from worker.transport import Answer, Transport

PAIR = 2


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_request_has_arrived_before_the_next_ones_hook_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, tls: bool
) -> None:
    """Given two kept connections, when two requests go at once, then the second is held back until the first is there.

    A loop that gathers what is written, or a client that writes a body later, asks both hooks first.
    """
    pem = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    hooks, arrived = 0, False

    with SandboxServer(certfile=pem if tls else None) as sandbox:

        def hook() -> bool:
            nonlocal hooks, arrived
            hooks += 1
            if hooks == PAIR:
                arrived = len(sandbox.wait_for_requests("aurogy", PAIR + 1, timeout=30)) == PAIR + 1
            return False

        transport = Transport()
        url = f"{sandbox.base_url('aurogy')}/profile"

        def both(closed: Callable[[], bool]) -> list[Answer]:
            made = [exchange(0, method, url=url, timeout=60.0, closed=closed) for _ in range(PAIR)]
            return ask(transport, *[replace(each, connect_timeout=60.0) for each in made])

        kept, pair = both(lambda: False), both(hook)
        transport.close()

    assert all(answer.response is not None for answer in (*kept, *pair))
    assert (hooks, arrived) == (PAIR, True)
