"""The pages for people speak of what there is: links lead somewhere, commands, keys and metrics exist."""

import re
from pathlib import Path

import pytest

from docs.generate import DOCS, commands
from paceline import tables
from worker.watch.metrics import HELP

PAGES = sorted([*DOCS.rglob("*.md"), DOCS.parent / "README.md"])
OPERATIONS = (DOCS / "operations.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS.parent)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        assert found.exists(), target
        assert not anchor or anchor in _anchors(found.read_text()), target


def test_operations_names_series_that_there_are() -> None:
    named = set(re.findall(r"(?<![.\w])paceline_[a-z_]+", OPERATIONS)) - tables.metadata.tables.keys()

    assert named
    assert named <= HELP.keys()


def test_operations_names_commands_that_there_are() -> None:
    there = {heading.split()[0] for heading in re.findall(r"(?m)^### `paceline (.*)`$", commands.page())}
    named = set(re.findall(r"`paceline ([a-z]+)", OPERATIONS)) | set(re.findall(r"(?m)^paceline ([a-z]+)", OPERATIONS))

    assert named
    assert named <= there


def _anchors(text: str) -> set[str]:
    """A heading's anchor, as GitHub makes it."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"(?m)^#+ (.+)$", text)
    }
