"""AuroraSendCloud: e-mail in three regions and SMS, forms in and JSON out."""

from sandbox.aurorasendcloud.provider import AuroraSendCloud
from sandbox.aurorasendcloud.settings import AuroraSendCloudSettings

__all__ = ["AuroraSendCloud", "AuroraSendCloudSettings"]
