"""An installation whose content is encrypted, what is planted into it, and the same database with other keys."""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, make_url

from paceline import Client, Email, Media, Outgoing, Template, Text
from paceline.connection import resolve
from paceline.database import engine
from sandbox.background import SandboxServer
from tests.contract.aurorasendcloud_support import NAME
from tests.support.installation import ACCOUNT, Installation, recipient, turn, until
from tests.support.receiver import SECRET, Hooks, report
from worker.service import Service

Build = Callable[..., Installation]

KEY, NEW_KEY, WRONG_KEY = b"k" * 32, b"n" * 32, b"w" * 32

# Each in a place of its own, so that what leaks says where.
PLANTED = {
    "a recipient": "auro_usr_planted4711a",
    "a recipient of many": "auro_usr_planted4712a",
    "a recipient of the caller's transaction": "auro_usr_planted4713a",
    "a recipient of a broadcast": "auro_usr_planted4714a",
    "another recipient of the broadcast": "auro_usr_planted4715a",
    "who opted out": "auro_usr_planted4716a",
    "who writes": "auro_usr_planted4717a",
    "whom a report is about": "auro_usr_planted4718a",
    "an address": "planted4711@example.org",
    "a body": "Plantedbody4711",
    "a caption": "Plantedcaption4711",
    "a variable": "Plantedvariable4711",
    "a subject": "Plantedsubject4711",
    "a mail's body": "Plantedmail4711",
    "metadata": "Plantedmeta4711",
    "what a broadcast says": "Plantedsale4711",
    "a recipient's column": "Plantedname4711",
    "what somebody writes": "Plantedinbound4711",
    "what a profile says": "Plantedprofile4711",
    "what cannot be read": "Plantednonsense4711",
}
SENT = (
    "a body",
    "a caption",
    "a variable",
    "a subject",
    "a mail's body",
    "what a broadcast says",
    "a recipient's column",
)


def printed(*keys: bytes) -> str:
    """As a setting has them."""
    return ",".join(base64.b64encode(key).decode() for key in keys)


def installed(build: Build, sandbox: SandboxServer, *keys: bytes) -> Installation:
    """An account of Aurogy's and one for e-mail; content is encrypted under the first of the keys, if there is one."""
    content = f'[content]\nkey = "{printed(*keys)}"\n' if keys else ""
    mail = f"""
[accounts.mail-main]
provider = "aurorasendcloud-email"
base_url = "{sandbox.base_url(NAME)}"
api_user = "acme_api"
api_key = "k_demo"
sender = "news@mail.example.com"
poll.schedule = [600]
"""
    for provider in ("aurogy", NAME):
        sandbox.settings(provider, {"keep_bodies": True})
    return build(accounts=mail + content, webhook_secret=SECRET, poll={"schedule": [600]})


@contextmanager
def reopened(built: Installation, *keys: bytes) -> Iterator[tuple[Engine, Client]]:
    """The same database, for a process with these keys."""
    environ = {"PACELINE_CONTENT_KEY": printed(*keys)} if keys else {}
    lines = built.settings_file.read_text().partition("[content]")[0]
    file = built.settings_file.with_name("again.toml")
    file.write_text(lines)
    made = engine(resolve(file, environ=environ))
    try:
        with Client(file, environ=environ) as client:
            yield made, client
    finally:
        made.dispose()


@contextmanager
def replaced(built: Installation, opened: Engine) -> Iterator[None]:
    """The installation with this engine in the place of its own, for the services that are made inside."""
    own, built.engine = built.engine, opened
    try:
        yield
    finally:
        for service in built.services:
            service.close()
        built.services.clear()
        built.engine = own


def text(number: int) -> Text:
    """What `Installation.text` enqueues."""
    return Text(to=recipient(number), text="Your parcel leaves today.")


def everything(built: Installation, hooks: Hooks, directory: Path) -> Service:
    """Everything that puts content into the database, and a service that has sent what was to be sent."""
    client, service = built.client, built.service()
    client.suppress("aurogy", PLANTED["who opted out"])
    client.enqueue(
        Text(PLANTED["a recipient"], PLANTED["a body"]), via=ACCOUNT, idempotency_key="one",
        metadata={"order": PLANTED["metadata"]},
    )  # fmt: skip
    picture = Media(
        PLANTED["a recipient"], "https://e.org/a.jpg", media_type="image/jpeg", caption=PLANTED["a caption"]
    )
    template = Template(PLANTED["a recipient of many"], "order_confirmation", "en", {"name": PLANTED["a variable"]})
    done = client.enqueue_many([Outgoing(picture, ACCOUNT, "two"), Outgoing(template, ACCOUNT)])
    assert done.rejected == []
    mail = Email(PLANTED["an address"], PLANTED["a subject"], text=PLANTED["a mail's body"])
    with built.engine.begin() as connection:
        client.enqueue(mail, via="mail-main", session=connection)
        client.enqueue(Text(PLANTED["a recipient of the caller's transaction"], "x"), via=ACCOUNT, session=connection)
    file = directory / "people.csv"
    people = ("a recipient of a broadcast", "another recipient of the broadcast", "who opted out")
    name = PLANTED["a recipient's column"]
    rows = [f"{PLANTED[who]},{name}" for who in people]
    file.write_text("\n".join(["id,name", *rows, rows[0]]) + "\n")
    view = client.broadcast("sale", Text("{id}", f"{{name}}: {PLANTED['what a broadcast says']}"), file, ACCOUNT)
    assert (view.counts["suppressed"], view.counts["duplicates"], view.counts["messages"]) == (1, 1, 2)
    said = {"from": PLANTED["who writes"], "text": PLANTED["what somebody writes"]}
    assert hooks.post({"event": "message.received", "timestamp": "2026-04-13T14:30:02Z", "data": said}) == 200
    assert hooks.post(report("msg_nobodys", "delivered", PLANTED["whom a report is about"])) == 200
    assert hooks.post(f'{{"event": 1, "said": "{PLANTED["what cannot be read"]}"}}'.encode()) == 200
    client.start(ACCOUNT, "update_profile", description=PLANTED["what a profile says"])
    client.start(ACCOUNT, "conversations")  # which answers with whom there are some
    until(lambda: (turn(service), service.broadcasts.work(), _over(built))[-1])
    return service


def _over(built: Installation) -> bool:
    jobs = {row["status"] for row in built.rows("SELECT status FROM paceline_job")}
    return built.statuses().keys() == {"accepted"} and jobs <= {"done", "failed"}


def raw(built: Installation) -> bytes:
    """SQLite's files as they lie on the disk; nothing of PostgreSQL's, which are its own."""
    url = make_url(built.engine.url)
    files = [Path(f"{url.database}{end}") for end in ("", "-wal", "-shm")] if url.drivername == "sqlite" else []
    return b"".join(file.read_bytes() for file in files if file.exists())
