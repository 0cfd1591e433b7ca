"""That every registered provider is exhibited, and exhibited whole: nothing joins the registry without these tests."""

import pytest

from paceline.capabilities import ANY, Rule, check
from providers.registry import PROVIDERS
from sandbox.registry import PROVIDERS as PLAYED
from tests.contract.conformance.cases import EXHIBITS, capabilities_of


def test_every_registered_provider_has_an_exhibit() -> None:
    missing = [name for name in PROVIDERS if name not in EXHIBITS]

    assert not missing, f"write tests/contract/exhibits/NAME.py for {', '.join(missing)}"


@pytest.mark.parametrize("name", EXHIBITS)
def test_it_is_played_by_the_sandbox_and_shows_every_kind(name: str) -> None:
    """Given a provider, then its sandbox is there, and the exhibit holds one message of each kind that it carries."""
    exhibit, provider = EXHIBITS[name], PROVIDERS[name]

    assert (exhibit.sandbox or name) in PLAYED
    assert list(exhibit.messages) == list(capabilities_of(name).kinds)
    for kind, message in exhibit.messages.items():
        assert message.kind == kind
        check(capabilities_of(name), f"{name}-main", message)
    known = {credential.name for credential in provider.credentials}
    assert set(exhibit.credentials) <= known
    assert {each.name for each in provider.credentials if each.required} <= set(exhibit.credentials)
    assert provider.webhook_credential in exhibit.credentials


@pytest.mark.parametrize("name", EXHIBITS)
def test_every_limit_of_its_capabilities_is_broken_once(name: str) -> None:
    """Given a rule with a limit, then the exhibit breaks it, so that no limit stands there unproved.

    A rule that several kinds share for a field is one.
    """
    kinds, options = capabilities_of(name).kinds, capabilities_of(name).options
    broken = {(case.message.kind, case.field.partition("[")[0]) for case in EXHIBITS[name].forbidden}
    fields = {field for _, field in broken}

    unproved = [
        f"{kind}.{field}"
        for kind, rules in kinds.items()
        for field, rule in rules.items()
        if limits(rule) and not any((other, field) in broken and kinds[other].get(field) == rule for other in kinds)
    ]
    unproved += [name for name, rule in options.items() if limits(rule) and not {f"options.{name}", name} & fields]

    assert unproved == []


def limits(rule: Rule) -> bool:
    """Whether the rule forbids anything."""
    return rule != ANY
