"""Taking a downloaded contact list to where it was asked for: whole or not at all."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from paceline.errors import InvalidMessage, PacelineError
from paceline.politicalcomms import PoliticalComms
from paceline.politicalcomms.files import take

CONTENT = b"cell,first_name\n+15555550101,Ana\n"


def kept(directory: Path, **more: Any) -> dict[str, Any]:
    """A job's result, and the worker's file that it names."""
    (directory / "worker").mkdir()
    path = directory / "worker" / "job-1.csv"
    path.write_bytes(CONTENT)
    about = {"list_id": "l", "type": "original", "bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
    return {**about, "file": str(path), "host": "worker-1", **more}


def client(found: dict[str, Any], asked: list[dict[str, Any]]) -> PoliticalComms:
    def call(operation: str, /, **arguments: Any) -> Any:
        asked.append({"operation": operation, **arguments})
        return found

    return PoliticalComms(call, call)


def test_the_file_is_taken_away(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []
    target = tmp_path / "district5.csv"
    target.write_text("what was there before")

    found = client(kept(tmp_path), asked).download_contact_list("l", target, max_bytes=100)

    assert asked == [{"operation": "download_contact_list", "list_id": "l", "type": "original", "max_bytes": 100}]
    assert target.read_bytes() == CONTENT
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    assert found == {"list_id": "l", "type": "original", "bytes": 33, "sha256": sha256, "path": str(target)}
    assert list((tmp_path / "worker").iterdir()) == []
    assert target.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("wrong", ["no/such/directory/a.csv", "."])
def test_a_path_that_cannot_be_written_is_refused_before_anything_is_asked(
    tmp_path: Path, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[dict[str, Any]] = []

    with pytest.raises(InvalidMessage, match=r"^path: must "):
        client(kept(tmp_path), asked).download_contact_list("l", wrong)

    assert asked == []


@pytest.mark.parametrize("most", [0, 10**9 + 1])
def test_its_length_has_bounds(tmp_path: Path, most: int) -> None:
    with pytest.raises(InvalidMessage, match="max_bytes: must be from 1 to 1000000000"):
        client({}, []).download_contact_list("l", tmp_path / "a.csv", max_bytes=most)


@pytest.mark.parametrize("gone", [{"file": "/no/such/file.csv"}, {"sha256": "0" * 64}])
def test_a_file_that_is_elsewhere_or_another_is_not_taken(tmp_path: Path, gone: dict[str, str]) -> None:
    target = tmp_path / "district5.csv"
    target.write_text("what was there before")
    found = kept(tmp_path, **gone)

    with pytest.raises(PacelineError, match=rf"{found['file']} on the worker's host worker-1 .*copy it from there"):
        take(found, target)

    assert target.read_text() == "what was there before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["district5.csv", "worker"]
