"""The page of providers: what each of them can carry, side by side and then one by one, from their records."""

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.generate.markdown import NOTE, code, codes, joined, sentence, span, table
from paceline.capabilities import Capabilities, Rule
from paceline.forms import FORMS
from providers.base import Account, Provider
from providers.registry import PROVIDERS

HEAD = """\
# Providers

What an account of each provider can carry, and what its provider says back. Whatever breaks one of these rules is
refused when it is enqueued, with a sentence that names the field and the rule. Credentials and a provider's own options
stand in [the configuration](../reference/configuration.md)."""

SHOWN = 6  # operations that are named side by side

HERE = Path(__file__).resolve().parent.parent / "providers"


def page() -> str:
    """The page."""
    accounts = {name: _account(provider) for name, provider in PROVIDERS.items()}
    can = {name: PROVIDERS[name].capabilities(account) for name, account in accounts.items()}
    rows = [(title, *(say(PROVIDERS[name], can[name]) or "—" for name in PROVIDERS)) for title, say in FACTS.items()]
    sections = [_section(PROVIDERS[name], can[name]) for name in PROVIDERS]
    return joined(NOTE + HEAD, "## Side by side", table(("", *PROVIDERS), rows), *sections) + "\n"


def _account(provider: Provider) -> Account:
    """An account as it is when nothing but its credentials is configured."""
    credentials = {one.name: one.sandbox for one in provider.credentials if one.sandbox}
    options = {name: option.default for name, option in provider.options.items()}
    return Account(f"{provider.name}-main", provider.base_url, credentials, options)


def _limits(provider: Provider, _can: Capabilities) -> str:
    return "; ".join(f"{name}: {', '.join(texts)}" for name, texts in provider.limits.items())


def _pace(provider: Provider, _can: Capabilities) -> str:
    if provider.pace_credential is None:
        return "the key"
    varies = f", varied by {provider.pace_jitter:.0%}" if provider.pace_jitter else ""
    return f"each `{provider.pace_credential}` of the key{varies}; day quotas the key"


def _webhooks(provider: Provider, _can: Capabilities) -> str:
    if provider.parse_event is None:
        return ""
    return f"yes, verified with `{provider.webhook_credential}`" if provider.webhook_credential else "yes"


def _repeats(provider: Provider, _can: Capabilities) -> str:
    return f"recognised for {span(provider.deduplicates_for)}" if provider.deduplicates_for else "never recognised"


def _parts(_provider: Provider, can: Capabilities) -> str:
    most = "" if can.max_parts is None else f", at most {can.max_parts}"
    return f"{can.segmentation}{most}" if can.segmentation else ""


def _besides(provider: Provider) -> str:
    names = list(provider.operations)
    return codes(names) if len(names) <= SHOWN else f"{len(names)} operations, below"


def _opt_outs(provider: Provider, _can: Capabilities) -> str:
    return f"channel `{provider.channel}`" if provider.channel else ""


FACTS: Mapping[str, Callable[[Provider, Capabilities], str]] = {
    "kinds": lambda _provider, can: ", ".join(can.kinds),
    "limits of an account's key, by class": _limits,
    "the send limits pace": _pace,
    "status by polls": lambda provider, _can: "yes" if provider.poll_class else "",
    "status and events by webhooks": _webhooks,
    "a repeated request is": _repeats,
    "texts are cut and billed as": _parts,
    "metadata reaches the provider": lambda _provider, can: "yes" if can.metadata else "",
    "message options": lambda _provider, can: codes(can.options),
    "who opted out is remembered for": _opt_outs,
    "besides sending": lambda provider, _can: _besides(provider),
    "asked before sending goes on": lambda provider, _can: (
        f"on `{provider.probe_class}`" if provider.build_probe else ""
    ),
    "longest request": lambda provider, _can: span(provider.timeout),
}


def _section(provider: Provider, can: Capabilities) -> str:
    # Two services of one company may share a page, as they do a sandbox.
    pages = (HERE / f"{name}.md" for name in (provider.name, provider.name.partition("-")[0]))
    more = next((f"[More about it]({page.name})." for page in pages if page.exists()), "")
    kinds = [
        joined(f"### {provider.name}: `{kind}`", table(("field", "rule"), _rules(rules)))
        for kind, rules in can.kinds.items()
    ]
    metadata = [] if can.metadata is None else _rules({"metadata": can.metadata})
    return joined(
        f"## {provider.name}",
        more,
        *kinds,
        _titled(f"### {provider.name}: metadata and options", table(("field", "rule"), metadata + _options(can))),
        _titled(f"### {provider.name}: besides sending", _operations(provider)),
    )


def _options(can: Capabilities) -> list[tuple[str, str]]:
    return _rules({f"options.{name}": rule for name, rule in can.options.items()})


def _titled(title: str, body: str) -> str:
    return joined(title, body) if body else ""


def _operations(provider: Provider) -> str:
    rows = [
        (
            code(name),
            sentence(one.meaning),
            code(one.lane_class),
            "; ".join(f"`{field}`: {_rule(rule)}" for field, rule in one.arguments.items()),
        )
        for name, one in provider.operations.items()
    ]
    return table(("operation", "what it does", "limit class", "arguments"), rows)


def _rules(rules: Mapping[str, Rule]) -> list[tuple[str, str]]:
    return [(code(name), _rule(rule)) for name, rule in rules.items()]


def _shape(rule: Rule) -> list[str]:
    """What a rule says of mappings, and of what the field goes with."""
    said = {
        f"names {rule.names_hint}": bool(rule.names_hint),
        f"a mapping with {codes(rule.members or ())}": bool(rule.members),
        f"a JSON object of at most {rule.max_json} characters": rule.max_json is not None,
        f"only with {code(rule.needs)} where there is one": bool(rule.needs),
        f"not beside {codes(rule.unless)}": bool(rule.unless),
    }
    return [words for words, holds in said.items() if holds]


def _rule(rule: Rule) -> str:
    """A rule in words."""
    said = ["required" if rule.required else "optional"]
    if rule.min_length is not None and rule.max_length is not None:
        said.append(f"{rule.min_length} to {rule.max_length:,} characters")
    elif rule.max_length is not None:
        said.append(f"at most {rule.max_length:,} characters")
    elif rule.min_length is not None:
        said.append("not empty" if rule.min_length == 1 else f"at least {rule.min_length} characters")
    if rule.max_items is not None:
        said.append(f"at most {rule.max_items:,} entries")
    if rule.max_bytes is not None:
        said.append(f"at most {rule.max_bytes:,} bytes")
    if rule.max_number is not None:
        said.append(f"a number up to {rule.max_number:,.15g}")
    if rule.one_of:
        said.append(f"one of {codes(rule.one_of)}")
    if rule.hint:
        said.append(rule.hint)
    elif rule.form:
        said.append((FORMS[rule.form](" ") or rule.form).removeprefix("must be "))
    said += _shape(rule)
    return ", ".join(said)
