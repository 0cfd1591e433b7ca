"""Parts of a text, as a provider documents them and as handsets count them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.segments import SEGMENTATIONS, documented, gsm0338

# GSM 03.38, section 6.2.1, row by row; ESC (0x1B) stands for itself in the table and is no character.
GSM_TABLE = (
    "@Δ 0¡P¿p£_!1AQaq$Φ\"2BRbr¥Γ#3CScsèΛ¤4DTdtéΩ%5EUeuùΠ&6FVfvìΨ'7GWgwòΣ(8HXhxÇΘ)9IYiy\nΞ*:JZjzØ+;KÄkä"
    "øÆ,<LÖlö\ræ-=MÑmñÅß.>NÜnüåÉ/?O§oà"
)
EXTENSION = "\f^{}\\[~]|€"


@pytest.mark.parametrize(
    ("text", "parts"), [("", 1), ("x", 1), ("x" * 160, 1), ("x" * 161, 2), ("🐢" * 320, 2), ("{" * 321, 3)]
)
def test_as_documented_a_part_is_160_characters_whatever_they_are(text: str, parts: int) -> None:
    assert documented(text) == parts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", 1),
        ("x" * 160, 1),
        ("x" * 161, 2),
        ("x" * 306, 2),
        ("x" * 307, 3),
        ("€" * 80, 1),
        ("€" * 80 + "x", 2),  # 161 places
        ("x" * 152 + "€" + "x" * 152, 3),  # 306 places, but the euro sign is torn apart by no part
        ("x" * 151 + "€" + "x" * 153, 2),
        ("ж" * 70, 1),
        ("ж" * 71, 2),
        ("ж" * 134, 2),
        ("ж" * 135, 3),
        ("x" * 69 + "ж", 1),
        ("x" * 70 + "ж", 2),  # one character makes them all wide
        ("`" * 71, 2),  # ASCII, and not in the table
        ("\t" * 71, 2),
        ("ç" * 71, 2),  # only the capital is
        ("Ç" * 160, 1),
        ("🐢" * 35, 1),  # two units each
        ("🐢" * 36, 2),
        ("🐢" * 67, 3),  # 33 to a part: none is torn apart
        ("🐢" * 66, 2),
    ],
)
def test_as_handsets_count(text: str, parts: int) -> None:
    assert gsm0338(text) == parts


def test_the_alphabet_is_the_standards() -> None:
    assert len(GSM_TABLE) == 127
    for character in GSM_TABLE:
        assert gsm0338(character * 160) == 1, repr(character)
    for character in EXTENSION:
        assert (gsm0338(character * 80), gsm0338(character * 81)) == (1, 2), repr(character)
    for number in range(0x250):
        if chr(number) not in GSM_TABLE + EXTENSION:
            assert gsm0338(chr(number) * 71) == 2, hex(number)


def test_both_go_by_the_names_of_their_settings() -> None:
    assert dict(SEGMENTATIONS) == {"documented": documented, "gsm0338": gsm0338}


@given(st.text(max_size=1000))
def test_parts_are_few_enough_to_be_needed_and_many_enough_to_hold_the_text(text: str) -> None:
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    narrow = all(character in GSM_TABLE + EXTENSION for character in text)
    places = len(text) + sum(character in EXTENSION for character in text) if narrow else units
    alone, each = (160, 153) if narrow else (70, 67)
    parts = gsm0338(text)

    assert (parts == 1) == (places <= alone)
    assert parts * max(each, alone if parts == 1 else 0) >= places
    assert parts == 1 or (parts - 1) * (each - 1) < places  # a part may lose one place to what is not torn apart
