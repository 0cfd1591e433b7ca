"""Telling the sandbox where its webhooks go and how to sign them: what at a real provider is done in its dashboard."""

import http.client
import json
import sys
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from config.settings import Settings
from providers.base import Provider

ANSWER = 1.0  # seconds
# A sandbox has one webhook, the setting `webhook`; where it plays two services with one each, the other's setting.
SETTING = {"aurorasendcloud-sms": "sms_webhook"}


class SandboxWebhooks:
    """Points the sandbox's webhooks at the hooks server on this host, each key's with its own secret.

    A sandbox posts what concerns a key to one address, as a provider does: that of the key's first account, which
    stands for all of them.
    """

    def __init__(self, settings: Settings) -> None:
        self._bind = settings.sandbox.bind
        self._patches = patches(settings)
        self.told = False

    def tell(self) -> bool:
        """True once it knows; False while it does not answer yet."""
        self.told = all(self._put(family, patch) for family, patch in self._patches.items()) and self._answers()
        return self.told

    def _answers(self) -> bool:
        return self._ask("GET", "/_control") == 200

    def _put(self, family: str, patch: Mapping[str, Any]) -> bool:
        status = self._ask("PUT", f"/_control/{family}/settings", json.dumps(patch).encode())
        if status is not None and status != 200:
            # Nothing is lost without them: where a message stands is polled for.
            sys.stderr.write(f"paceline: The sandbox's {family} takes no webhook settings ({status}); it sends none.\n")
        return status is not None

    def _ask(self, method: str, path: str, body: bytes | None = None) -> int | None:
        with closing(http.client.HTTPConnection(self._bind.loopback, self._bind.port, timeout=ANSWER)) as connection:
            try:
                connection.request(method, path, body)
                return connection.getresponse().status
            except (OSError, http.client.HTTPException):
                return None


def patches(settings: Settings) -> dict[str, dict[str, Any]]:
    """The settings of each of the sandbox's providers that has an account with a webhook secret, by its name there.

    What the first such account of a provider has is the provider's; that of other keys stands among its `endpoints`.
    """
    found: dict[str, dict[str, Any]] = {}
    first: dict[str, str] = {}
    for account in settings.accounts.values():
        provider, credentials = account.provider, account.account.credentials
        secret = credentials.get(provider.webhook_credential or "")
        if provider.webhook_credential is None or not secret:
            continue
        webhook = {"url": f"{settings.hooks.bind.url}/hooks/{account.name}", "secret": secret}
        known = found.setdefault(_family(provider), {}).setdefault(SETTING.get(provider.name, "webhook"), webhook)
        key = credentials[_identity(provider)]
        if key != first.setdefault(provider.name, key):
            known.setdefault("endpoints", {}).setdefault(key, webhook)
    return found


def _identity(provider: Provider) -> str:
    """The credential by which a provider knows whose webhooks they are."""
    return next(credential.name for credential in provider.credentials if credential.identifies_key)


def _family(provider: Provider) -> str:
    return provider.name.partition("-")[0]
