"""The kinds of value a configuration holds, each with the sentence that says what it may be."""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

from pydantic import BeforeValidator, PlainValidator, SecretStr

from paceline.limit import Limit, parse_duration

SHORTEST_AGE = 3600.0
LONGEST_AGE = 36_500 * 86_400.0  # a hundred years: as good as for ever


class Bind(NamedTuple):
    """An address to listen at."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def loopback(self) -> str:
        """The host under which this host reaches it: loopback if it listens everywhere."""
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # named here to be avoided
        return everywhere.get(self.host, self.host)

    @property
    def url(self) -> str:
        """How a process on this host reaches it: `http://…`."""
        return f"http://{Bind(self.loopback, self.port)}"


def is_loopback(host: str) -> bool:
    """Whether what is sent to this host stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def http_url(value: object) -> str:
    """An http or https URL without login, query and fragment, and without a slash at its end. Raises ValueError."""
    rule = "must be an https:// URL (http:// for loopback and the sandbox alone) without login, query or fragment"
    try:
        url = urlsplit(value if isinstance(value, str) else "")
        host, port = url.hostname, url.port
    except ValueError:
        raise ValueError(rule) from None
    plain = not (url.query or url.fragment or "@" in url.netloc or re.search(r"\s", str(value)))
    if url.scheme not in ("http", "https") or not host or port == 0 or not plain:
        raise ValueError(rule)
    return url.geturl().rstrip("/")


def _bind(value: object) -> Bind:
    try:
        url = urlsplit(f"//{value}")
        host, port = url.hostname, url.port
    except ValueError:
        host, port = None, None
    if not host or not port or url.netloc != value or re.search(r"[\s@]", value):
        raise ValueError('must be a host and a port from 1 to 65535, as in "127.0.0.1:8085"')
    return Bind(host, port)


def _bind_or_none(value: object) -> Bind | None:
    return None if value in ("", "none") else _bind(value)


def _duration(shortest: float, longest: float) -> Callable[[object], float]:
    def check(value: object) -> float:
        rule = 'must be a duration such as "30s", "10m" or "72h", or a number of seconds'
        try:
            seconds = parse_duration(value)  # type: ignore[arg-type]  # it refuses what is neither
        except (ValueError, TypeError):
            raise ValueError(rule) from None
        if not shortest <= seconds <= longest:
            raise ValueError(f"{rule}, from {shortest:g}s to {longest:.15g}s")
        return seconds

    return check


def _age(value: object) -> float:
    try:
        seconds = parse_duration(value)  # type: ignore[arg-type]  # it refuses what is neither
    except (ValueError, TypeError):
        seconds = -1.0
    if not SHORTEST_AGE <= seconds <= LONGEST_AGE:
        raise ValueError('must be a duration from "1h" to "36500d", such as "30d"')
    return seconds


def _fraction(value: object) -> float:
    try:
        percent = float(value[:-1]) if isinstance(value, str) and value.endswith("%") else -1.0
    except ValueError:
        percent = -1.0
    if not 0 <= percent < 100:
        raise ValueError('must be a percentage from "0%" to below "100%", as in "10%"')
    return percent / 100


def _limit(value: object) -> Limit:
    if not isinstance(value, str):
        raise ValueError('must be a limit such as "100/minute"')  # noqa: TRY004  # pydantic collects ValueErrors
    return Limit.parse(value)


def _whole(lowest: int, highest: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise ValueError(f"must be a whole number from {lowest} to {highest}")
        return value

    return check


def _word(value: object) -> str:
    if not isinstance(value, str) or not value or len(value.split()) != 1:
        raise ValueError("must be a name without spaces")
    return value


def _directory(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError('must be a directory, such as "/var/lib/paceline/downloads"')
    return str(Path(value).expanduser())


def _login(value: object) -> object:
    logins = value.split(",") if isinstance(value, str) else [""]
    if not all(user and password for user, _, password in (login.partition(":") for login in logins)):
        raise ValueError('must be "user:password", or several of these with commas between')
    return value


def _broker(value: object) -> object:
    if not isinstance(value, str) or not all(part for part in value.partition("://")):
        raise ValueError('must be a broker\'s URL as Celery takes it, such as "redis://host:6379/0"')
    return value


HttpUrl = Annotated[str, PlainValidator(http_url)]
BindAddress = Annotated[Bind, PlainValidator(_bind)]
OptionalBindAddress = Annotated[Bind | None, PlainValidator(_bind_or_none)]
Timeout = Annotated[float, PlainValidator(_duration(0.1, 600))]
Delay = Annotated[float, PlainValidator(_duration(0, 30 * 86400))]
Interval = Annotated[float, PlainValidator(_duration(0.1, 30 * 86400))]
Age = Annotated[float, PlainValidator(_age)]
Guard = Annotated[float, PlainValidator(_duration(0.01, 60))]
Fraction = Annotated[float, PlainValidator(_fraction)]
LimitValue = Annotated[Limit, PlainValidator(_limit)]
Processes = Annotated[int, PlainValidator(_whole(1, 64))]
InFlight = Annotated[int, PlainValidator(_whole(1, 1024))]
Rate = Annotated[int, PlainValidator(_whole(0, 10_000))]
Directory = Annotated[str, PlainValidator(_directory)]
Word = Annotated[str, PlainValidator(_word)]
Login = Annotated[SecretStr, BeforeValidator(_login)]
BrokerUrl = Annotated[SecretStr, BeforeValidator(_broker)]
