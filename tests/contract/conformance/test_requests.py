"""What every provider's requests have in common: the same bytes each time, the credentials in place, and no secrets."""

import pytest

from providers.base import Submission
from providers.registry import PROVIDERS
from tests.contract.conformance.cases import EXHIBITS, account_of

MESSAGES = [(name, kind) for name, exhibit in EXHIBITS.items() for kind in exhibit.messages]


@pytest.mark.parametrize(("name", "kind"), MESSAGES)
def test_every_attempt_is_the_same_request(name: str, kind: str) -> None:
    """Given one submission, when its request is built twice, then the two are equal, byte for byte."""
    submission = Submission("0199-message", EXHIBITS[name].messages[kind], {"order": "7719"})
    first, second = (PROVIDERS[name].build_request(account_of(name), submission) for _ in range(2))

    assert first == second
    assert first.url.startswith(PROVIDERS[name].base_url)
    assert first.method == "POST"


@pytest.mark.parametrize(("name", "kind"), MESSAGES)
def test_nothing_of_it_is_in_a_repr(name: str, kind: str) -> None:
    message, account = EXHIBITS[name].messages[kind], account_of(name)
    request = PROVIDERS[name].build_request(account, Submission("0199-message", message))
    secrets = [
        account.credentials[credential.name]
        for credential in PROVIDERS[name].credentials
        if credential.secret and credential.name in account.credentials
    ]

    shown = repr(request).replace(request.url, "") + repr(account) + repr(message)

    assert not [secret for secret in [*secrets, message.to] if secret in shown]
    assert not [secret for secret in secrets if secret in request.url]
