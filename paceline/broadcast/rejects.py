"""The file in which a broadcast's rejected rows are listed: each by its line, and why it is left out."""

import csv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path

from paceline.broadcast.expansion import Reject, Write
from paceline.errors import InvalidMessage

COLUMNS = ("line", "kind", "reason")


@contextmanager
def rejects_file(path: Path | str | None, recipients: object = None) -> Iterator[Callable[[bool], Write]]:
    """Opens the file, if there is to be one, when it is first asked for; True goes on with what an earlier call wrote.

    Raises `InvalidMessage` if it cannot be written, or is the one of the `recipients`, which it would replace.
    """
    if path is not None and isinstance(recipients, str | PathLike) and _same_file(path, recipients):
        raise InvalidMessage("rejects", "is the recipients' own file, which it would replace: name another file")
    with ExitStack() as stack:

        def opened(goes_on: bool) -> Write:
            if path is None:
                return _nowhere
            try:
                file = stack.enter_context(
                    Path(path).open("a" if goes_on else "w", encoding="utf-8", newline="", buffering=1)
                )
            except OSError as error:
                raise InvalidMessage("rejects", f"cannot be written ({type(error).__name__}): check the path") from None
            writer = csv.writer(file)
            if not file.tell():
                writer.writerow(COLUMNS)
            return writer.writerows

        yield opened


def _same_file(one: Path | str, other: "str | PathLike[str]") -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:  # one of them is not there
        return False


def _nowhere(_rejects: object) -> None:
    """They are counted all the same."""


__all__ = ["COLUMNS", "Reject", "rejects_file"]
