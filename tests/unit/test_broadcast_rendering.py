"""`{columns}` in a message: filled in for each row, and missing ones named before anything is queued."""

import pytest

from paceline import Email, InvalidMessage, Media, Template, Text
from paceline.broadcast.recipients import BadRecipients, Row
from paceline.broadcast.rendering import Rendering

ROW = Row(7, {"phone": "+15550100", "first name": "Ada", "empty": "", "brace": "{x}"})


def test_every_string_field_may_hold_columns() -> None:
    message = Email(
        to="{phone}", subject="For {first name}", text="{{literal}} {first name}{first name}",
        headers={"X-{phone}": "{brace}"},
        cc=["{phone}@example.com"],
        attachments=[{"filename": "{first name}.txt", "content": "aGk=", "media_type": "text/plain"}],
    )  # fmt: skip
    filled = Rendering(message).render(ROW)
    assert filled == Email(
        to="+15550100", subject="For Ada", text="{literal} AdaAda", headers={"X-+15550100": "{x}"},
        cc=["+15550100@example.com"],
        attachments=[{"filename": "Ada.txt", "content": "aGk=", "media_type": "text/plain"}],
    )  # fmt: skip


def test_of_a_template_and_media_too() -> None:
    template = Template(to="{phone}", template="t", variables={"name": "{ first name }"})
    assert Rendering(template).render(ROW) == Template(to="+15550100", template="t", variables={"name": "Ada"})
    media = Media(to="{phone}", url="https://e.com/{phone}.png", media_type="image/png")
    assert Rendering(media).render(ROW).to == "+15550100"


@pytest.mark.parametrize("column", ["nobody", "empty"])
def test_a_missing_or_empty_column_names_the_line_the_column_and_the_field(column: str) -> None:
    with pytest.raises(BadRecipients) as refused:
        Rendering(Text(to="{phone}", text=f"Hi {{{column}}}")).render(ROW)
    assert str(refused.value) == f"recipients: line 7 has no {column}, which text needs"
    assert refused.value.line == 7


def test_a_default_serves_where_a_row_has_none() -> None:
    rendering = Rendering(Text(to="{phone}", text="Hi {empty}{nobody}!"), {"empty": "you", "nobody": ""})
    assert rendering.render(ROW) == Text(to="+15550100", text="Hi you!")
    assert rendering.columns == {"phone": "to", "empty": "text", "nobody": "text"}


@pytest.mark.parametrize("text", ["{", "a } b", "{}", "{ }", "{a", "{a{b}}"])
def test_a_lonely_brace_is_refused_before_the_first_row(text: str) -> None:
    with pytest.raises(InvalidMessage, match="text: holds a brace that names no column"):
        Rendering(Text(to="{phone}", text=text))


def test_what_a_row_makes_of_a_message_is_checked_as_any_other() -> None:
    with pytest.raises(InvalidMessage, match="to: must not contain the character NUL"):
        Rendering(Text(to="{id}", text="x")).render(Row(1, {"id": "a\x00"}))
