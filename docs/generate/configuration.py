"""The page of the configuration: from its models their keys, defaults and rules, from the template what each is for."""

import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic_core import PydanticUndefined

from config import settings, template
from config.accounts import AccountTable, PollTable, RetryTable
from config.problems import RULES, Problems, Section
from config.values import Bind
from docs.generate.markdown import NOTE, code, codes, joined, sentence, span, table
from paceline import broker, database
from paceline.ciphers import parse_keys
from providers.base import Provider
from providers.registry import PROVIDERS

HEAD = """\
# Configuration

`paceline.toml`, in the working directory or where `PACELINE_CONFIG` or `--config` say; `paceline init` writes one with
every key and its default. `${NAME}` in a value is read from the environment at start, and a variable that is not set is
an error. Relative paths are those of the file's directory. `PACELINE_DATABASE_URL` and `PACELINE_BROKER_URL` overrule
the file, and are all that an application needs. With `PACELINE_SANDBOX` set, or `--sandbox`, every account points at
the sandbox. Whatever is wrong is said at start, all of it at once, a sentence each."""

LIMITS = """\
### `[accounts.NAME.limits]`

A limit is `"<n>/<window>"`: `second`, `minute`, `hour`, `<k>s`, `<k>m` or `<k>h` is a rolling window, `day` a quota
that begins anew at midnight UTC, or `day@Europe/London` in another zone. Several hold at once. What you list for a
class takes the place of its default; of accounts that share a key the tightest limits and the largest reserve hold."""

ROUTES = """\
## `[routes]`

A name, and the accounts that can carry the same message, in the order in which they are tried: the next when one is
closed or has no room in time. Accounts that share no kind of message are an error.

```toml
[routes]
sms = ["augnet-main", "augnet-backup"]
```"""

IMMENSE = 1e18  # a number that nothing may be
TITLES = ("key", "default", "what it is", "what it may be")
MODELS: Mapping[str, type[Section]] = MappingProxyType(
    {
        name: hint
        for name, hint in typing.get_type_hints(settings.Settings).items()
        if isinstance(hint, type) and issubclass(hint, Section)
    }
)


def page() -> str:
    """The page."""
    remarks = _remarks()
    accounts = [
        _model("accounts.NAME", AccountTable, remarks),
        LIMITS,
        _model("accounts.NAME.retry", RetryTable, remarks),
        _model("accounts.NAME.poll", PollTable, remarks),
    ]
    return (
        joined(
            NOTE + HEAD,
            _address("database", database.DEFAULT, _rule_of_url(lambda: database.checked("", Path())), remarks),
            _address("broker", broker.EMBEDDED, _rule_of_url(lambda: broker.checked("")), remarks),
            _content(remarks),
            *(_model(name, model, remarks) for name, model in MODELS.items()),
            *accounts,
            *map(_provider, PROVIDERS.values()),
            ROUTES,
        )
        + "\n"
    )


def _content(remarks: Mapping[str, str]) -> str:
    about = "Recipients and bodies encrypted in the database; see [operations](../operations.md#content-at-rest)."
    rule = re.sub(r"^must hold ", "", _rule_of_url(lambda: parse_keys("")))
    remark = f"{remarks.get('content.key', '')}; `PACELINE_CONTENT_KEY` overrules it"
    return joined("## `[content]`", about, table(TITLES, [(code("key"), "", remark, rule)]))


def _model(name: str, model: type[Section], remarks: Mapping[str, str]) -> str:
    about = re.sub(r"^`\[[^\]]*\]`: ", "", " ".join((model.__doc__ or "").split()))
    level = "###" if name.count(".") > 1 else "##"
    return joined(f"{level} `[{name}]`", sentence(about), table(TITLES, _rows(name, model, remarks)))


def _rows(section: str, model: type[Section], remarks: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, Section | dict):
            continue  # a table of its own
        rule = _rule(model, name, field.annotation) or f"one of {codes(PROVIDERS)}"  # which alone has none of its own
        yield code(name), _default(name, default), remarks.get(f"{section}.{name}", ""), rule


def _default(name: str, value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return ""
    if name == "reserve":
        return code(f"{value:.0%}")
    if isinstance(value, list):
        return code(f"[{', '.join(f'{item:g}' for item in value)}]")
    if isinstance(value, float):
        return code(span(value))
    return code(str(value) if isinstance(value, Bind | int | str) else repr(value))


def _rule(model: type[Section], name: str, annotation: Any) -> str:
    """What the key may be: the longest of the sentences that values which cannot be right are answered with."""
    many = typing.get_origin(annotation) is list
    said = [_refusal(model, name, [wrong] if many else wrong) for wrong in (object(), IMMENSE)]
    rule = re.sub(r"^must (be )?", "", max(said, key=len))
    return f"a list; each {rule}" if many else rule


def _refusal(model: type[Section], name: str, wrong: object) -> str:
    problems = Problems("")
    problems.read(model, "", {name: wrong})
    said = [problem.split(": ", 2)[2] for problem in problems.sentences()]
    return next((one for one in said if one != RULES["string_type"]), said[0] if said else "")


def _address(name: str, default: str, rule: str, remarks: Mapping[str, str]) -> str:
    rows = [(code("url"), code(default), remarks.get(f"{name}.url", ""), rule)]
    return joined(f"## `[{name}]`", table(TITLES, rows))


def _rule_of_url(check: typing.Callable[[], object]) -> str:
    try:
        check()
    except ValueError as error:
        return re.sub(r"^must be ", "", str(error))
    raise AssertionError("an empty address is none")


def _provider(provider: Provider) -> str:
    credentials = [
        (
            code(one.name),
            "yes" if one.required else "no",
            "yes" if one.secret else "no",
            one.hint,
        )
        for one in provider.credentials
    ]
    limits = [(code(name), codes(f'"{text}"' for text in texts)) for name, texts in provider.limits.items()]
    options = [
        (code(name), code(template.as_toml(one.default)), one.meaning, _allowed(one))
        for name, one in provider.options.items()
    ]
    urls = table(("region", "address"), [(code(name), code(url)) for name, url in provider.base_urls.items()])
    return joined(
        f'## `provider = "{provider.name}"`',
        f"Its `base_url` is `{provider.base_url}` and its `timeout` {span(provider.timeout)}, if nothing else is said.",
        urls,
        table(("credential", "required", "secret", "what it may be"), credentials),
        table(("limits of class", "default"), limits),
        table(("option", "default", "what it is", "what it may be"), options),
    )


def _allowed(option: Any) -> str:
    least = "" if option.least is None else f"at least {option.least:g}"
    return "; ".join(filter(None, (", ".join(option.one_of), least, option.hint)))


_SECTION = re.compile(r"#?\[(?P<name>[\w.-]+)\]")
_KEY = re.compile(r"#?(?P<name>[a-z_.]+) = (?:.*?)(?: +# (?P<remark>.*))?")
_MORE = re.compile(r" +# (?P<remark>.*)")


def _remarks() -> dict[str, str]:
    """What the template says behind each key, by `section.key`; the first account's stand for every account's."""
    found: dict[str, str] = {}
    section, last = "", ""
    first = f"accounts.{next(iter(PROVIDERS))}-main"
    for line in template.render(PROVIDERS.values()).splitlines():
        if match := _SECTION.fullmatch(line):
            section, last = match["name"].replace(first, "accounts.NAME"), ""
        elif match := _KEY.fullmatch(line):
            last = f"{section}.{match['name']}"
            found[last] = match["remark"] or ""
        elif (match := _MORE.fullmatch(line)) and last:
            found[last] = f"{found[last]} {match['remark']}"
    return found
