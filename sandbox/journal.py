"""The ledger's file: one JSON object a line, handed to the operating system before the answer leaves.

So it survives `kill -9` of the sandbox (not a power cut), and a sandbox that is started with it again goes on from it.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode


class Journal:
    """Numbers all ledgers' entries and, where a file is given, appends them to it."""

    def __init__(self, path: Path | None = None) -> None:
        """Opens the file, cutting off a last line that was never finished.

        Raises:
            OSError: it cannot be opened or written.
        """
        self._path = path
        self._seq = 0
        self._fd = -1
        if path is not None:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            _cut_torn_line(self._fd)

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

        Raises:
            ValueError: a line is not one that the sandbox writes.
        """
        if self._path is None:
            return
        with self._path.open(encoding="ascii") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    record: dict[str, Any] = json.loads(line)
                    if "provider" not in record:
                        raise KeyError("provider")
                    self._seq = max(self._seq, int(record.get("seq", 0)))
                except (ValueError, KeyError, AttributeError, TypeError):
                    raise ValueError(f"Line {number} of {self._path} is no ledger entry: give another file.") from None
                yield record

    def close(self) -> None:
        """Writes nothing more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _cut_torn_line(fd: int) -> None:
    size = end = os.fstat(fd).st_size
    while end > 0:
        start = max(0, end - 4096)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(fd, end)
