"""The ledger's file: one JSON object a line, handed to the operating system before the answer leaves.

So it survives `kill -9` of the sandbox (not a power cut), and a sandbox that is started with it again goes on from it.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_STARTS = (b'{"seq":', b'{"provider":')  # of every line
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode


class Journal:
    """Numbers all ledgers' entries and, where a file is given, appends them to it."""

    def __init__(self, path: Path | None = None) -> None:
        """Opens the file, which `replay` must read before anything is appended.

        Raises:
            OSError: it cannot be opened or written.
        """
        self._path = path
        self._seq = 0
        self._fd = -1
        if path is not None:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def next_seq(self) -> int:
        """The number of the next entry, from 1."""
        self._seq += 1
        return self._seq

    def append(self, record: dict[str, Any]) -> None:
        """Writes one line, if there is a file."""
        if self._fd >= 0:
            line = (_encode(record) + "\n").encode("ascii")
            if os.write(self._fd, line) != len(line):
                raise OSError("The ledger's file took only part of a line: its disk is full.")

    @property
    def durable(self) -> bool:
        """Whether there is a file."""
        return self._fd >= 0

    def replay(self) -> Iterator[dict[str, Any]]:
        """Everything written by earlier runs, oldest first; new entries are numbered after it.

        A last line that was never finished is cut off.

        Raises:
            ValueError: a line is not one that the sandbox writes. The file is left as it is.
        """
        if self._path is None:
            return
        end = 0
        with self._path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n") and _begins(line):
                    os.ftruncate(self._fd, end)
                    return
                record = _parse(line)
                if record is None:
                    raise ValueError(f"Line {number} of {self._path} is no ledger entry: give another file.")
                end += len(line)
                self._seq = max(self._seq, record.get("seq", 0))
                yield record

    def close(self) -> None:
        """Writes nothing more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _begins(line: bytes) -> bool:
    """Whether an unfinished line is one of ours."""
    return any(line.startswith(start[: len(line)]) for start in _STARTS)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    ours = isinstance(record, dict) and "provider" in record and isinstance(record.get("seq", 0), int)
    return record if ours else None
