"""The wheel, and an environment in which nothing is installed but the wheel and what it says it needs."""

import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

from tests.acceptance.commands_support import ROOT

NOT_SOURCE = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "htmlcov")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")


def build_wheel(directory: Path) -> Path:
    """Build the wheel from a copy of the checkout, with what is installed here: setuptools is among our tools."""
    source = directory / "source"
    shutil.copytree(ROOT, source, ignore=NOT_SOURCE)
    _run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(directory / "dist"), str(source))
    (wheel,) = (directory / "dist").iterdir()
    return wheel


def install(wheel: Path, directory: Path, *extras: str) -> Path:
    """A fresh virtual environment with the wheel and, linked from ours, what it and the extras require; its `bin`."""
    _run(sys.executable, "-m", "venv", "--without-pip", str(directory))
    python = directory / "bin" / "python"
    _run(*PIP, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    (packages,) = directory.glob("lib/python*/site-packages")
    (metadata,) = packages.glob("paceline-*.dist-info")
    for needed in _needed(Distribution.at(metadata), extras):
        _link(needed, packages)
    return python.parent


def _needed(wheel: Distribution, extras: Iterable[str]) -> Iterator[Distribution]:
    """The distributions that the wheel requires, and theirs, each once."""
    seen: set[tuple[str, str]] = set()
    waiting = [(wheel, extra) for extra in ("", *extras)]
    while waiting:
        found, extra = waiting.pop()
        for line in found.requires or ():
            requirement = Requirement(line)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            for each in ("", *requirement.extras):
                if (requirement.name.lower(), each) not in seen:
                    seen.add((requirement.name.lower(), each))
                    waiting.append((distribution(requirement.name), each))
                    yield waiting[-1][0]


def _link(needed: Distribution, packages: Path) -> None:
    for top in {file.parts[0] for file in needed.files or ()} - {"..", "__pycache__"}:
        link = packages / top
        if not link.exists():
            link.symlink_to(Path(str(needed.locate_file(top))))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
