"""Broadcasts, as workers see them: what time does to them, and what takes longer than a tick."""
