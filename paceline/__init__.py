"""Paceline: paced, durable delivery of messages through other people's APIs."""

from paceline.bulk import BulkReceipt, Reject
from paceline.client import Client
from paceline.enqueue import Receipt
from paceline.errors import (
    BrokerNotReady,
    ConfigurationError,
    DatabaseNotReady,
    IdempotencyConflict,
    InvalidMessage,
    MessageNotFound,
    PacelineError,
    UnknownAccount,
)
from paceline.messages import Email, Media, Message, Outgoing, Template, Text
from paceline.status import Priority, Status
from paceline.views import AttemptView, EventView, MessageView

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
    "Status",
    "Priority",
    "PacelineError",
    "InvalidMessage",
    "UnknownAccount",
    "IdempotencyConflict",
    "MessageNotFound",
    "ConfigurationError",
    "DatabaseNotReady",
    "BrokerNotReady",
]
