"""The examples do what their first lines say, on SQLite and on PostgreSQL."""

import ast
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from celery import Celery
from sqlalchemy import URL

import paceline
from examples import every_name
from paceline import CallFailed, Client, Text
from paceline.testing import InMemoryClient
from tests.acceptance.commands_support import RECIPIENT, ROOT
from tests.acceptance.shop_support import SOON, ServiceForShops, answers, output_of, running
from tests.support.installation import until
from tests.support.ports import free_port

A_PHONE_NUMBER = "+15550100"  # which Aurogy does not take


def test_ten_lines_send_a_message_once(service: ServiceForShops) -> None:
    # given an application of ten lines that is run twice
    command = [sys.executable, "examples/plain.py"]
    environment = service.environment()
    first, again = (output_of(command, ROOT, environment).split() for _ in range(2))

    # then both speak of the same message, and it is sent once
    assert first[1] == "queued"
    assert first[0] == again[0]
    service.accepted(first[0])


@contextmanager
def web(service: ServiceForShops, module: str, *arguments: str, **environment: str) -> Iterator[httpx.Client]:
    """An example that serves, and a client of it."""
    port = free_port()
    command = [sys.executable, "-m", module, *(each.format(port=port) for each in arguments)]
    log = service.directory / "web.log"
    with (
        running(command, log, cwd=ROOT, env=service.environment(**environment)) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=SOON) as client,
    ):
        until(lambda: answers(port) or process.poll() is not None, SOON)
        assert process.poll() is None, log.read_text()
        yield client


def test_fastapi_stores_an_order_and_its_message_together(service: ServiceForShops) -> None:
    with web(service, "uvicorn", "examples.fastapi_app:app", "--port", "{port}") as client:
        # when one order is right and one is for somebody whom the account cannot reach
        placed = client.post("/orders", params={"customer": RECIPIENT, "item": "tea"})
        refused = client.post("/orders", params={"customer": A_PHONE_NUMBER, "item": "tea"})

        # then the first is stored and sent, and of the other nothing is left
        assert placed.status_code == 201, placed.text
        service.accepted(placed.json()["message"])
        assert (refused.status_code, refused.json()["detail"].partition(":")[0]) == (422, "to")
        assert service.rows('SELECT customer FROM "order"') == [RECIPIENT]

        # and the application shows where the message stands
        shown = client.get(f"/messages/{placed.json()['message']}").json()
        assert (shown["status"], shown["via"]) == ("accepted", "aurogy-main")
        assert client.get("/messages/none").status_code == 404


def test_django_stores_an_order_and_its_message_together(service: ServiceForShops) -> None:
    arguments = ("runserver", "{port}", "--noreload")
    with web(service, "examples.django_app", *arguments, **django_database(service.built.engine.url)) as client:
        placed = client.post("/orders", data={"customer": RECIPIENT, "item": "tea"})
        refused = client.post("/orders", data={"customer": A_PHONE_NUMBER, "item": "tea"})

        assert placed.status_code == 201, placed.text
        service.accepted(placed.json()["message"])
        assert (refused.status_code, refused.json()["detail"].partition(":")[0]) == (422, "to")
        assert service.rows("SELECT customer FROM shop_order") == [RECIPIENT]


def django_database(url: URL) -> dict[str, str]:
    """How Django is told of the same database."""
    if url.get_backend_name() == "sqlite":
        return {"DATABASE_NAME": str(url.database)}
    told = {"PGHOST": url.query.get("host") or url.host, "PGUSER": url.username, "PGPASSWORD": url.password}
    given = {name: str(value) for name, value in told.items() if value}
    return {"DATABASE_ENGINE": "django.db.backends.postgresql", "DATABASE_NAME": str(url.database), **given}


def test_a_celery_task_that_runs_twice_sends_once(service: ServiceForShops) -> None:
    command = [sys.executable, "-m", "celery", "-A", "examples.celery_app", "worker", "-P", "solo", "-l", "warning"]
    environment = service.environment(PYTHONWARNINGS="ignore")
    with (
        Celery("anybody", broker=service.broker_url) as app,
        running(command, service.directory / "shop.log", cwd=ROOT, env=environment),
    ):
        # when the same order is shipped twice
        for _ in range(2):
            app.send_task("shop.ship", args=[17, RECIPIENT])

        # then the customer hears of it once
        service.accepted(key="order-17-shipped")
        log = service.directory / "shop.log"
        assert RECIPIENT not in log.read_text()


def test_asyncio_enqueues_in_its_own_session_and_in_a_thread(service: ServiceForShops) -> None:
    url = service.built.engine.url
    drivers = ["sqlite+aiosqlite"] if service.on_sqlite else ["postgresql+psycopg", "postgresql+asyncpg"]
    for order, driver in enumerate(drivers):
        address = url.set(drivername=driver).render_as_string(hide_password=False)
        environment = service.environment() | {"DATABASE_URL": address}

        sent = output_of([sys.executable, "-m", "examples.async_producer", str(order)], ROOT, environment).split()

        for message in sent:
            service.accepted(message)
        assert len(sent) == 2
    assert service.rows("SELECT id FROM purchase ORDER BY id") == list(range(len(drivers)))


def test_every_public_name_does_what_the_example_says(service: ServiceForShops) -> None:
    with Client(database_url=service.database_url, broker_url=service.broker_url, environ={}) as client:
        use_every_name(client, carried=3)  # Aurogy carries no e-mail


def test_and_so_it_does_with_the_client_that_is_for_tests() -> None:
    client = InMemoryClient()
    use_every_name(client, carried=4)

    client.answers("conversations", {"conversations": [], "next_cursor": None, "has_more": False})
    assert every_name.unread(client, "aurogy-main") == "0 conversations are unread."
    client.answers("conversations", CallFailed("job", "conversations", "failed", "forbidden"))
    assert every_name.unread(client, "aurogy-main") == "Aurogy would not say: forbidden."


def use_every_name(client: Client, carried: int) -> None:
    reminder = every_name.remind(client, "aurogy-main")
    assert every_name.remind(client, "aurogy-main").replayed
    assert every_name.describe(client, reminder.id) == client.status(reminder.id).waiting_for
    assert every_name.forget(client, reminder.id)
    assert not every_name.forget(client, "none")

    assert every_name.announce(client, "aurogy-main") == carried
    say, text = every_name.enqueue_or_say_why_not, Text(to=RECIPIENT, text="Hello!")
    assert say(client, text, "aurogy-main", "k") == "On its way."
    assert say(client, text, "aurogy-main", "k") == "Already on its way."
    assert say(client, Text(to=RECIPIENT, text="Bye!"), "aurogy-main", "k") == "This key belongs to another message."
    assert every_name.found(client, every_name.refresh(client, "aurogy-main")) is not None
    assert every_name.found(client, "none") is None

    people = [{"id": RECIPIENT, "first_name": "Ada"}]
    assert every_name.sale(client, "aurogy-main", [{"id": RECIPIENT}]) is None
    view = every_name.sale(client, "aurogy-main", people)
    assert view is not None
    assert (view.name, view.counts["messages"]) == ("spring-sale", 1)
    assert every_name.stop(client, "spring-sale")
    assert not every_name.stop(client, "none")


def test_the_example_uses_every_public_name() -> None:
    tree = ast.parse((ROOT / "examples/every_name.py").read_text())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "paceline"
        for alias in node.names
    }
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}

    assert imported & used == set(paceline.__all__)
