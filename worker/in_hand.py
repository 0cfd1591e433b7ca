"""What a worker process has claimed and not let onto the wire yet: a small file each, mapped into memory.

kill -9 takes a process' memory and leaves its files. So whoever ends the leases of a dead worker on the same host can
tell what it still had in hand, which never left and goes back into its line, from what may have been accepted, which
is unknown. The file proves only what stands in it; what is missing there, for whatever reason, proves nothing. And only
the dead are believed, on the boot of the host that they died on: a lock on the file ends with its process.
"""

import contextlib
import fcntl
import mmap
import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from uuid import uuid4

from worker.host import boot_id

KEPT_FOR = 3600.0  # seconds after its last entry for which the file of a dead process is kept

_HEAD = 128  # bytes: the boot
_ENTRY = 72  # bytes: the id of a claim, and of what it claimed
_PROCESS = re.compile(r"[0-9a-f]{32}")


class InHand:
    """What this process has in hand, up to `capacity` entries; what is more, nobody will know of. Safe in any thread.

    Without a directory it is kept in memory alone, and ends with the process, which then has no name (`process`).
    Raises `OSError` if the file cannot be made: on a full disk too, for all of it is written at once.
    """

    def __init__(self, capacity: int, directory: Path | None = None) -> None:
        self.process: str | None = None
        self._memory: bytearray | mmap.mmap = bytearray(_HEAD + _ENTRY * capacity)
        self._free = [_HEAD + number * _ENTRY for number in range(capacity)]
        self._places: dict[tuple[str, str], int] = {}
        self._close: Callable[[], None] = lambda: None
        if directory is not None:
            self._open(directory, bytes(self._memory))

    def claiming(self, grant_id: str) -> None:
        """A claim is about to be made: should this process die in the commit, nothing of it has left."""
        self._put(grant_id, "")

    def claimed(self, grant_id: str, work_ids: Iterable[str]) -> None:
        """These are in hand now, one by one."""
        for work_id in work_ids:
            self._put(grant_id, work_id)
        self.let_go(grant_id, "")

    def let_go(self, grant_id: str, work_id: str) -> None:
        """This may leave in the next moment, or its row says where it is: from here on nothing is known of it."""
        at = self._places.pop((grant_id, work_id), None)
        if at is not None:
            self._memory[at] = 0  # one byte, so that it is there or not
            self._free.append(at)

    def close(self) -> None:
        """Leave nothing behind."""
        self._close()

    def _put(self, grant_id: str, work_id: str) -> None:
        with contextlib.suppress(IndexError):
            at, entry = self._free.pop(), _entry(grant_id, work_id)
            # Its first byte last: half an entry over an old one might be the old one again.
            self._memory[at + 1 : at + _ENTRY] = entry[1:]
            self._memory[at] = entry[0]
            self._places[grant_id, work_id] = at

    def _open(self, directory: Path, empty: bytes) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        process = uuid4().hex
        path = directory / process
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "r+b", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.write(boot_id().encode().ljust(_HEAD, b"\0") + empty[_HEAD:])
        memory = mmap.mmap(file.fileno(), len(empty))

        def close() -> None:
            path.unlink(missing_ok=True)
            memory.close()
            file.close()

        self.process, self._memory, self._close = process, memory, close


class Witness:
    """What the files in a directory prove. Made for one look: it reads each file once."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._found: dict[str, bytes] = {}

    def never_left(self, process: str | None, grant_id: str, work_id: str) -> bool:
        """True only if the process that made this claim died with this in hand."""
        if self._directory is None or process is None or not _PROCESS.fullmatch(process):
            return False
        if process not in self._found:
            self._found[process] = _of_dead(self._directory / process)
        held = self._found[process]
        return _entry(grant_id, work_id) in held or _entry(grant_id, "") in held


def forget(directory: Path, claiming: Callable[[], Iterable[str]]) -> None:
    """Delete the files of the dead, a while after they died, if no claim of theirs is open: `claiming` names those."""
    limit = time.time() - KEPT_FOR
    with contextlib.suppress(OSError):  # another process deleted one just now
        old = [path for path in directory.glob("*") if path.stat().st_mtime < limit and _read(path)]
        needed = set(claiming()) if old else ()
        for path in old:
            if path.name not in needed:
                path.unlink()


def _of_dead(path: Path) -> bytes:
    held = _read(path)
    return held[_HEAD:] if held[:_HEAD].rstrip(b"\0") == boot_id().encode() != b"" else b""


def _read(path: Path) -> bytes:
    """What is in it, if nobody is alive who writes it."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return file.read()
    return b""


def _entry(grant_id: str, work_id: str) -> bytes:
    return f"{grant_id:36.36}{work_id:36.36}".encode()
