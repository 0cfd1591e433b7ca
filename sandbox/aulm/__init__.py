"""aulm: WhatsApp through paired numbers, JSON over HTTPS."""

from sandbox.aulm.provider import Aulm
from sandbox.aulm.settings import AulmSettings

__all__ = ["Aulm", "AulmSettings"]
