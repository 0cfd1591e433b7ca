"""The parts of the service as commands of their own, on a broker that others share: what a bigger installation runs."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from redis import Redis

from paceline import Client, Text
from tests.acceptance.commands_support import (
    ACCOUNT,
    RECIPIENT,
    START,
    Ports,
    clean_environment,
    configure,
    get,
    paceline,
    until,
)


@pytest.fixture
def ports(tmp_path: Path, valkey: Redis) -> Ports:
    """A configured and migrated installation in the test's directory, on the session's Valkey."""
    found = configure(tmp_path)
    file = tmp_path / "paceline.toml"
    broker = f"unix://{valkey.connection_pool.connection_kwargs['path']}"
    file.write_text(f"[broker]\nurl = {json.dumps(broker)}\n{file.read_text()}")
    done = paceline(tmp_path, "migrate", "--sandbox")
    assert done.code == 0, done.err
    return found


@contextmanager
def part(directory: Path, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A command that runs until it is told to stop."""
    with (directory / f"{arguments[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "paceline.cli", *arguments],
            cwd=directory,
            env=clean_environment(PACELINE_SANDBOX="1"),
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def answers(port: int, path: str) -> bool:
    try:
        return get(port, path)[0] == 200
    except OSError:
        return False


def test_worker_beat_and_sandbox_apart_deliver_and_each_stops_when_told(tmp_path: Path, ports: Ports) -> None:
    # given a message that was enqueued before any worker ran
    with Client(tmp_path / "paceline.toml", environ={}) as client:
        receipt = client.enqueue(Text(to=RECIPIENT, text="Your parcel leaves today."), via=ACCOUNT)

        # when sandbox, worker and beat run
        with part(tmp_path, "sandbox") as sandbox, part(tmp_path, "worker") as worker, part(tmp_path, "beat") as beat:
            # then it is delivered
            until(lambda: client.status(receipt.id).status in ("delivered", "read"), START)
            processes = psutil.Process(worker.pid).children()
            assert len(processes) == 2

            # and each ends when it is told, the worker with its processes
            for process in (worker, beat, sandbox):
                process.send_signal(signal.SIGTERM)
            assert [process.wait(timeout=START) for process in (worker, sandbox)] == [0, 0]
            beat.wait(timeout=START)
            assert not [each for each in processes if each.is_running()]


@pytest.mark.parametrize(("name", "path"), [("hooks", "/health"), ("flower", "/healthcheck")])
def test_a_server_answers_at_its_address(tmp_path: Path, ports: Ports, name: str, path: str) -> None:
    port = getattr(ports, name)
    with part(tmp_path, name) as process:
        until(lambda: answers(port, path), START)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=START)
    assert not answers(port, path)


def test_lanes_are_watched_until_the_watcher_leaves(tmp_path: Path, ports: Ports) -> None:
    # given somebody who watches the lanes as JSON
    watching = subprocess.Popen(
        [sys.executable, "-m", "paceline.cli", "lanes", "--watch", "--json"],
        cwd=tmp_path,
        env=clean_environment(PACELINE_SANDBOX="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None

    # then a line comes for every look
    for _ in range(2):
        assert json.loads(watching.stdout.readline())[0]["lane"] == f"{ACCOUNT}/send"

    # when the watcher presses Ctrl-C, then it ends without a word
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=START)
    assert (watching.returncode, err) == (130, "")
