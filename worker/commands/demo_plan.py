"""What the demo sends, and where: a private installation whose limits are small enough to be seen."""

import csv
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from paceline import Media, Message, Outgoing, Template, Text

ACCOUNT = "aurogy-main"
RECIPIENTS = "examples/recipients-aurogy.csv"

# Aurogy's own limits are by the minute; a sixth of that time shows the same thing sooner.
SEND, STATUS = "66/10s", "200/10s"

SOON = timedelta(seconds=20)  # the scheduled ones wait for it

_CONFIGURATION = """\
# Written by `paceline demo`, anew each time.
[hooks]
bind = "127.0.0.1:{hooks}"
metrics_bind = "127.0.0.1:{metrics}"
[flower]
bind = "127.0.0.1:{flower}"
[sandbox]
bind = "127.0.0.1:{sandbox}"
[accounts.{account}]
provider = "aurogy"
[accounts.{account}.limits]
send = ["{send}"]
status = ["{status}"]
[accounts.{account}.poll]
schedule = [1, 4]
"""

_SANDBOX = """\
# Written by `paceline demo`, anew each time: the strictest way to count, an exact log of each window.
[aurogy.ratelimit]
window = "sliding"
send = "{send}"
status = "{status}"
[aurogy.lifecycle]
sent_after = 0.3
delivered_after = 2.5
read_after = 3.3
jitter = 0.3
read_share = 0.6
failed_share = 0.02
"""


def write_configuration(directory: Path) -> tuple[Path, Path]:
    """Write the installation's configuration, on ports that are free, and the sandbox's settings; their paths."""
    ports = dict(zip(("hooks", "metrics", "flower", "sandbox"), _free_ports(4), strict=True))
    values = {"account": ACCOUNT, "send": SEND, "status": STATUS, **ports}
    files = (directory / "paceline.toml", directory / "sandbox.toml")
    for file, text in zip(files, (_CONFIGURATION, _SANDBOX), strict=True):
        file.write_text(text.format(**values), encoding="utf-8")
    return files


def outgoing(recipients: Path) -> Iterator[Outgoing]:
    """A message for each recipient of the file: texts, pictures and templates; high, normal and bulk; a few later."""
    later = datetime.now(UTC) + SOON
    with recipients.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            yield Outgoing(
                _message(number, row),
                via=ACCOUNT,
                idempotency_key=f"demo-{row['order']}",
                priority="high" if number % 10 == 9 else "normal" if number % 2 else "bulk",
                send_at=later if number % 27 == 5 else None,
                metadata={"order": row["order"]} if number % 4 < 2 else None,
            )


def _message(number: int, row: dict[str, str]) -> Message:
    to, name, order = row["to"], row["first_name"], row["order"]
    if number % 4 < 2:
        return Text(to=to, text=f"Hello {name}, your order #{order} has been shipped.")
    if number % 4 == 2:
        label = f"https://shop.example.com/labels/{order}.png"
        return Media(to=to, url=label, media_type="image/png", caption=f"{name}, this is the label of #{order}.")
    variables = {"name": name, "order": order}
    return Template(to=to, template="order_confirmation", language=row["language"], variables=variables)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens at now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()
