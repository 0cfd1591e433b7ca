"""Webhooks: the application that takes them, what it makes sure of, and how they are written down."""
