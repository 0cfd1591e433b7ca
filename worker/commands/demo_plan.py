"""Where the demo sends: a private installation with every provider, whose limits are small enough to be seen."""

import json
import socket
from pathlib import Path

from worker.commands.demo_messages import CONTACTS_CSV, CONTACTS_URL

# Each account with its provider's name in the sandbox, and limits where they are not the provider's own: many of those
# are by the minute, and a sixth of that time shows the same thing sooner.
AUROGY_SEND, AUROGY_STATUS = "66/10s", "200/10s"
AUGNET_SEND, MAIL_SEND, MAIL_STATUS, SMS_SEND = "20/10s", "10/10s", "50/10s", "10/10s"
FAMILIES = {
    "aurogy-main": "aurogy",
    "augnet-main": "augnet",
    "aurorasendcloud-email-main": "aurorasendcloud",
    "aurorasendcloud-sms-main": "aurorasendcloud",
    "politicalcomms-main": "politicalcomms",
    "aulm-main": "aulm",
}

_CONFIGURATION = f"""\
# Written by `paceline demo`, anew each time. Credentials that are missing are the sandbox's.
[hooks]
bind = "127.0.0.1:{{hooks}}"
metrics_bind = "127.0.0.1:{{metrics}}"
[flower]
bind = "127.0.0.1:{{flower}}"
[sandbox]
bind = "127.0.0.1:{{sandbox}}"
[accounts.aurogy-main]
provider = "aurogy"
[accounts.aurogy-main.limits]
send = ["{AUROGY_SEND}"]
status = ["{AUROGY_STATUS}"]
[accounts.aurogy-main.poll]
schedule = [1, 4]
[accounts.augnet-main]
provider = "augnet"
sender = "ABCTAXI"
limits.send = ["{AUGNET_SEND}"]
[accounts.aurorasendcloud-email-main]
provider = "aurorasendcloud-email"
[accounts.aurorasendcloud-email-main.limits]
send = ["{MAIL_SEND}"]
status = ["{MAIL_STATUS}"]
[accounts.aurorasendcloud-sms-main]
provider = "aurorasendcloud-sms"
limits.send = ["{SMS_SEND}"]
[accounts.politicalcomms-main]
provider = "politicalcomms"
[accounts.aulm-main]
provider = "aulm"
"""

_LIFECYCLE = """\
sent_after = 0.3
delivered_after = 2.5
read_after = 3.3
jitter = 0.3
"""

_SANDBOX = f"""\
# Written by `paceline demo`, anew each time: the strictest way to count, an exact log of each window.
[aurogy.ratelimit]
window = "sliding"
send = "{AUROGY_SEND}"
status = "{AUROGY_STATUS}"
[aurogy.lifecycle]
{_LIFECYCLE}read_share = 0.6
failed_share = 0.02
[augnet.ratelimit]
enforced = true
window = "sliding"
send = "{AUGNET_SEND}"
[augnet.lifecycle]
{_LIFECYCLE}
[aurorasendcloud.ratelimit]
window = "sliding"
mail = "{MAIL_SEND}"
sms = "{SMS_SEND}"
status = "{MAIL_STATUS}"
[aurorasendcloud.lifecycle]
{_LIFECYCLE}read_share = 0.3
[politicalcomms.ratelimit]
window = "sliding"
[politicalcomms.lifecycle]
{_LIFECYCLE}read_share = 0.0
[politicalcomms.imports.files]
"{CONTACTS_URL}" = {json.dumps(CONTACTS_CSV)}
[aulm.lifecycle]
{_LIFECYCLE}read_share = 0.5
"""


def write_configuration(directory: Path) -> tuple[Path, Path]:
    """Write the installation's configuration, on ports that are free, and the sandbox's settings; their paths."""
    ports = dict(zip(("hooks", "metrics", "flower", "sandbox"), _free_ports(4), strict=True))
    files = (directory / "paceline.toml", directory / "sandbox.toml")
    for file, text in zip(files, (_CONFIGURATION.format(**ports), _SANDBOX), strict=True):
        file.write_text(text, encoding="utf-8")
    return files


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens at now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()
