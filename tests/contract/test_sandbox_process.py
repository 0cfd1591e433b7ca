"""`python -m sandbox` as a process: one line when it listens, one sentence when it cannot, and no loss when killed."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract.sandbox_support import CERTIFICATE_AND_KEY, ask, exchange, request_bytes, text

ROOT = Path(__file__).parents[2]


@contextmanager
def sandbox(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address."""
    command = [sys.executable, "-m", "sandbox", "--bind", "127.0.0.1:0", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.fullmatch(r"sandbox listening on (https?://127\.0\.0\.1:\d+)\n", line)
            assert match is not None, process.communicate()
            yield process, match[1]
        finally:
            process.kill()


def refused(*arguments: str) -> tuple[int, str]:
    """The exit status and what stands on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def end_of(connection: socket.socket) -> str:
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        return "reset"
    return "closed"


def send(url: str, to: str) -> str:
    return str(ask(url, "POST", "/aurogy/v1/messages/text", text(to)).json["id"])


def test_it_serves_until_it_is_told_to_stop_and_stops_at_once_whatever_is_under_way() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with sandbox() as (process, url):
            send(url, "auro_usr_1")
            ask(url, "POST", "/_control/aurogy/faults", {"kind": "silence"})
            address = ("127.0.0.1", int(url.rpartition(":")[2]))
            with socket.create_connection(address) as idle, socket.create_connection(address) as waiting:
                waiting.sendall(request_bytes())
                while ask(url, "GET", "/_control/aurogy/summary").json["requests"] < 2:
                    pass
                process.send_signal(number)
                assert process.wait(30) == 0  # the silence would last until its client leaves
                assert idle.recv(1) == b""
            assert process.stderr is not None
            assert process.stderr.read() == ""


def test_an_address_in_use_is_named_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, sentence = refused("--bind", f"127.0.0.1:{port}")
    assert status == 1
    assert sentence == (
        f"sandbox: Cannot listen on 127.0.0.1:{port}: Address already in use. Give another address with --bind.\n"
    )


def test_an_address_that_is_not_ours_is_named_in_one_sentence() -> None:
    status, sentence = refused("--bind", "203.0.113.1:8900")
    assert status == 1
    assert sentence.startswith("sandbox: Cannot listen on 203.0.113.1:8900: ")
    assert sentence.count("\n") == 1


def test_a_ledger_that_cannot_be_opened_is_named_in_one_sentence(tmp_path: Path) -> None:
    status, sentence = refused("--bind", "127.0.0.1:0", "--ledger", str(tmp_path / "no" / "ledger.jsonl"))
    assert status == 1
    assert re.fullmatch(
        r"sandbox: The ledger file .*ledger\.jsonl cannot be opened: No such file or directory\..*\n", sentence
    )


def test_a_file_that_is_no_ledger_is_left_alone(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("dear diary")
    status, sentence = refused("--bind", "127.0.0.1:0", "--ledger", str(notes))
    assert (status, sentence) == (1, f"sandbox: Line 1 of {notes} is no ledger entry: give another file.\n")
    assert notes.read_text() == "dear diary"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bind", "8900"], "--bind 8900 is not HOST:PORT"),
        (["--bind", "127.0.0.1:99999"], "is not HOST:PORT"),
        (["--settings", "missing.toml"], "missing.toml cannot be read"),
        (["--keyfile", "key.pem"], "--keyfile needs --certfile"),
        (["--certfile", "missing.pem"], "The certificate or its key is no use"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_status_two(arguments: list[str], words: str) -> None:
    status, sentence = refused(*arguments)
    assert status == 2
    assert words in sentence
    assert sentence.startswith("sandbox: ")
    assert sentence.count("\n") == 1


def test_settings_come_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "sandbox.toml"
    file.write_text('[aurogy.ratelimit]\nsend = "7/1h"\n')
    with sandbox("--settings", str(file)) as (_, url):
        assert ask(url, "POST", "/aurogy/v1/messages/text", text()).headers["X-RateLimit-Limit"] == "7"


def test_kill_9_loses_no_entry_and_the_next_run_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    settings = tmp_path / "sandbox.toml"
    settings.write_text("[aurogy.lifecycle]\nsent_after = 0\ndelivered_after = 600\n")
    arguments = ("--ledger", str(file), "--settings", str(settings))
    with sandbox(*arguments) as (process, url):
        sent = [send(url, f"auro_usr_{number}") for number in range(20)]
        ask(url, "POST", "/_control/aurogy/faults", {"kind": "close", "accept": True})
        exchange(url)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    written = [json.loads(line) for line in file.read_text().splitlines()]
    assert [record["message_id"] for record in written[:20]] == sent
    assert (written[20]["status"], written[20]["accepted"]) == ("closed", True)

    with sandbox(*arguments) as (_, url):
        # Given a provider that was away for a while: it remembers what it accepted, and numbers go on.
        for message in sent:
            assert ask(url, "GET", f"/aurogy/v1/messages/{message}").json["status"] in ("queued", "sent")
        ask(url, "POST", "/_control/clock", {"advance": 600})
        again = send(url, "auro_usr_again")
        entries = ask(url, "GET", "/_control/aurogy/ledger?limit=100").json["entries"]
        assert [entry["seq"] for entry in entries] == list(range(1, 43))
        assert again not in sent
        assert ask(url, "GET", "/_control/aurogy/summary").json["accepted"] == 22


def test_an_answer_means_that_the_entry_is_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    with sandbox("--ledger", str(file)) as (_, url):
        for count in range(1, 11):
            send(url, f"auro_usr_{count}")
            assert len(file.read_text().splitlines()) == count


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    certfile = tmp_path / "both.pem"
    certfile.write_text(CERTIFICATE_AND_KEY)
    return certfile


def test_tls_is_served_and_counts_as_https(tmp_path: Path, certificate: Path) -> None:
    settings = tmp_path / "sandbox.toml"
    settings.write_text("[aurogy]\nrequire_https = true\n")
    with sandbox("--certfile", str(certificate), "--settings", str(settings)) as (_, url):
        assert url.startswith("https://")
        context = ssl.create_default_context(cafile=str(certificate))
        request = urllib.request.Request(
            f"{url}/aurogy/v1/profile", headers={"Authorization": "Bearer auro_live_sk_abcd1234"}
        )
        with urllib.request.urlopen(request, context=context, timeout=60) as response:
            assert json.load(response)["name"] == "Acme Corp"


def test_a_reset_reaches_a_client_through_tls(certificate: Path) -> None:
    with sandbox("--certfile", str(certificate)) as (_, url):
        context = ssl.create_default_context(cafile=str(certificate))
        port = int(url.rpartition(":")[2])
        control = urllib.request.Request(
            f"{url}/_control/aurogy/faults", data=b'{"kind":"close","accept":true}', method="POST"
        )
        urllib.request.urlopen(control, context=context, timeout=60).close()
        with (
            socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as client,
        ):
            client.sendall(request_bytes())
            # Below TLS, whose reader takes a reset for an end.
            with socket.socket(fileno=os.dup(client.fileno())) as below:
                below.settimeout(60)
                assert end_of(below) == "reset"
