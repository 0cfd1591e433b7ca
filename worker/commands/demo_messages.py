"""What the demo sends through each account: what each provider carries, to people who exist in the sandbox alone."""

import csv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

from paceline import Email, Media, Message, Outgoing, Template, Text

RECIPIENTS = "examples/recipients-aurogy.csv"
SOON = timedelta(seconds=20)  # the scheduled ones wait for it

SMS, MAILS, CODES, CHATS, REPLIES, CONTACTS, GUESTS = 40, 30, 20, 6, 12, 25, 50  # how many of each

# What Political Comms is to import, and where from: the sandbox has it by heart and fetches nothing.
CONTACTS_URL = "https://files.example.com/district5.csv"
CONTACTS_CSV = "cell,First Name\n" + "".join(f"+1555557{number:04},Contact {number}\n" for number in range(CONTACTS))

_PICTURE = "https://shop.example.com/labels/{}.png"


def outgoing(recipients: Path) -> Iterator[Outgoing]:
    """Every message of the demo."""
    return chain(_aurogy(recipients), _augnet(), _mails(), _codes(), _replies(), _aulm())


def broadcast() -> dict[str, Any]:
    """The arguments of the broadcast that Political Comms sends by itself, to the organization that its sandbox has."""
    return {
        "name": "Spring outreach",
        "source_url": CONTACTS_URL,
        "phone_column": "cell",
        "message_text": "Hi {first_name}, polls are open until 7 p.m.",
        "phone_number_ids": ["01JV0NUM0000000000000000D1"],
        "brand_id": "01JV0BRD0000000000000000A1",
        "campaign_id": "01JV0CMP0000000000000000A1",
        "scheduled_at": datetime.now(UTC) + SOON,
        "timezone": "America/New_York",
    }


def evening() -> dict[str, Any]:
    """The arguments of a broadcast of ours: two windows of its account's lane are full, and the third is not."""
    guests = ({"phone": f"+44770091{number:04}", "name": f"Guest {number}"} for number in range(GUESTS))
    return {
        "name": "taxis-tonight",
        "message": Text(to="{phone}", text="Hi {name}, taxis are half the price tonight."),
        "recipients": guests,
        "via": "augnet-main",
        "send_at": datetime.now(UTC) + SOON,
    }


def _aurogy(recipients: Path) -> Iterator[Outgoing]:
    """One for each recipient of the file: texts, pictures and templates; high, normal and bulk; a few later."""
    later = datetime.now(UTC) + SOON
    with recipients.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            yield Outgoing(
                _of_three_kinds(number, row),
                via="aurogy-main",
                idempotency_key=f"demo-{row['order']}",
                priority="high" if number % 10 == 9 else "normal" if number % 2 else "bulk",
                send_at=later if number % 27 == 5 else None,
                metadata={"order": row["order"]} if number % 4 < 2 else None,
            )


def _of_three_kinds(number: int, row: dict[str, str]) -> Message:
    to, name, order = row["to"], row["first_name"], row["order"]
    if number % 4 < 2:
        return Text(to=to, text=f"Hello {name}, your order #{order} has been shipped.")
    if number % 4 == 2:
        return Media(
            to=to,
            url=_PICTURE.format(order),
            media_type="image/png",
            caption=f"{name}, this is the label of #{order}.",
        )
    variables = {"name": name, "order": order}
    return Template(to=to, template="order_confirmation", language=row["language"], variables=variables)


def _augnet() -> Iterator[Outgoing]:
    for number in range(SMS):
        taxi = Text(to=f"+44770090{number:04}", text=f"Your taxi {number} arrives in 2 minutes.")
        yield Outgoing(taxi, via="augnet-main", idempotency_key=f"demo-taxi-{number}")


def _mails() -> Iterator[Outgoing]:
    for number in range(MAILS):
        to, variables = f"reader{number}@example.org", {"name": f"Reader {number}"}
        letter = Email(to=to, subject=f"Letter {number}", html=f"<p>Hello {variables['name']}</p>", text="Hello")
        message = Template(to=to, template="order_confirmation", variables=variables) if number % 3 == 2 else letter
        yield Outgoing(
            message, via="aurorasendcloud-email-main", idempotency_key=f"demo-mail-{number}", priority="bulk"
        )


def _codes() -> Iterator[Outgoing]:
    for number in range(CODES):
        code = Template(to=f"+4477009012{number:02}", template="29999", variables={"code": f"{492_000 + number}"})
        yield Outgoing(code, via="aurorasendcloud-sms-main", idempotency_key=f"demo-code-{number}", priority="high")


def _replies() -> Iterator[Outgoing]:
    for number in range(REPLIES):
        reply = Text(to=f"conv_sandbox{number:02}", text=f"Thank you, we have noted it as number {number}.")
        yield Outgoing(reply, via="politicalcomms-main", idempotency_key=f"demo-reply-{number}")


def _aulm() -> Iterator[Outgoing]:
    for number in range(CHATS):
        to, at = f"+9665123456{number:02}", f"16:{number:02}"
        map_ = Media(to=to, url=_PICTURE.format(f"map-{number}"), media_type="image/png", caption=f"See you at {at}.")
        message = map_ if number % 3 == 2 else Text(to=to, text=f"Your appointment is at {at}.")
        yield Outgoing(message, via="aulm-main", idempotency_key=f"demo-chat-{number}")
