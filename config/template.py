"""The commented configuration that `paceline init` writes: every key there is, with its default."""

import json
from collections.abc import Iterable, Iterator

from config.accounts import GIVE_UP_AFTER, POLL_SCHEDULE, RETRY_SCHEDULE
from providers.base import Provider

HEAD = """\
# Paceline. Every key stands here with its default; remove the "#" before a line without a space to set it.
# ${NAME} in a value is read from the environment when Paceline starts; a variable that is not set is an error.

[database]
#url = "sqlite:///.paceline/paceline.db"     # or postgresql+psycopg://user:${PGPASSWORD}@host/database

[broker]
#url = "embedded"                            # a private Valkey under .paceline/, or redis:// rediss:// unix://
                                             # or sentinel://host:26379;host:26379/master_name/0

# Recipients and bodies encrypted in the database, for whoever has the key: 32 bytes in base64, as
# `openssl rand -base64 32` prints. Producers need it too; PACELINE_CONTENT_KEY goes before what stands here.
[content]
#key = "${PACELINE_CONTENT_KEY}"             # or ["${NEW_KEY}", "${OLD_KEY}"]: the first encrypts, all decrypt; none by
                                             # default

[hooks]
#bind = "127.0.0.1:8085"                     # POST /hooks/<account>
#public_url = "https://hooks.example.com"    # how providers reach it; none by default
#metrics_bind = "127.0.0.1:9185"             # GET /metrics, for Prometheus: never public; "none" for nowhere

[worker]
#processes = 2                               # that send, on this host
#in_flight = 64                              # requests at once in each process
#downloads = ".paceline/downloads"           # where a list that was asked for as a file stands until it is taken away
#in_hand = ".paceline/in-hand"               # what is claimed and has not left: after a kill -9 it is sent by another

[flower]
#bind = "127.0.0.1:5555"                     # where it answers
#basic_auth = "${FLOWER_LOGIN}"              # user:password; required where bind is not loopback
#rows_per_second = 200                       # messages shown as rows; above it they are sampled

[sandbox]
#bind = "127.0.0.1:8900"                     # every provider, each below its name
#public_url = "http://sandbox:8900"          # its host may be reached over http://, like loopback

[limiter]
#guard = "0.5s"                              # added to each rolling window; by default 0.5s or a tenth of the window,
                                             # whichever is smaller

# For how long what is over is kept. "1h" to "36500d".
[retention]
#content = "30d"                             # recipients and bodies, since their message is final
#messages = "90d"                            # the message with its attempts and events, since it is final
#events = "90d"                              # what client.events reads, since it happened
#webhooks = "30d"                            # what providers posted, since it came
#idempotency_keys = "180d"                   # not shorter than messages; a key goes only after its message
#jobs = "30d"                                # jobs, since they have ended
#grants = "7d"                               # the ledger of requests; never less than the longest limit's window

# An application's Celery task that is told of every change and inbound event, by ids alone; none by default.
[events]
#task = "myapp.on_message"                   # its name
#queue = "celery"                            # on which its workers look for it
#broker = "redis://host:6379/0"              # if the application's is another

# A limit is "<n>/<window>": second, minute, hour, <k>s, <k>m or <k>h is a rolling window, day a quota that begins anew
# at midnight UTC ("1000/day@Europe/London" for another zone). What you list for a class takes the place of its default.
"""

ROUTES = """
# A route is a name for accounts that can carry the same message, tried in this order.
[routes]
#sms = ["augnet-main", "augnet-backup"]
"""


def render(providers: Iterable[Provider]) -> str:
    """The file's text: the first provider's account is set, for a first message; the others are there to choose."""
    accounts = ["\n".join(_account(provider, chosen=number == 0)) for number, provider in enumerate(providers)]
    return "\n".join([HEAD, *accounts]) + ROUTES


def _account(provider: Provider, *, chosen: bool) -> Iterator[str]:
    name, mark = f"{provider.name}-main", "" if chosen else "#"
    yield f"{mark}[accounts.{name}]"
    yield f'{mark}provider = "{provider.name}"'
    for credential in provider.credentials:
        mark = "" if chosen and credential.required else "#"
        variable = f"{provider.name}_{credential.name}".upper().replace("-", "_")
        remark = "; ".join(filter(None, ("" if credential.required else "optional", credential.hint)))
        yield f'{mark}{credential.name} = "${{{variable}}}"' + (f"  # {remark}" if remark else "")
    yield f'#base_url = "{provider.base_url}"  # where its API answers'
    yield '#on_unknown = "hold"  # or "retry": send again what may have been accepted'
    yield f'#timeout = "{provider.timeout:g}s"  # of one request, from connecting to the last byte'
    yield '#reserve = "0%"  # of each limit, kept for priority "high"'
    yield f"#[accounts.{name}.limits]"
    for lane_class, limits in provider.limits.items():
        yield f"#{lane_class} = {_list(limits)}"
    yield f"#[accounts.{name}.retry]"
    yield f"#schedule = {_list(RETRY_SCHEDULE)}  # seconds, jittered; its length is the retry budget"
    yield f"#[accounts.{name}.poll]"
    yield f"#schedule = {_list(POLL_SCHEDULE)}  # seconds after acceptance, then the last one repeats"
    yield f'#give_up_after = "{GIVE_UP_AFTER / 3600:g}h"  # since acceptance: then it is final, reason no_report'
    yield f"#[accounts.{name}.options]"
    for option_name, option in provider.options.items():
        yield f"#{option_name} = {as_toml(option.default)}  # {option.meaning}"
    yield ""


def _list(items: Iterable[str | float]) -> str:
    return f"[{', '.join(map(as_toml, items))}]"


def as_toml(value: str | float | bool) -> str:
    if isinstance(value, str):
        return json.dumps(value)  # a TOML string too
    return str(value).lower() if isinstance(value, bool) else f"{value:.15g}"
