"""Answers that are files: written to a directory of this host, never into memory, the database or a log.

A file stands there under its name only once it is whole. Whoever asked for it takes it away; what nobody takes is
deleted after a day, because it may hold people's numbers.
"""

import asyncio
import contextlib
import hashlib
import os
import socket
import tempfile
import time
from collections.abc import AsyncIterable, Callable, Mapping
from pathlib import Path
from typing import BinaryIO, TypeGuard, TypeVar

from providers.base import Save, Saved

KEPT_FOR = 86_400.0  # seconds
PIECE = 1_048_576  # bytes that are written at once, in another thread: the one that does HTTP waits for no disk

Found = TypeVar("Found")


class _NotWritten(OSError):
    """The disk is full, or the directory is somebody else's."""


def is_file(save: Save | None, status: int, headers: Mapping[str, str]) -> TypeGuard[Save]:
    """Whether an answer is the file that was asked for, and no error or portal's page in its place."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return save is not None and status == 200 and media_type == save.media_type


class Downloads:
    """The directory. It is made when it is needed, for this user alone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def keep(self, save: Save, chunks: AsyncIterable[bytes]) -> Saved:
        """Write what comes to a file of that name, whatever was there before; or say why nothing was kept.

        Raises whatever ends `chunks` early: then nothing is left of it.
        """
        host = socket.gethostname()
        try:
            return await self._keep(save, chunks, host)
        except _NotWritten:
            return Saved("", host, 0, "", "not_written")

    async def _keep(self, save: Save, chunks: AsyncIterable[bytes], host: str) -> Saved:
        partial = await _on_disk(self._begin, save.name)
        size, digest, held = 0, hashlib.sha256(), bytearray()
        try:
            async for chunk in chunks:
                size += len(chunk)
                if size > save.most:
                    return Saved("", host, size, "", "too_long")
                digest.update(chunk)
                held += chunk
                if len(held) >= PIECE:
                    await _on_disk(partial.write, bytes(held))
                    held.clear()
            await _on_disk(partial.write, bytes(held))
            path = await _on_disk(self._finish, partial, save.name)
            return Saved(str(path), host, size, digest.hexdigest())
        finally:
            _end(partial)

    def forget(self) -> None:
        """Delete what nobody took."""
        limit = time.time() - KEPT_FOR
        for path in self._directory.glob("*"):
            with contextlib.suppress(OSError):  # another process deleted it just now, or it is being taken
                if path.stat().st_mtime < limit:
                    path.unlink()

    def _begin(self, name: str) -> BinaryIO:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.forget()
        number, path = tempfile.mkstemp(prefix=f"{name}.", suffix=".part", dir=self._directory)  # for this user alone
        os.close(number)
        return Path(path).open("wb")

    def _finish(self, partial: BinaryIO, name: str) -> Path:
        partial.flush()
        os.fsync(partial.fileno())
        return Path(partial.name).replace(self._directory / name)


def _end(partial: BinaryIO) -> None:
    """Leave nothing behind but what was finished."""
    with contextlib.suppress(OSError):
        partial.close()
    with contextlib.suppress(OSError):
        Path(partial.name).unlink(missing_ok=True)


async def _on_disk(do: Callable[..., Found], *given: object) -> Found:
    try:
        return await asyncio.get_running_loop().run_in_executor(None, do, *given)
    except OSError:
        raise _NotWritten from None
