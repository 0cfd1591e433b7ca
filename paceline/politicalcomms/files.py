"""Taking a downloaded file from where the worker put it to where it was asked for."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from paceline.errors import InvalidMessage, PacelineError

PIECE = 1_048_576  # bytes


def check_path(path: str | os.PathLike[str]) -> Path:
    """The path, if a file can be written there. Raises `InvalidMessage`."""
    target = Path(path).expanduser()
    if target.is_dir():
        raise InvalidMessage("path", "must name a file, and this is a directory")
    if not os.access(target.absolute().parent, os.W_OK | os.X_OK):
        raise InvalidMessage("path", "must be in a directory that exists and may be written to")
    return target


def take(found: Mapping[str, Any], target: Path) -> dict[str, Any]:
    """Move the file that a job's result names to `target`, whole or not at all; what it then is.

    Raises `PacelineError` where the worker's file is not to be had from here.
    """
    source = Path(str(found["file"]))
    try:
        with source.open("rb") as written:
            _copy(written, target, str(found["sha256"]))
    except OSError as error:
        raise PacelineError(_elsewhere(found, error)) from None
    with contextlib.suppress(OSError):  # the worker deletes it after a day
        source.unlink()
    return {name: found[name] for name in ("list_id", "type", "bytes", "sha256")} | {"path": str(target)}


def _copy(written: BinaryIO, target: Path, sha256: str) -> None:
    number, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.absolute().parent)
    os.close(number)
    partial = Path(name)
    try:
        with partial.open("wb") as copy:
            digest = hashlib.sha256()
            while piece := written.read(PIECE):
                digest.update(piece)
                copy.write(piece)
            copy.flush()
            os.fsync(copy.fileno())
        if digest.hexdigest() != sha256:
            raise OSError("changed")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _elsewhere(found: Mapping[str, Any], error: OSError) -> str:
    return (
        f"path: the file could not be taken from {found['file']} on the worker's host {found['host']} "
        f"({error.strerror or error}): copy it from there within a day, or let this host share that directory"
    )
