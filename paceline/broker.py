"""The broker: how its address is checked, and how redis-py and Celery reach it.

`embedded` is a Valkey of our own on a unix socket that only this user can open. The others are `redis://`,
`rediss://` (TLS), `unix://`, and `sentinel://[[user]:password@]host:port[;host:port…]/master_name[/database]`, with
`?sentinel_username=…&sentinel_password=…` where the sentinels ask for a login of their own.
"""

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from paceline.addresses import Connection
from paceline.errors import ConfigurationError

EMBEDDED = "embedded"
LONGEST_SOCKET_PATH = 100  # bytes; Linux takes 108, macOS 104
SOCKET_TIMEOUT = 5.0  # seconds for connecting, and for one answer
HEALTH_CHECK_INTERVAL = 25  # seconds of idleness after which a connection is tried before it is used
SENTINEL_PORT = 26379

_SENTINEL_LOGIN = {"sentinel_username": "username", "sentinel_password": "password"}


@dataclass(frozen=True, slots=True)
class Sentinels:
    """A `sentinel://` address, read. `login` is to the master, `sentinel_login` to the sentinels themselves."""

    hosts: tuple[tuple[str, int], ...]
    master: str
    database: int
    login: Mapping[str, str] = field(repr=False)
    sentinel_login: Mapping[str, str] = field(repr=False)


def checked(url: str) -> str:
    """The address, if it is one. Raises ValueError, a sentence without its subject that does not quote it."""
    scheme = url.partition("://")[0]
    if scheme in ("redis", "rediss"):
        _check_tcp(url)
    elif scheme == "unix":
        _check_unix(url)
    elif scheme == "sentinel":
        sentinels(url)
    elif url != EMBEDDED:
        raise ValueError('must be "embedded" or begin with redis://, rediss://, sentinel:// or unix://')
    return url


def sentinels(url: str) -> Sentinels:
    """What a `sentinel://` address names. Raises ValueError, a sentence without its subject."""
    rest, _, query = url.removeprefix("sentinel://").partition("?")
    authority, _, path = rest.partition("/")
    login, _, hosts = authority.rpartition("@")
    user, _, password = login.partition(":")
    master, _, database = path.partition("/")
    options = dict(parse_qsl(query, keep_blank_values=True))
    addresses = [address for host in hosts.split(";") if (address := _address(host)) is not None]
    if (
        len(addresses) < len(hosts.split(";"))
        or not re.fullmatch("[^/]+/[0-9]*", f"{master}/{database}")
        or not options.keys() <= _SENTINEL_LOGIN.keys()
    ):
        raise ValueError("must name sentinels and their master, as in sentinel://one:26379;two:26379/master_name/0")
    return Sentinels(
        hosts=tuple(addresses),
        master=unquote(master),
        database=int(database or 0),
        login={name: unquote(value) for name, value in (("username", user), ("password", password)) if value},
        sentinel_login={_SENTINEL_LOGIN[name]: value for name, value in options.items()},
    )


def broker_socket(connection: Connection) -> Path:
    """The embedded broker's unix socket: `.paceline/valkey.sock`, or where that is too long for a socket's address, in
    a directory of the system's temporary one, named after the installation.

    Raises `ConfigurationError` if another user could have made that directory: anybody may write there.
    """
    path = connection.root / ".paceline" / "valkey.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    name = hashlib.sha256(os.fsencode(connection.root)).hexdigest()[:16]
    directory = Path(tempfile.gettempdir()) / f"paceline-{name}"
    if os.path.lexists(directory):
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise ConfigurationError(
                [f"{directory}: must be a directory of this user's that is closed to others; remove it and start again"]
            )
    return directory / path.name


def redis_url(connection: Connection) -> str:
    """The address as redis-py reads it; a `sentinel://` one, which it does not read, is for `redis_client`."""
    if connection.broker_url == EMBEDDED:
        return f"unix://{quote(str(broker_socket(connection)))}"
    return connection.broker_url


def redis_client(connection: Connection, **options: Any) -> Redis:
    """A client that sends each command once and waits 5 seconds for its answer, unless `options`, which are redis-py's,
    say otherwise.

    What may be repeated, and when, is the caller's to say: a lost answer does not mean that nothing was done.
    """
    url = redis_url(connection)
    settings = {**_once(url), **options}
    if not url.startswith("sentinel://"):
        return Redis.from_url(url, **settings)
    found = sentinels(url)
    known: Any = Sentinel(  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        found.hosts,
        sentinel_kwargs={**_once(url), **found.sentinel_login},
        db=found.database,
        **found.login,
        **settings,
    )
    client: Redis = known.master_for(found.master)
    return client


def celery_url(connection: Connection) -> str:
    """The address as Celery reads it; `celery_transport_options` belong to it."""
    url = redis_url(connection)
    if url.startswith("unix://"):
        return f"redis+socket://{url.removeprefix('unix://')}"
    if url.startswith("rediss://") and "ssl_cert_reqs=" not in url:
        # Without it kombu accepts any certificate.
        return f"{url}{'&' if '?' in url else '?'}ssl_cert_reqs=required"
    if url.startswith("sentinel://"):
        found = sentinels(url)
        user, password = (quote(found.login.get(name, ""), safe="") for name in ("username", "password"))
        login = f"{user}:{password}@" if found.login else ""
        return ";".join(f"sentinel://{login}{_host(host)}:{port}/{found.database}" for host, port in found.hosts)
    return url


def celery_transport_options(connection: Connection) -> dict[str, Any]:
    """What kombu must be told beside the address: timeouts, keepalive where there is TCP, and the sentinels' group."""
    url = redis_url(connection)
    options = _timeouts(url)
    if url.startswith("sentinel://"):
        found = sentinels(url)
        options["master_name"] = found.master
        options["sentinel_kwargs"] = {**_once(url), **found.sentinel_login}
    return options


def _timeouts(url: str) -> dict[str, Any]:
    timeouts: dict[str, Any] = {
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": SOCKET_TIMEOUT,
        "health_check_interval": HEALTH_CHECK_INTERVAL,
    }
    return timeouts if url.startswith("unix://") else {**timeouts, "socket_keepalive": True}


def _once(url: str) -> dict[str, Any]:
    # redis-py's own answer to this differs between its versions and between its clients.
    return {**_timeouts(url), "retry": Retry(NoBackoff(), 0)}


def _check_tcp(url: str) -> None:
    try:
        parts = urlsplit(url)
        named = parts.hostname and parts.port != 0
    except ValueError:
        named = None
    if not named or not re.fullmatch("(/[0-9]*)?", parts.path):
        raise ValueError("must name a host, and may name a port and a database by its number: redis://host:6379/0")


def _check_unix(url: str) -> None:
    parts = urlsplit(url)
    if parts.netloc or not parts.path.startswith("/"):
        raise ValueError("must name a socket by its absolute path: unix:///run/valkey.sock")


def _address(text: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    return (host, port or SENTINEL_PORT) if host else None


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
