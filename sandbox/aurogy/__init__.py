"""Aurogy: end-to-end encrypted messenger, JSON over HTTPS."""

from sandbox.aurogy.provider import Aurogy
from sandbox.aurogy.settings import AurogySettings

__all__ = ["Aurogy", "AurogySettings"]
