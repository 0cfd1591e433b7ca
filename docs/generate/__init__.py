"""The pages that are made from the code: what can be configured, each command, each metric, and what each provider is.

`make docs` writes them, and a test fails while a committed one says something else.
"""

from collections.abc import Mapping
from pathlib import Path

from docs.generate import commands, configuration, hooks, metrics, providers

DOCS = Path(__file__).resolve().parent.parent


def pages() -> Mapping[Path, str]:
    """Each page's path and text."""
    return {
        DOCS / "reference" / "configuration.md": configuration.page(),
        DOCS / "reference" / "commands.md": commands.page(),
        DOCS / "reference" / "metrics.md": metrics.page(),
        DOCS / "reference" / "hooks.openapi.json": hooks.page(),
        DOCS / "providers" / "README.md": providers.page(),
    }
