"""The providers that the sandbox plays: a sixth is a package and a line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sandbox.aurogy import Aurogy, AurogySettings
from sandbox.clock import Clock
from sandbox.ledger import Ledger
from sandbox.provider import Provider, ProviderSettings


@dataclass(frozen=True, slots=True)
class Entry:
    """A provider's settings and how it is made from them."""

    settings: type[ProviderSettings]
    make: Callable[..., Provider]


PROVIDERS: Mapping[str, Entry] = {Aurogy.name: Entry(AurogySettings, Aurogy)}


def make_provider(name: str, settings: ProviderSettings, ledger: Ledger, clock: Clock, seed: int) -> Provider:
    """The provider `name`, ready to start."""
    return PROVIDERS[name].make(settings, ledger, clock, seed)
