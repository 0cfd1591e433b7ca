"""The providers that the sandbox plays: a sixth is a package and a line here."""

from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.augnet import Augnet, AugnetSettings
from sandbox.aulm import Aulm, AulmSettings
from sandbox.aurogy import Aurogy, AurogySettings
from sandbox.aurorasendcloud import AuroraSendCloud, AuroraSendCloudSettings
from sandbox.clock import Clock
from sandbox.ledger import Ledger
from sandbox.politicalcomms import PoliticalComms, PoliticalCommsSettings
from sandbox.provider import Provider, ProviderSettings


@dataclass(frozen=True, slots=True)
class Entry:
    """A provider's settings and how it is made from them."""

    settings: type[ProviderSettings]
    make: type[Provider]


PROVIDERS: Mapping[str, Entry] = {
    Aurogy.name: Entry(AurogySettings, Aurogy),
    Augnet.name: Entry(AugnetSettings, Augnet),
    AuroraSendCloud.name: Entry(AuroraSendCloudSettings, AuroraSendCloud),
    PoliticalComms.name: Entry(PoliticalCommsSettings, PoliticalComms),
    Aulm.name: Entry(AulmSettings, Aulm),
}


def make_provider(name: str, settings: ProviderSettings, ledger: Ledger, clock: Clock, seed: int) -> Provider:
    """The provider `name`, ready to start."""
    return PROVIDERS[name].make(settings, ledger, clock, seed)
