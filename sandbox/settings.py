"""The sandbox's settings: a TOML file or a mapping, with a table for each provider, and changes while it runs."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from sandbox.model import Model, SettingsError, parse
from sandbox.provider import ProviderSettings
from sandbox.registry import PROVIDERS


class Settings(Model):
    """What concerns all providers; `providers` holds each one's own."""

    seed: int = 0  # of outcomes and of faults that strike by chance
    keepalive: Annotated[float, Field(gt=0)] = 75.0  # seconds until an idle connection is closed
    providers: dict[str, ProviderSettings] = Field(default_factory=dict)


def parse_settings(data: Mapping[str, Any]) -> Settings:
    """Reads settings: `seed`, `keepalive`, and a table named after each provider.

    Raises:
        SettingsError: naming the setting and the rule it breaks.
    """
    own = {name: value for name, value in data.items() if name not in PROVIDERS}
    if "providers" in own:
        raise SettingsError("settings.providers: name the provider itself, as in [aurogy].")
    providers = {name: parse(entry.settings, data.get(name, {}), name) for name, entry in PROVIDERS.items()}
    return parse(Settings, own, "settings").model_copy(update={"providers": providers})


def load_settings(path: Path) -> Settings:
    """Reads a TOML file.

    Raises:
        SettingsError: it cannot be read, is not TOML, or holds a setting that the sandbox does not take.
    """
    try:
        return parse_settings(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}.") from None


def changed(name: str, current: ProviderSettings, patch: object) -> ProviderSettings:
    """`current` with the members that `patch` names; tables are merged, and `null` brings a default back.

    Raises:
        SettingsError: naming the setting and the rule it breaks.
    """
    if not isinstance(patch, Mapping):
        raise SettingsError(f"{name}: settings are a JSON object.")
    if "faults" in patch:
        raise SettingsError(f"{name}.faults: switch faults on and off through /faults.")
    return parse(type(current), _merge(current.model_dump(mode="json"), patch), name)


def _merge(current: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(current)
    for name, value in patch.items():
        before = merged.get(name)
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(before, dict):
            merged[name] = _merge(before, value)
        else:
            merged[name] = value
    return merged
