"""A module under a wall clock that is turned from outside: python -m tests.chaos.turned FILE MODULE ARGUMENTS…

The file holds by how many seconds it is ahead. What Python's `time` says is turned, which is all that our code asks;
neither the monotonic clock nor what libraries in C ask the system: SQLite's, which is the database's.
"""

import mmap
import runpy
import struct
import sys
import time
from pathlib import Path

AHEAD = struct.Struct("<q")


def set_clock(file: Path, seconds: int) -> None:
    """Set it ahead by so much; negative: behind."""
    with file.open("r+b" if file.exists() else "wb") as opened:
        opened.write(AHEAD.pack(seconds))


def _turn(file: Path) -> None:
    with file.open("rb") as opened:
        shared = mmap.mmap(opened.fileno(), AHEAD.size, access=mmap.ACCESS_READ)
    real, real_ns = time.time, time.time_ns

    def ahead() -> int:
        seconds: int = AHEAD.unpack_from(shared)[0]
        return seconds

    time.time = lambda: real() + ahead()
    time.time_ns = lambda: real_ns() + ahead() * 1_000_000_000


if __name__ == "__main__":
    _turn(Path(sys.argv[1]))
    del sys.argv[:2]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
