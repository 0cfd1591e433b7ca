"""What a supervisor prints: its children's lines behind their names, without ever waiting for whoever reads them.

A reader that stalls (a paused terminal, a pipe that nobody empties) must not hold up the workers, so lines wait here,
and beyond a megabyte the oldest are dropped.
"""

import os
import select
from collections import deque
from typing import Protocol

WAITING = 1_000_000  # bytes
PIECE = 4096  # bytes that a pipe which calls itself writable takes without blocking


class Output(Protocol):
    """Where lines go."""

    def line(self, name: str, text: str) -> None:
        """Print a line of the child of that name, or of the supervisor itself if it is empty."""

    def flush(self, seconds: float = 0.0) -> None:
        """Write what can be written at once, or within so many seconds."""


class Printer:
    """Prints to a file descriptor. The names are padded to `width` characters."""

    def __init__(self, descriptor: int, width: int) -> None:
        self._descriptor = descriptor
        self._width = width
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._broken = False
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def line(self, name: str, text: str) -> None:
        """Print a line."""
        prefix = f"{name:<{self._width}} | " if name else ""
        self._add(f"{prefix}{text}\n".encode(errors="replace"))
        self.flush()

    def flush(self, seconds: float = 0.0) -> None:
        """Write what waits."""
        while self._waiting and not self._broken and self._writable(seconds):
            piece = self._waiting.popleft()
            self._size -= len(piece)
            try:
                os.write(self._descriptor, piece)
            except OSError:
                self._broken = True  # nobody reads any more; the work goes on

    def _add(self, line: bytes) -> None:
        self._waiting.extend(line[start : start + PIECE] for start in range(0, len(line), PIECE))
        self._size += len(line)
        while self._size > WAITING:
            self._size -= len(self._waiting.popleft())

    def _writable(self, seconds: float) -> bool:
        return any(event & select.POLLOUT for _, event in self._poll.poll(seconds * 1000))
