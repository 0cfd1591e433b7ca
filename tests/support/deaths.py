"""How a process looks to the others once it has been killed."""

from pathlib import Path

import pytest

from worker.in_hand import InHand


def died(hand: InHand) -> str:
    """Do what the kernel does with the file of who is killed: its lock ends, and what stands in it stays; its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        hand.close()
    return str(hand.process)
