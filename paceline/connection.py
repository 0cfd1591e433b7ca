"""The two addresses that everything needs, the database's and the broker's, and where they come from; and with them the
keys under which the database's content is encrypted, if it is.

An explicit argument comes first, then `PACELINE_DATABASE_URL` and `PACELINE_BROKER_URL`, then the configuration file
(`PACELINE_CONFIG`, or `paceline.toml` in the working directory), then SQLite and a private Valkey under `.paceline/`.
The keys come from `PACELINE_CONTENT_KEY`, then from the file's `[content] key`, else there are none.
How each is opened stands in `database` and `broker`; the public names of both can be had from here.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paceline import broker, content, database
from paceline.addresses import Connection
from paceline.broker import broker_socket, celery_transport_options, celery_url, redis_client, redis_url
from paceline.ciphers import parse_keys
from paceline.database import engine, private_directory, read, reading, write
from paceline.errors import ConfigurationError

__all__ = [
    "Connection",
    "resolve",
    "find_config",
    "read_config",
    "expand",
    "engine",
    "write",
    "read",
    "reading",
    "private_directory",
    "broker_socket",
    "redis_url",
    "redis_client",
    "celery_url",
    "celery_transport_options",
]

CONFIG_FILE = "paceline.toml"
DEEPEST = 20  # tables within tables
KEYS = {"database": "url", "broker": "url", "content": "key"}  # the sections read here, and the one key of each

_REFERENCE = re.compile(r"\$\{([^}]*)(\}?)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def resolve(
    config: Path | str | None = None,
    database_url: str | None = None,
    broker_url: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Connection:
    """The addresses in force. Relative paths are those of the configuration file's directory, else of the working one.

    Raises `ConfigurationError` with a sentence for each mistake in the sections `database`, `broker` and `content`, and
    for each address and key that cannot be used; none quotes them.
    """
    file = find_config(config, environ)
    table = read_config(file) if file else {}
    root = (file.absolute().parent if file else Path.cwd()).resolve()
    problems = [f"{file}: {problem}" for section in KEYS for problem in _mistakes(section, table)]
    urls = {"database": database.DEFAULT, "broker": broker.EMBEDDED}
    explicit = {"database": database_url, "broker": broker_url}
    checks = {"database": lambda url: database.checked(url, root), "broker": broker.checked}
    for section, check in checks.items():
        named = _named(section, explicit[section], file, table, environ)
        if named is None:
            continue
        source, url, expands = named
        try:
            urls[section] = check(expand(url, environ) if expands else url)
        except ValueError as error:
            problems.append(f"{source}: {error}")
    keys: tuple[bytes, ...] = ()
    try:
        keys = _content_keys(table.get("content"), environ)
    except ValueError as error:
        problems.append(f"{file}: {error}" if file and not environ.get(content.VARIABLE) else str(error))
    if problems:
        raise ConfigurationError(problems)
    return Connection(database.checked(urls["database"], root), urls["broker"], root, keys)


def find_config(config: Path | str | None = None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The configuration file in force; None if none was named and there is no `paceline.toml` here."""
    named = config or environ.get("PACELINE_CONFIG")
    if named:
        return Path(named)
    return Path(CONFIG_FILE) if Path(CONFIG_FILE).exists() else None


def read_config(file: Path) -> dict[str, Any]:
    """The file's TOML as it stands. Raises `ConfigurationError` that says why it cannot be read."""
    try:
        if file.is_fifo():
            raise ConfigurationError([f"{file}: must be a file, not a pipe: it is read more than once"])
        table = tomllib.loads(file.read_text(encoding="utf-8-sig"))  # some editors put a mark before it
        if not _deeper(table):
            return table
        problem = f"must hold no more than {DEEPEST} tables or lists within each other"
    except FileNotFoundError:
        problem = "there is no such file; `paceline init` writes one"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        problem = "must be encoded in UTF-8"
    except tomllib.TOMLDecodeError as error:
        problem = f"must be valid TOML: {error}"
    except (ValueError, RecursionError):  # a number of thousands of digits, lists within lists without end
        problem = "must be valid TOML: a value is too long or too deep to be read"
    raise ConfigurationError([f"{file}: {problem}"])


def _deeper(table: Mapping[str, Any]) -> bool:
    """Whether something lies deeper in it than `DEEPEST`: a dotted key makes a table of each of its parts."""
    level: list[Any] = [table]
    for _ in range(DEEPEST):
        level = [
            inner
            for held in level
            for inner in (held.values() if isinstance(held, dict) else held)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def expand(text: str, environ: Mapping[str, str]) -> str:
    """The text with each `${NAME}` replaced by that environment variable; what a variable holds is left as it is.

    Raises ValueError, a sentence without its subject, if a variable is not set or a name is ill-formed.
    """

    def value(match: re.Match[str]) -> str:
        name, end = match.groups()
        if not end or not _VARIABLE.fullmatch(name):
            raise ValueError("must name an environment variable between ${ and }")
        if name not in environ:
            raise ValueError(f"reads the environment variable {name}, which is not set")
        return environ[name]

    return _REFERENCE.sub(value, text)


def _mistakes(section: str, table: Mapping[str, Any]) -> list[str]:
    # A misspelt `url` must not leave a producer writing to the default database.
    settings, known = table.get(section, {}), KEYS[section]
    if not isinstance(settings, dict):
        return [f'{section}: must be a table with the key {known}, as in [{section}] {known} = "…"']
    return [f"{section}.{key}: is not a key of this table; it has {known}" for key in settings if key != known]


def _content_keys(table: object, environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """The keys that encrypt content. Raises ValueError, a sentence."""
    if environ.get(content.VARIABLE):
        source, value = f"the environment variable {content.VARIABLE}", environ[content.VARIABLE]
    elif isinstance(table, dict) and "key" in table:
        source, value = "content.key", table["key"]
    else:
        return ()
    try:
        listed = value if isinstance(value, list) else [value]
        expands = source == "content.key"
        return parse_keys([expand(item, environ) if expands and isinstance(item, str) else item for item in listed])
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def _named(
    section: str, explicit: str | None, file: Path | None, table: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[str, str, bool] | None:
    """Who names the section's URL, in words, the URL, and whether `${NAME}` in it is to be expanded."""
    variable = f"PACELINE_{section.upper()}_URL"
    if explicit is not None:
        return f"{section}_url", explicit, False
    if environ.get(variable):
        return f"the environment variable {variable}", environ[variable], False
    settings = table.get(section)
    if not isinstance(settings, dict) or "url" not in settings:
        return None
    url = settings["url"]
    return f"{file}: {section}.url", url if isinstance(url, str) else "", True
