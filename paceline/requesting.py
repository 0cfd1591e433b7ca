"""The commands that ask providers for more than sending: `paceline aurogy …`, `paceline politicalcomms …`, and those
of the jobs behind them.

A provider's commands are the public methods of its class (`paceline.aurogy.Aurogy`, for one), one each: positional
parameters become arguments, the others options, and the docstring the help.
"""

import inspect
import json
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from paceline.aurogy import Aurogy
from paceline.calling import TIMEOUT
from paceline.client import Client
from paceline.facts import lines
from paceline.politicalcomms import PoliticalComms
from paceline.producing import AsJson, Config, columns, emit, one_of
from paceline.views import JobStatus, iso

JSON = "JSON, or @FILE that holds it"


@dataclass(frozen=True, slots=True)
class Face:
    """A provider's commands: the class whose methods they are, and how a client makes it for an account."""

    name: str
    meaning: str
    methods: type
    make: Callable[[Client, str, float], object]


FACES = (
    Face(
        "aurogy",
        "What Aurogy answers besides sending.",
        Aurogy,
        lambda client, *at: client.aurogy(at[0], timeout=at[1]),
    ),
    Face(
        "politicalcomms",
        "What Political Comms does besides sending.",
        PoliticalComms,
        lambda client, *at: client.politicalcomms(at[0], timeout=at[1]),
    ),
)


def requests(app: typer.Typer) -> None:
    """Add the commands."""
    for face in FACES:
        group = typer.Typer(help=face.meaning)
        for name, method in inspect.getmembers(face.methods, inspect.isfunction):
            if not name.startswith("_"):
                group.command(name.replace("_", "-"))(_command(face, name, method))
        app.add_typer(group, name=face.name)
    jobs = typer.Typer(help="What providers were asked for besides sending.")
    for name, command in (("list", list_), ("show", show), ("cancel", cancel)):
        jobs.command(name)(command)
    app.add_typer(jobs, name="jobs")


def list_(
    account: Annotated[str | None, typer.Option(help="Of this account alone.")] = None,
    operation: Annotated[str | None, typer.Option(help="Of this operation alone.")] = None,
    status: Annotated[
        str | None, typer.Option(help=f"{', '.join(JobStatus)}.", callback=one_of(list(JobStatus)))
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first."""
    with Client(config) as client:
        views = client.jobs(account=account, operation=operation, status=status, limit=limit)
    if as_json:
        emit([view.as_json() for view in views])
        return
    rows = [
        (view.id, str(view.status), view.account, view.operation, iso(view.created_at), view.reason or "")
        for view in views
    ]
    emit("\n".join(columns(("id", "status", "account", "operation", "created_at", "reason"), rows)))


def show(
    id: Annotated[str, typer.Argument(metavar="ID")],  # noqa: A002  # the job's id
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show where a job stands, and what came of it."""
    with Client(config) as client:
        said = client.job(id).as_json()
    _print(said if as_json else {name: value for name, value in said.items() if value is not None}, as_json)


def cancel(
    id: Annotated[str, typer.Argument(metavar="ID")],  # noqa: A002  # the job's id
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Cancel a job none of whose requests is on the wire; exit code 1 if it is too late for that."""
    with Client(config) as client:
        cancelled = client.cancel_job(id)
        status = client.job(id).status
    if as_json:
        emit({"id": id, "cancelled": cancelled, "status": str(status)})
    elif cancelled:
        emit(f"{id} is cancelled.")
    else:
        sys.stderr.write(f"paceline: {id} is {status}: only a job that is queued can be cancelled.\n")
    if not cancelled:
        raise typer.Exit(1)


# A command for each method


def _command(face: Face, name: str, method: Callable[..., Any]) -> Callable[..., None]:
    """The command that calls this method, with the signature that typer reads."""
    signature = inspect.signature(method)
    hints = typing.get_type_hints(method)
    taken = [parameter for parameter in signature.parameters.values() if parameter.name != "self"]
    starts = hints.get("return") is str

    def command(**given: Any) -> None:
        config, as_json = given.pop("config"), given.pop("as_json")
        account, timeout = given.pop("account"), given.pop("timeout", TIMEOUT)
        positional = [_value(hints, each, given) for each in taken if each.kind is each.POSITIONAL_OR_KEYWORD]
        named = {each.name: _value(hints, each, given) for each in taken if each.kind is each.KEYWORD_ONLY}
        with Client(config) as client:
            ask = getattr(face.make(client, account, timeout), name)
            answer = ask(
                *positional, **{key: value for key, value in named.items() if value is not None}, **_free(given)
            )
            found = list(answer) if isinstance(answer, Iterator) else answer
        _print({"job": found} if starts else found, as_json)

    parameters = [_parameter("account", Annotated[str, typer.Argument(metavar="ACCOUNT")])]
    parameters += sorted(map(_typed(hints), taken), key=lambda each: each.default is not inspect.Parameter.empty)
    if not starts:
        parameters.append(_parameter("timeout", Annotated[float, typer.Option(help="Seconds to wait.")], TIMEOUT))
    parameters += [_parameter("config", Config, None), _parameter("as_json", AsJson, False)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__doc__ = inspect.getdoc(method)
    return command


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _typed(hints: Mapping[str, Any]) -> Callable[[inspect.Parameter], inspect.Parameter]:
    """How a parameter of a method is given on the command line."""

    def typed(parameter: inspect.Parameter) -> inspect.Parameter:
        if parameter.kind is parameter.VAR_KEYWORD:
            taken = typer.Option("--set", metavar="K=V", help="A field; K:=V takes V as JSON; repeatable.")
            return _parameter("set_", Annotated[list[str] | None, taken], None)
        wanted = _bare(hints[parameter.name])
        simple = wanted if wanted in (str, int, float, bool) else str
        positional = parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        help_ = _form(wanted)
        info: Any = (
            typer.Argument(metavar=parameter.name.upper(), help=help_)
            if positional
            else typer.Option(f"--{parameter.name.replace('_', '-')}", help=help_)
        )
        if wanted is bool:
            flag = f"--{parameter.name.replace('_', '-')}"
            info = typer.Option(f"{flag}/--no-{flag.removeprefix('--')}", help=help_)
        if parameter.default is parameter.empty:
            return _parameter(parameter.name, Annotated[simple, info])
        return _parameter(parameter.name, Annotated[simple | None, info], parameter.default)

    return typed


def _bare(hint: Any) -> Any:
    """The type without None; a path is what was written."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [each for each in typing.get_args(hint) if each is not type(None)]
        return str if str in kinds else kinds[0]
    return hint


def _form(wanted: Any) -> str | None:
    if wanted in (str, int, float, bool):
        return None
    return {date: "YYYY-MM-DD.", datetime: "ISO 8601 with an offset."}.get(wanted, f"{JSON}.")


def _value(hints: Mapping[str, Any], parameter: inspect.Parameter, given: dict[str, Any]) -> Any:
    """What was given for a parameter, as the method takes it."""
    value, wanted = given.pop(parameter.name), _bare(hints[parameter.name])
    if value is None or wanted in (str, int, float, bool):
        return value
    name = parameter.name.replace("_", "-")
    if wanted in (date, datetime):
        try:
            found = wanted.fromisoformat(value)
        except ValueError:
            found = None
        # `fromisoformat` also takes 20261101 and 2026-W45-1, which are not what --help says.
        if found is None or (wanted is date and found.isoformat() != value):
            raise typer.BadParameter(f"{name} takes {_form(wanted)}")
        return found
    return _json_of(name, value)


def _json_of(name: str, text: str) -> Any:
    try:
        return json.loads(Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text)
    except (ValueError, OSError, RecursionError):
        raise typer.BadParameter(f"{name} takes {JSON}") from None


def _free(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `--set`."""
    fields: dict[str, Any] = {}
    for item in given.get("set_") or ():
        key, sign, value = item.partition("=")
        if not key or not sign:
            raise typer.BadParameter("--set takes K=V, such as name=Spring")
        fields[key.removesuffix(":")] = _json_of(f"--set {key}=", value) if key.endswith(":") else value
    return fields


# What is printed


def _print(found: Any, as_json: bool) -> None:
    plain = _plain(found)
    emit(plain if as_json else "\n".join(lines(plain)))


def _plain(found: Any) -> Any:
    if isinstance(found, list):
        return [_plain(item) for item in found]
    return found.as_json() if hasattr(found, "as_json") else found
