"""The pages that are made from the code say what the code says, and leave nothing out."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from config import settings, template
from docs import generate
from docs.generate import commands, configuration, metrics, providers
from docs.generate.markdown import span, table
from paceline.cli import SERVICE
from providers.base import Operation
from providers.registry import PROVIDERS
from tests.unit.settings_support import PROVIDERS as VARIED
from worker.watch.metrics import HELP


@pytest.mark.parametrize("path", generate.pages(), ids=lambda path: path.name)
def test_the_committed_page_is_what_the_code_says(path: Path) -> None:
    assert path.read_text() == generate.pages()[path], "run `make docs`"


def test_every_key_of_the_configuration_is_there_with_what_it_is() -> None:
    page = configuration.page()
    written = template.render([next(iter(PROVIDERS.values()))])
    every = tomllib.loads(re.sub(r"(?m)^#(?! )", "", written))

    for section in settings.SECTIONS:
        assert f"`[{section}" in page
        for key in every[section] if section not in ("accounts", "routes") else ():
            [row] = [line for line in _section(page, section).splitlines() if line.startswith(f"| `{key}` |")]
            assert all(cell.strip() for cell in row.split("|")[3:5]), f"{section}.{key} says too little"


def test_every_provider_is_there_with_its_credentials_and_options() -> None:
    page = configuration.page()

    for provider in PROVIDERS.values():
        part = _section(page, f'provider = "{provider.name}"', plain=True)
        for name in (*(one.name for one in provider.credentials), *provider.options, *provider.limits):
            assert f"| `{name}` |" in part


def test_every_command_is_there() -> None:
    page = commands.page()

    names = {heading.split()[0] for heading in re.findall(r"(?m)^### `paceline (.*)`$", page)}
    assert names >= {"send", "show", "list", "cancel", *SERVICE}
    assert "| `--as VERDICT` | What became of it. One of delivered, failed, resend. Required. |  |" in page
    assert "| `--priority PRIORITY` | high, normal, bulk. | `normal` |" in page


def test_every_metric_is_there() -> None:
    page = metrics.page()

    assert all(f"| `{name}` |" in page for name in HELP)


def test_a_provider_that_joins_is_there_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given another provider in the registry, with an operation and a deduplication window, then it has its place."""
    operation: Operation = next(iter(PROVIDERS["aurogy"].operations.values()))
    courier = replace(VARIED["courier"], deduplicates_for=600.0, operations={"parcels": operation})
    for module in (providers, configuration):
        monkeypatch.setattr(module, "PROVIDERS", {**PROVIDERS, "courier": courier})

    page = providers.page()

    assert "## courier\n" in page
    assert "### courier: `text`" in page
    assert "recognised for 10m" in page
    assert "| `parcels` |" in page
    assert '## `provider = "courier"`' in configuration.page()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(35.0, "35s"), (600.0, "10m"), (3600.0, "1h"), (259200.0, "72h"), (2592000.0, "30d"), (0.5, "0.5s")],
)
def test_durations_are_written_as_they_are_configured(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_cell_breaks_neither_its_table_nor_the_page() -> None:
    assert table(("a",), [("x | <b> `<c>`\ny",)]) == "| a |\n|---|\n| x \\| &lt;b> `<c>` y |"


def _section(page: str, name: str, *, plain: bool = False) -> str:
    title = f"## `{name}`" if plain else f"## `[{name}]`"
    return page.partition(f"{title}\n")[2].partition("\n## ")[0]
