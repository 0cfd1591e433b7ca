"""Logging: a line for each event on stderr, JSON for machines, readable on a terminal; never what is sent, nor to whom.

Loggers are given names of lanes, ids, codes and counts. Of what libraries log only the text is written, not the values
they attach. The last processor is a guard for the day when someone forgets.
"""

import logging
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

REFUSED = "[refused]"

# Keys that would hold what a message says, whom it is for, or what opens an account.
FORBIDDEN = frozenset(
    {
        "to", "cc", "bcc", "recipient", "recipients", "phone", "email", "address", "sender", "reply_to",
        "text", "body", "html", "subject", "caption", "url", "filename", "attachments", "content", "message",
        "template", "variables", "metadata",
        "request", "response", "answer", "headers", "cookie", "payload", "parameters",
        "args", "kwargs", "argsrepr", "kwargsrepr",
        "authorization", "signature", "api_key", "api_user", "sms_user", "sms_key", "project_id", "signing_key",
        "webhook_secret", "secret", "password", "token", "credential", "credentials", "basic_auth",
        "database_url", "broker_url",
    }
)  # fmt: skip

# Celery's lines for every call and httpx's for every request say nothing that ours do not; its pool's quote arguments.
QUIET = (
    "celery.app.trace",
    "celery.beat",
    "celery.pool",
    "celery.worker.strategy",
    "httpcore",
    "httpx",
    "uvicorn.access",
)

# Celery writes out whole what it cannot make a task of: a call by a name that is misspelt, or one that is no JSON.
_QUOTING = "celery.worker.consumer"
_QUOTED = "message body"
_UNDECODED = "Can't decode message body"


def configure(json: bool | None = None, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's logging to `stream` (stderr), from `level` on.

    `json` None means JSON unless the stream is a terminal. May be called again; the last call holds.
    """
    out = sys.stderr if stream is None else stream
    threshold = logging.getLevelNamesMapping()[level.upper()]
    rendering = _rendering(not out.isatty() if json is None else json, colors=out.isatty())
    first: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Our own lines go straight to the stream: the way through the standard library doubles what each costs.
    structlog.configure(
        processors=[*first, refuse_secrets, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, unquoted, *first],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, refuse_secrets, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))


def unquoted(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """A processor that leaves of what Celery says about a call that it cannot read only the first line."""
    said = str(event.get("event", ""))
    if str(event.get("logger", "")).startswith(_QUOTING) and _QUOTED in said:
        # The headers, which may show the arguments, stand in the first line of this one.
        event["event"] = _UNDECODED if said.startswith(_UNDECODED) else said.partition("\n")[0]
        event.pop("exc_info", None)
    return event


def refuse_secrets(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """A processor that replaces what stands under a forbidden key, at any depth, in any spelling of the key."""
    return {key: REFUSED if _forbidden(key) else _guarded(value) for key, value in event.items()}


def _guarded(value: object) -> object:
    if isinstance(value, Mapping):
        return refuse_secrets(None, "", dict(value))
    if isinstance(value, list | tuple):
        return [_guarded(item) for item in value]
    return value


def _forbidden(key: object) -> bool:
    return str(key).lower().replace("-", "_") in FORBIDDEN


def _rendering(as_json: bool, *, colors: bool) -> list[Processor]:
    # Plain tracebacks: the rich ones show the local variables.
    if as_json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]
