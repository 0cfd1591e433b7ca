"""Identifiers of the shapes that providers print. Never seeded: a restarted sandbox must not hand out old ids."""

import random
import string

_ALPHABET = string.ascii_lowercase + string.digits
_RANDOM = random.Random()  # seeded by the operating system


def token(length: int = 12) -> str:
    """`length` lower-case letters and digits."""
    return "".join(_RANDOM.choices(_ALPHABET, k=length))
