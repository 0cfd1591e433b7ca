"""Which boot of which host this is."""

import contextlib
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")  # Linux alone tells


def boot_id() -> str:
    """The kernel's name for this boot, the same in every process and container of the host; empty where it has none."""
    with contextlib.suppress(OSError):
        return BOOT.read_text(encoding="ascii").strip()
    return ""
