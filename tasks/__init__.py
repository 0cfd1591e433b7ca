"""Celery's entry points, a few lines each."""
