"""Answers that become files: whole or not at all, for this user alone, and not for ever."""

import asyncio
import hashlib
import os
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from providers.base import Save, Saved
from worker.downloads import KEPT_FOR, PIECE, Downloads, is_file

SAVE = Save("job-1.csv", "text/csv", 3 * PIECE)


async def pieces(*given: bytes, fails: BaseException | None = None) -> AsyncIterator[bytes]:
    for piece in given:
        yield piece
    if fails is not None:
        raise fails


def keep(downloads: Downloads, *given: bytes, save: Save = SAVE, fails: BaseException | None = None) -> Saved:
    return asyncio.run(downloads.keep(save, pieces(*given, fails=fails)))


@pytest.mark.parametrize(
    ("status", "media_type", "expected"),
    [
        (200, "text/csv", True),
        (200, "Text/CSV; charset=utf-8", True),
        (200, "application/json", False),
        (200, "text/html", False),
        (206, "text/csv", False),
        (302, "text/csv", False),
        (409, "text/csv", False),
    ],
)
def test_only_the_file_itself_is_one(status: int, media_type: str, expected: bool) -> None:
    assert is_file(SAVE, status, {"content-type": media_type}) is expected
    assert not is_file(None, status, {"content-type": media_type})


def test_what_came_stands_there_whole_and_for_this_user_alone(tmp_path: Path) -> None:
    given = [os.urandom(PIECE // 2), os.urandom(PIECE), b"", os.urandom(17)]

    saved = keep(Downloads(tmp_path / "below" / "downloads"), *given)

    path = Path(saved.path)
    assert path == tmp_path / "below" / "downloads" / "job-1.csv"
    assert path.read_bytes() == b"".join(given)
    assert (saved.size, saved.sha256) == (len(b"".join(given)), hashlib.sha256(b"".join(given)).hexdigest())
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)] == [0o600, 0o700]
    assert list(path.parent.iterdir()) == [path]


def test_a_repetition_replaces_what_was_there(tmp_path: Path) -> None:
    downloads = Downloads(tmp_path)
    keep(downloads, b"an earlier answer, and longer")

    keep(downloads, b"the same")

    assert (tmp_path / "job-1.csv").read_bytes() == b"the same"


def test_of_what_is_too_long_nothing_is_kept(tmp_path: Path) -> None:
    saved = keep(Downloads(tmp_path), b"12345", b"67890", save=Save("a.csv", "text/csv", 9))

    assert (saved.path, saved.problem) == ("", "too_long")
    assert list(tmp_path.iterdir()) == []
    assert keep(Downloads(tmp_path), b"12345", b"6789", save=Save("a.csv", "text/csv", 9)).path


@pytest.mark.parametrize("failure", [ConnectionResetError(), TimeoutError(), asyncio.CancelledError()])
def test_of_what_ends_early_nothing_is_kept(tmp_path: Path, failure: BaseException) -> None:
    with pytest.raises(type(failure)):
        keep(Downloads(tmp_path), b"x" * (PIECE + 1), fails=failure)

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "downloads").write_text("a file stands where the directory should")

    saved = keep(Downloads(tmp_path / "downloads"), b"x")

    assert (saved.path, saved.problem) == ("", "not_written")


def test_what_nobody_takes_goes_after_a_day(tmp_path: Path) -> None:
    downloads = Downloads(tmp_path)
    for name, age in (("old.csv", KEPT_FOR + 60), ("old.csv.x.part", KEPT_FOR + 60), ("new.csv", KEPT_FOR - 60)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)

    keep(downloads, b"x")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["job-1.csv", "new.csv"]
    Downloads(tmp_path / "never made").forget()
