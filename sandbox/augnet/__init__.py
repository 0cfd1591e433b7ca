"""Augnet in the sandbox."""

from sandbox.augnet.provider import Augnet
from sandbox.augnet.settings import AugnetSettings

__all__ = ["Augnet", "AugnetSettings"]
