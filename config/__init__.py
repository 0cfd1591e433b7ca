"""The configuration: one frozen `Settings`, read once, and what Celery and logging are told."""
