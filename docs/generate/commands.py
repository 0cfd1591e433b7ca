"""The page of commands, from the commands themselves."""

import enum
import inspect
import typing
from collections.abc import Iterator
from typing import Any

import typer

from docs.generate.markdown import NOTE, code, joined, table
from paceline.cli import FAILED, TRACEBACK, WRONG_USE, application

HEAD = f"""\
# Commands

`paceline COMMAND --help` says the same. Those of the first group come with the package that an application installs,
the others with the service. Exit codes: 0 done, {FAILED} failed, {WRONG_USE} wrong use. Errors go to stderr, one
sentence each, naming what to change. With `{TRACEBACK}` set, a defect shows its traceback."""

OURS = "paceline"


def page() -> str:
    """The page."""
    made: Any = typer.main.get_command(application())
    found = list(_commands(made, ""))
    groups = {
        "For applications": [(path, one) for path, one in found if _module(one).startswith(f"{OURS}.")],
        "For the service": [(path, one) for path, one in found if not _module(one).startswith(f"{OURS}.")],
    }
    parts = [
        joined(f"## {title}", *(_section(path, one) for path, one in members)) for title, members in groups.items()
    ]
    return joined(NOTE + HEAD, *parts) + "\n"


def _commands(group: Any, above: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{above}{name} ")
        elif not command.hidden:
            yield f"{above}{name}", command


def _module(command: Any) -> str:
    return str(inspect.unwrap(command.callback).__module__)


def _section(path: str, command: Any) -> str:
    hints = typing.get_type_hints(inspect.unwrap(command.callback))
    shown = [param for param in command.params if not getattr(param, "hidden", False)]
    given = [param for param in shown if not _is_option(param)]
    usage = " ".join([f"paceline {path}", *(_argument(param) for param in given)])
    rows = [(_names(param), _meaning(param, hints.get(param.name)), _default(param)) for param in shown if _says(param)]
    return joined(f"### `{usage}`", " ".join(command.help.split()), table(("", "meaning", "default"), rows))


def _is_option(param: Any) -> bool:
    return bool(param.opts) and param.opts[0].startswith("-")


def _says(param: Any) -> bool:
    return _is_option(param) or bool(getattr(param, "help", None))


def _argument(param: Any) -> str:
    name = param.metavar or param.name.upper()
    return name if param.required else f"[{name}]"


def _names(param: Any) -> str:
    if not _is_option(param):
        return code(_argument(param))
    names = " / ".join([*param.opts, *param.secondary_opts])
    return code(names if param.is_flag else f"{names} {param.metavar or param.name.upper()}")


def _meaning(param: Any, hint: Any) -> str:
    choices = [
        ", ".join(str(member.value) for member in kind)
        for kind in (hint, *typing.get_args(hint))
        if isinstance(kind, type) and issubclass(kind, enum.Enum)
    ]
    named = param.envvar if isinstance(param.envvar, str) else ""
    parts = [
        getattr(param, "help", None) or "",
        *(f"One of {choice}." for choice in choices),
        "Required." if param.required and _is_option(param) else "",
        f"Or `{named}` in the environment." if named else "",
    ]
    return " ".join(filter(None, parts))


def _default(param: Any) -> str:
    default = param.default
    if default is None or param.required or param.is_flag if _is_option(param) else True:
        return ""
    return code(str(default.value if isinstance(default, enum.Enum) else default))
