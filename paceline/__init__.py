"""Paceline: paced, durable delivery of messages through other people's APIs."""

from paceline.broadcast.control import BroadcastView
from paceline.broadcast.definition import Preview, Ramp
from paceline.broadcast.forecast import Forecast
from paceline.broadcast.recipients import BadRecipients
from paceline.bulk import BulkReceipt, Reject
from paceline.client import Client
from paceline.enqueue import Receipt
from paceline.errors import (
    BroadcastNotFound,
    BrokerNotReady,
    CallFailed,
    CallTimeout,
    ConfigurationError,
    ContentLocked,
    DatabaseNotReady,
    IdempotencyConflict,
    InvalidMessage,
    JobNotFound,
    MessageNotFound,
    PacelineError,
    UnknownAccount,
)
from paceline.messages import Email, Media, Message, Outgoing, Template, Text
from paceline.status import Priority, Status
from paceline.suppression import Suppressed, SuppressionView
from paceline.views import AttemptView, EventView, JobStatus, JobView, MessageView

__all__ = [
    "Client",
    "Outgoing",
    "Text",
    "Media",
    "Template",
    "Email",
    "Message",
    "Receipt",
    "BulkReceipt",
    "Reject",
    "MessageView",
    "AttemptView",
    "EventView",
    "SuppressionView",
    "JobView",
    "BroadcastView",
    "Preview",
    "Ramp",
    "Forecast",
    "Status",
    "Priority",
    "JobStatus",
    "PacelineError",
    "InvalidMessage",
    "UnknownAccount",
    "Suppressed",
    "IdempotencyConflict",
    "BadRecipients",
    "MessageNotFound",
    "BroadcastNotFound",
    "CallFailed",
    "CallTimeout",
    "JobNotFound",
    "ConfigurationError",
    "ContentLocked",
    "DatabaseNotReady",
    "BrokerNotReady",
]
