"""Lanes: which there are, which is due, and what a process knows of each: its gate, its room and its slots."""
