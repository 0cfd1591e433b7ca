"""TLS on every way: to the broker, to the database, to the providers; whoever cannot be believed is told nothing."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import certifi
import pytest
from celery import Celery
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import make_url, text

from paceline import Text
from paceline.connection import Connection, celery_transport_options, celery_url, redis_client, resolve
from paceline.database import engine
from paceline.directory import unreachable
from paceline.explain import explain
from sandbox.background import SandboxServer
from tests.integration.test_transport import ask, exchange
from tests.support.installation import ACCOUNT, Installation, recipient, until
from tests.support.raw_server import Peer, raw_server
from tests.support.tls import Proxy, certificate, tls_before
from worker.transport import Transport

# The world's authorities: by none of them our servers' certificate is worth anything.
STRANGERS = certifi.where()
Build = Callable[..., Installation]


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    return certificate(tmp_path)


def broker_at(proxy: Proxy, host: str, authority: object) -> Connection:
    url = f"rediss://{host}:{proxy.port}/0?ssl_ca_certs={authority}"
    return resolve(database_url="sqlite:///unused.db", broker_url=url, environ={})


def through_celery(connection: Connection) -> object:
    """A message put into a queue and taken out again, by Celery's own transport."""
    app = Celery("tls", broker=celery_url(connection), set_as_current=False)
    options = celery_transport_options(connection)
    with app.connection_for_write(transport_options=options) as celery:
        celery.ensure_connection(max_retries=1, timeout=60)
        with celery.SimpleQueue("tls", no_ack=True) as queue:
            queue.put({"sent": 1})
            return queue.get(timeout=60).payload


def socket_of(valkey: Redis) -> str:
    return str(valkey.connection_pool.connection_kwargs["path"])


def test_the_broker_is_reached_through_tls_and_known_by_its_authority(valkey: Redis, pem: Path) -> None:
    with tls_before(socket_of(valkey), pem) as proxy:
        connection = broker_at(proxy, "127.0.0.1", pem)

        with closing(redis_client(connection)) as client:
            assert client.ping()
        assert through_celery(connection) == {"sent": 1}
        assert proxy.through >= 2
        assert proxy.refused == 0


@pytest.mark.parametrize(
    ("host", "known"), [("127.0.0.1", False), ("127.0.0.2", True)], ids=["a strange authority", "another's name"]
)
def test_a_broker_that_is_not_known_is_told_nothing(valkey: Redis, pem: Path, host: str, known: bool) -> None:
    with tls_before(socket_of(valkey), pem, host) as proxy:
        connection = broker_at(proxy, host, pem if known else STRANGERS)

        with closing(redis_client(connection)) as client, pytest.raises(RedisError) as failure:
            client.set("said", "1")
        with pytest.raises(Exception, match=r"(?i)certificate"):
            through_celery(connection)
        assert proxy.carried == 0
        assert str(pem) not in explain(failure.value)
    assert valkey.keys() == []


@pytest.fixture
def database(postgresql_server: str, pem: Path) -> Iterator[Proxy]:
    """The session's PostgreSQL behind TLS."""
    with tls_before(_postgresql_socket(postgresql_server), pem, postgresql=True) as proxy:
        yield proxy


def _postgresql_socket(url: str) -> str:
    directory = make_url(url).query["host"]
    assert isinstance(directory, str)
    return str(next(Path(directory).glob(".s.PGSQL.*[0-9]")))


def database_at(server: str, proxy: Proxy, host: str = "127.0.0.1", **query: str) -> Connection:
    url = make_url(server).set(host=host, port=proxy.port, query=query).render_as_string(hide_password=False)
    return resolve(database_url=url, broker_url="redis://nowhere", environ={})


def test_the_database_is_reached_through_tls_and_known_by_its_authority(
    postgresql_server: str, database: Proxy, pem: Path
) -> None:
    opened = engine(database_at(postgresql_server, database, sslmode="verify-full", sslrootcert=str(pem)))

    with opened.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    opened.dispose()
    assert (database.through, database.refused) == (1, 0)


@pytest.mark.parametrize(
    ("host", "known"), [("127.0.0.1", False), ("127.0.0.2", True)], ids=["a strange authority", "another's name"]
)
def test_a_database_that_is_not_known_is_told_nothing(
    postgresql_server: str, pem: Path, host: str, known: bool
) -> None:
    with tls_before(_postgresql_socket(postgresql_server), pem, host, postgresql=True) as proxy:
        authority = str(pem if known else STRANGERS)
        opened = engine(database_at(postgresql_server, proxy, host, sslmode="verify-full", sslrootcert=authority))

        with pytest.raises(Exception, match="certificate") as failure:
            opened.connect()
        opened.dispose()
        assert proxy.carried == 0
    assert proxy_password(postgresql_server) not in str(unreachable(failure.value))


def proxy_password(url: str) -> str:
    return make_url(url).password or "there is none"


def test_a_provider_is_known_by_its_certificate_and_gets_the_message(
    build: Build, pem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a sandbox behind TLS whose authority OpenSSL's own variable names, when a message is sent, it arrives."""
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with SandboxServer(certfile=pem) as sandbox:
        assert sandbox.base_url("aurogy").startswith("https://")
        built = build(base_url=sandbox.base_url("aurogy"))
        service = built.service()
        receipt = built.client.enqueue(Text(to=recipient(1), text="Your parcel leaves."), via=ACCOUNT)
        until(
            lambda: (service.tick(), service.pump.run_slice(1)) and built.client.status(receipt.id).status == "accepted"
        )
        assert len(sandbox.ledger("aurogy")) == 1
        service.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_a_provider_that_is_not_known_gets_not_a_byte(pem: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Given a certificate of a strange authority, or of another name, then the guard is not even asked."""
    heard: list[bytes] = []

    def listen(peer: Peer) -> None:
        while peer.read_request():
            heard.append(bytes(peer.received))
            peer.answer()

    if host == "127.0.0.1":
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    else:
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with raw_server(listen) as behind, tls_before(("127.0.0.1", behind.port), pem, host) as proxy:
        transport = Transport()
        try:
            [answer] = ask(transport, exchange(0, url=f"https://{host}:{proxy.port}/send"))
        finally:
            transport.close()
        assert not answer.sent
        assert answer.error == "SSLCertVerificationError"
        assert proxy.carried == 0
    assert heard == []


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent"])
def test_no_redirect_takes_the_credentials_elsewhere(status: str) -> None:
    """Given a provider that points to another host, then nothing comes there: neither the key nor the message."""
    led: list[bytes] = []

    def elsewhere(peer: Peer) -> None:
        while peer.read_request():
            led.append(bytes(peer.received))
            peer.answer()

    with raw_server(elsewhere) as other:

        def point(peer: Peer) -> None:
            while peer.read_request():
                peer.answer(b"", f"HTTP/1.1 {status}", Location=f"http://127.0.0.1:{other.port}/send")

        with raw_server(point) as first:
            transport = Transport()
            try:
                answers = ask(transport, exchange(first.port), exchange(first.port, "GET"))
            finally:
                transport.close()
    assert {answer.response.status for answer in answers if answer.response} == {int(status[:3])}
    assert led == []


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only OpenSSL's variables are read: a proxy would see whom every message is for."""
    seen: list[bytes] = []

    def listen(peer: Peer) -> None:
        while peer.read_request():
            seen.append(bytes(peer.received))
            peer.answer()

    with raw_server(listen) as proxy, raw_server(listen) as provider:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        transport = Transport()
        try:
            [answer] = ask(transport, exchange(provider.port))
        finally:
            transport.close()
        assert answer.sent
        assert len(proxy.peers) == 0
        assert len(seen) == 1
