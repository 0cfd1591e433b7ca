"""A recipient's address, in the one way in which it is compared and sent."""

import pytest

from paceline import InvalidMessage, Text
from paceline.broadcast.definition import define
from paceline.broadcast.expansion import Expander, Progress
from paceline.broadcast.recipients import BadRecipients, Row
from paceline.capabilities import Capabilities, Rule
from paceline.content import Content
from paceline.directory import Carrier, Via

ANYTHING = {"text": {"to": Rule(), "text": Rule()}}


def expander(channel: str, region: str | None) -> Expander:
    via = Via("main", (Carrier("main", Capabilities(kinds=ANYTHING, channel=channel), "main/send"),))
    definition = define("sale", Text(to="{to}", text="Hi"), "main", default_region=region)
    return Expander(definition, via, Content(b"secret"), "b", 0.0)


def addressed(to: str, region: str | None = "GB", channel: str = "sms") -> str:
    return expander(channel, region).sample(Row(2, {"to": "+441"}), to).to


@pytest.mark.parametrize(
    ("written", "region", "sent"),
    [
        ("07700 900123", "GB", "+447700900123"),
        ("(07700) 900-123", "GB", "+447700900123"),
        ("+44 7700 900123", "GB", "+447700900123"),
        ("+1 212 555 0100", "GB", "+12125550100"),  # abroad stays abroad
        ("212-555-0100", "US", "+12125550100"),
        ("555 010 0100", "US", "+15550100100"),  # in no range that is in use: the provider knows best
        ("07700900123", None, "07700900123"),  # no home is named: the account's own rule speaks
    ],
)
def test_a_number_that_is_written_as_at_home_is_sent_as_abroad(written: str, region: str | None, sent: str) -> None:
    assert addressed(written, region) == sent
    assert addressed(written, region, "whatsapp") == sent


@pytest.mark.parametrize("written", ["7700", "07700 900123 900123", "Ada", "0"])
def test_what_cannot_be_a_number_of_the_region_by_its_length_is_refused(written: str) -> None:
    with pytest.raises(InvalidMessage, match=r"to: must be a phone number, of GB or with \+ and the country's code"):
        addressed(written)


def test_other_channels_have_no_regions() -> None:
    assert addressed(" ada@example.com ", channel="email") == "ada@example.com"


def test_rows_that_are_refused_are_listed_with_their_lines_and_others_go_on() -> None:
    found, progress = expander("sms", "GB"), Progress()
    rows = [Row(2, {"to": "07700 900123"}), Row(3, {"to": "7700"}), Row(4, {"to": "+447700900124"})]
    [chunk] = found.chunks(rows, 100, progress)
    assert [item.line for item in chunk.staged] == [2, 4]
    assert [(line, kind) for line, kind, _ in chunk.rejects] == [(3, "invalid")]
    assert (progress.recipients, progress.invalid) == (3, 1)


def test_where_everybody_is_refused_alike_the_account_is_not_for_these() -> None:
    rows = [Row(line, {"to": "7700"}) for line in (2, 3)]
    with pytest.raises(BadRecipients, match="recipients: line 2 and all that follow are refused alike: to: must be"):
        list(expander("sms", "GB").chunks(rows, 100, Progress()))
