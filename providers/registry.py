"""The providers there are, by the name that an account's `provider` gives. A sixth is one line here and one file."""

from collections.abc import Mapping
from types import MappingProxyType

from paceline.errors import ConfigurationError
from providers import augnet, aulm, aurogy, politicalcomms
from providers.aurorasendcloud import email, sms
from providers.base import Provider

PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        "aurogy": aurogy.PROVIDER,
        "augnet": augnet.PROVIDER,
        "aurorasendcloud-email": email.PROVIDER,
        "aurorasendcloud-sms": sms.PROVIDER,
        "politicalcomms": politicalcomms.PROVIDER,
        "aulm": aulm.PROVIDER,
    }
)


def get(name: str) -> Provider:
    """The provider of this name. Raises `ConfigurationError` that lists the names there are."""
    provider = PROVIDERS.get(name)
    if provider is None:
        raise ConfigurationError([f"provider: must be one of {', '.join(PROVIDERS)}"])
    return provider
