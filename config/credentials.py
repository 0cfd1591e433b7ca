"""What an account says to its provider about itself: credentials, and the options of the provider's own."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from providers.base import Account, Credential, Option, Provider


def credential_rule(credential: Credential, value: object) -> str | None:
    """What the value breaks, in words that never quote it; None if it can be used."""
    if value is None:
        return f"is required{f': {credential.hint}' if credential.hint else ''}" if credential.required else None
    if not isinstance(value, str):
        return "must be a string"
    if not value.strip():
        return "must not be empty"
    if credential.pattern is not None and not re.fullmatch(credential.pattern, value):
        return f"must be {credential.hint or 'as the provider issued it'}"
    return None


def option_rule(option: Option, value: object) -> str | None:
    """What the value breaks: an option is of its default's type, and within its bounds."""
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}
    kind = type(option.default)
    fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits:
        return f"must be {words[kind]}: {option.meaning}"
    if option.one_of and value not in option.one_of:
        return f"must be one of {', '.join(option.one_of)}: {option.meaning}"
    if option.least is not None and not value >= option.least:  # type: ignore[operator]  # a number, by its default
        return f"must be at least {option.least:g}: {option.meaning}"
    if option.pattern is not None and not re.fullmatch(option.pattern, str(value)):
        return f"must be {option.hint}: {option.meaning}"
    return None


def flat(options: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Options by their full names: `paths.status = …` is a table within a table to TOML and one name to a provider."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        found |= flat(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}": value}
    return found


def fingerprint(provider: Provider, account: Account) -> str:
    """A name for the key behind an account that tells nothing about it: hexadecimal SHA-256, the same everywhere."""
    identity = {
        credential.name: account.credentials.get(credential.name, "")
        for credential in provider.credentials
        if credential.identifies_key
    }
    text = json.dumps(["paceline key", provider.name, account.base_url, identity], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
