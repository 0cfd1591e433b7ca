"""The wheel, which an application installs: it holds `paceline` alone, and gets along with the application's names."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.commands_support import RECIPIENT, ROOT
from tests.acceptance.shop_support import ServiceForShops, output_of, without_the_checkout
from tests.acceptance.wheel_support import build_wheel, install

BIN = Path(sys.executable).parent  # our type checkers
SHOP = Path(__file__).parent / "shop"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def shop(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An application with the wheel in an environment of its own."""
    directory = tmp_path_factory.mktemp("application") / "shop"
    shutil.copytree(SHOP, directory, ignore=shutil.ignore_patterns("__pycache__"))
    install(wheel, directory / "venv", "celery", "postgresql")
    return directory


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    source = {str(path.relative_to(ROOT)) for path in (ROOT / "paceline").rglob("*.py")}
    assert held == source | {"paceline/py.typed"}


def test_it_says_what_it_is(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    text = archive.read(metadata).decode()

    assert text.startswith("Metadata-Version:")
    assert "\nLicense-Expression: MIT\n" in text
    assert (ROOT / "README.md").read_text().splitlines()[0] in text


@pytest.fixture(scope="module")
def visit(shop: Path, service: ServiceForShops) -> dict[str, Any]:
    """What the application did, in a transaction that it rolled back, in one that it committed, and through Celery."""
    addresses = {"SHOP_DATABASE_URL": service.database_url, "SHOP_BROKER_URL": service.broker_url}
    environment = without_the_checkout(service.environment(**addresses)) | {"PYTHONPATH": str(service.patience)}
    told: dict[str, Any] = json.loads(output_of([shop / "venv/bin/python", "shop.py"], shop, environment))
    return told


def test_a_message_commits_or_vanishes_with_what_the_application_wrote(
    visit: dict[str, Any], service: ServiceForShops
) -> None:
    service.accepted(visit["committed"])

    assert visit["cards"] == ["stays"]
    assert service.rows("SELECT words FROM message") == ["stays"]
    assert "vanishes" not in service.rows("SELECT key FROM paceline_idempotency_key")


def test_any_celery_client_sends_by_the_tasks_name(visit: dict[str, Any], service: ServiceForShops) -> None:
    assert visit
    service.accepted(key="by name")
    assert RECIPIENT not in (service.directory / "worker.log").read_text()


def test_the_application_keeps_its_own_names(visit: dict[str, Any], shop: Path) -> None:
    modules = {name: Path(file) for name, file in visit["modules"].items()}

    assert {name: modules[name].parent for name in ("config", "tasks", "worker")} == dict.fromkeys(
        ("config", "tasks", "worker"), shop
    )
    assert modules["paceline"].is_relative_to(shop / "venv")
    assert (visit["tables"], visit["restock"], visit["loaded"]) == (["message"], "restocked", [])


@pytest.mark.parametrize("command", [("paceline",), ("python", "-m", "paceline.cli")])
def test_a_service_command_says_in_a_sentence_where_the_service_is(shop: Path, command: tuple[str, ...]) -> None:
    # given a directory whose worker.py is the application's
    done = subprocess.run(
        [shop / "venv/bin" / command[0], *command[1:], "worker", "--sandbox"],
        cwd=shop,
        env=without_the_checkout({"PATH": "/usr/bin:/bin"}),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("paceline: `paceline worker` is a command of the service")
    assert done.stderr.count("\n") == 1
    assert "checkout" in done.stderr
    assert "image" in done.stderr


def test_a_content_key_without_what_encrypts_says_in_a_sentence_what_to_install(shop: Path, tmp_path: Path) -> None:
    # given the wheel without its extra `encryption`, and a database
    (tmp_path / "paceline.db").touch()
    given = {"PACELINE_DATABASE_URL": f"sqlite:///{tmp_path}/paceline.db", "PACELINE_CONTENT_KEY": f"{'k' * 43}="}
    done = subprocess.run(
        [shop / "venv/bin/paceline", "list"],
        cwd=shop,
        env=without_the_checkout({"PATH": "/usr/bin:/bin", **given}),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "pip install 'paceline[encryption]'" in done.stderr


def check_types(shop: Path, checker: str, *arguments: str) -> str:
    """What a type checker of ours says of `every_name.py` in the application, whose environment it is told of."""
    source = shop / "types"
    source.mkdir(exist_ok=True)
    shutil.copy(ROOT / "examples/every_name.py", source)
    done = subprocess.run(
        [BIN / checker, *arguments, "every_name.py"], cwd=source, capture_output=True, text=True, check=False
    )
    return f"{done.returncode}: {done.stdout}{done.stderr}"


def test_mypy_finds_the_types_of_every_public_name(shop: Path) -> None:
    python = str(shop / "venv/bin/python")
    said = check_types(shop, "mypy", "--strict", "--python-executable", python)

    assert said == "0: Success: no issues found in 1 source file\n"


def test_pyright_finds_the_types_of_every_public_name(shop: Path) -> None:
    python = str(shop / "venv/bin/python")
    said = check_types(shop, "basedpyright", "--level", "error", "--pythonpath", python)

    assert said.startswith("0: 0 errors"), said
