"""The sandbox: the providers' APIs as their references describe them, with faults on request and a ledger of arrivals.

It imports nothing of Paceline, so that it cannot share its mistakes. A provider is a package beside `aurogy`.
"""

from sandbox.background import SandboxServer
from sandbox.settings import Settings, load_settings, parse_settings

__all__ = ["SandboxServer", "Settings", "load_settings", "parse_settings"]
