"""The sandbox on a thread: it starts, ends and fails where the test stands."""

import socket
import threading
from pathlib import Path

import pytest

from sandbox import SandboxServer
from sandbox.aurogy import Aurogy
from sandbox.call import Trace
from sandbox.journal import Journal
from sandbox.ledger import Ledger
from sandbox.model import SettingsError
from tests.unit.sandbox.support import call


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "sandbox"]


def test_it_serves_within_its_block_and_leaves_nothing_behind() -> None:
    with SandboxServer() as sandbox:
        assert threads() == ["sandbox"]
        port = int(sandbox.url.rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port)).close()
    assert threads() == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_an_address_in_use_is_an_error_where_it_is_entered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="Address already in use"):
        SandboxServer(port=taken.getsockname()[1]).__enter__()
    assert threads() == []


def test_errors_come_out_where_the_call_was_made() -> None:
    with SandboxServer() as sandbox:
        with pytest.raises(SettingsError, match=r"aurogy\.keep: Extra inputs"):
            sandbox.settings("aurogy", {"keep": 1})
        with pytest.raises(SettingsError, match="nonsense"):
            sandbox.fault("aurogy", kind="nonsense")
        with pytest.raises(ValueError, match="must not be negative"):
            sandbox.advance(-1)
        with pytest.raises(TimeoutError):
            sandbox.wait_for_requests("aurogy", 1, timeout=0.01)


def test_the_ledger_can_be_forgotten_alone() -> None:
    with SandboxServer() as sandbox:
        sandbox._running.providers["aurogy"].ledger.record(call(), Trace(), status=200)
        assert len(sandbox.ledger("aurogy")) == 1
        sandbox.clear_ledger("aurogy")
        assert sandbox.ledger("aurogy") == []


def aurogy_of(sandbox: SandboxServer) -> Aurogy:
    provider = sandbox._running.providers["aurogy"]
    assert isinstance(provider, Aurogy)
    return provider


def earlier_run(file: Path, *keys: str) -> None:
    """A ledger file with one accepted message of each key."""
    ledger = Ledger("aurogy", Journal(file))
    for number, key in enumerate(keys):
        trace = Trace(key, "send", f"auro_usr_{number}")
        ledger.record(call(at=1000.0), trace, status=200, message_id=f"msg_{number}", accepted=True)


def test_a_message_of_an_earlier_run_keeps_its_business_and_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    with SandboxServer(ledger_file=file) as sandbox:
        marks = [
            aurogy_of(sandbox)._keys.caller(f"Bearer {key}").mark
            for key in ("auro_live_sk_other_01", "auro_test_sk_abcd1234")
        ]
    earlier_run(file, *marks)
    settings = {
        "keys": {"auro_live_sk_other_01": {"business": "other"}, "auro_test_sk_abcd1234": {}},
        "test_keys": {"lifecycle": False},
        "lifecycle": {"read_share": 0},
    }
    with SandboxServer({"aurogy": settings}, ledger_file=file) as sandbox:
        messages = aurogy_of(sandbox)._messages
        other, test = messages["msg_0"], messages["msg_1"]
        assert (other.business.name, other.test) == ("other", False)
        assert (test.business.name, test.test, test.status) == ("main", True, "queued")
