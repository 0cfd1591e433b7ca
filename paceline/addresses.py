"""What everything else needs to know of where the data is: `paceline.connection` finds it out."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Connection:
    """A database and a broker. `root` is the directory that relative paths and `.paceline/` are relative to.

    The URLs hold passwords, so they are in no repr; nor are the keys that encrypt content, the first of which does.
    """

    database_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    root: Path
    content_keys: tuple[bytes, ...] = field(default=(), repr=False)
