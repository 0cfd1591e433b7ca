"""What each provider shows of itself to the conformance suite: one file of examples a provider, named like it."""

import importlib
import importlib.util
from collections.abc import Mapping

from providers.registry import PROVIDERS
from tests.contract.exhibits.base import Exhibit


def all_exhibits() -> Mapping[str, Exhibit]:
    """The exhibits of all registered providers that have one; the suite says which have none."""
    modules = {name: f"{__name__}.{name.replace('-', '_')}" for name in PROVIDERS}
    return {
        name: importlib.import_module(module).EXHIBIT
        for name, module in modules.items()
        if importlib.util.find_spec(module) is not None
    }
