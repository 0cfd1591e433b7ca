"""Parts of a text message: what a provider bills one by one."""

import math
from collections.abc import Callable, Mapping

_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_EXTENSION = frozenset("\f^{}\\[~]|€")  # an escape and a character


def documented(text: str) -> int:
    """Parts of 160 characters each, whatever the characters are."""
    return max(1, math.ceil(len(text) / 160))


def gsm0338(text: str) -> int:
    """Parts as handsets count them: 160 characters of GSM 03.38 in one part or 153 in each of several, characters of
    its extension table counted twice; with any other character 70 UTF-16 units, or 67.

    No character is torn apart between two parts.
    """
    if all(character in _GSM or character in _GSM_EXTENSION for character in text):
        return _count([2 if character in _GSM_EXTENSION else 1 for character in text], 160, 153)
    return _count([2 if ord(character) > 0xFFFF else 1 for character in text], 70, 67)


SEGMENTATIONS: Mapping[str, Callable[[str], int]] = {"documented": documented, "gsm0338": gsm0338}


def _count(widths: list[int], alone: int, each: int) -> int:
    if sum(widths) <= alone:
        return 1
    parts, room = 1, each
    for width in widths:
        if width > room:
            parts, room = parts + 1, each
        room -= width
    return parts
