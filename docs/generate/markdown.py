"""Markdown, as these pages need it."""

from collections.abc import Iterable, Sequence

NOTE = "<!-- Made from the code by `make docs`. -->\n"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; nothing where there are no rows."""
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}", *lines])


def code(text: str) -> str:
    """As it is typed; nothing of nothing."""
    return f"`{text}`" if text else ""


def codes(texts: Iterable[str]) -> str:
    """Several of them."""
    return ", ".join(map(code, texts))


def joined(*parts: str) -> str:
    """The parts that say something, with a blank line between two."""
    return "\n\n".join(part for part in parts if part)


def span(seconds: float) -> str:
    """A duration as it is configured: in the largest unit in which it is a whole number."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size and seconds % size == 0 and not (unit == "d" and seconds < 7 * size):
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def sentence(text: str) -> str:
    """With a capital at its beginning and one full stop at its end."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def _cell(text: str) -> str:
    text = " ".join(text.split())
    pieces = text.split("`")
    # Outside of code a tag would be taken for HTML.
    pieces[::2] = [piece.replace("<", "&lt;") for piece in pieces[::2]]
    return "`".join(pieces).replace("|", "\\|")
