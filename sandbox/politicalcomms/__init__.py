"""Political Comms: broadcast SMS and MMS to contact lists, and replies in conversations; JSON over HTTPS."""

from sandbox.politicalcomms.provider import PoliticalComms
from sandbox.politicalcomms.settings import PoliticalCommsSettings

__all__ = ["PoliticalComms", "PoliticalCommsSettings"]
