"""Augnet's callbacks, credentials and parts in the sandbox, against the worked example of its documentation."""

import base64
import json

import pytest

from sandbox.augnet.bodies import parts_of
from sandbox.augnet.callbacks import callback_body, plain_headers, signed_headers
from sandbox.augnet.message import Bill
from sandbox.augnet.projects import project_of, read_caller
from sandbox.augnet.settings import AugnetSettings, Callbacks, Project, key_of
from sandbox.call import json_body

PROJECT = "5f0c2d7e-9a41-4b1f-8f57-2c1b7e0a9d33"
SID = "0b9d2f64-7c11-4e0e-9a55-3f1b8a6c2d10"
URL = "https://hooks.example.com/webhooks/augnet?m=01HZX3"
KEY = b"sk_augnet_7Qm2xV9tLr"
SENT = 1578504297.0  # Wed, 08 Jan 2020 17:24:57 GMT
BODY = json_body(callback_body(SID, PROJECT, "ABCTAXI", "+447700900123", "delivered"))


def test_a_callback_is_written_byte_for_byte_like_the_example() -> None:
    assert len(BODY) == 243
    assert BODY == (
        b'{"SmsSid":"0b9d2f64-7c11-4e0e-9a55-3f1b8a6c2d10","SmsStatus":"delivered",'
        b'"AccountSid":"5f0c2d7e-9a41-4b1f-8f57-2c1b7e0a9d33","From":"ABCTAXI","To":"+447700900123",'
        b'"MessageStatus":"delivered","MessageSid":"0b9d2f64-7c11-4e0e-9a55-3f1b8a6c2d10"}'
    )


def test_it_is_signed_as_printed() -> None:
    headers = signed_headers(plain_headers(URL, SENT), URL, BODY, KEY, PROJECT)

    assert headers["Date"] == "Wed, 08 Jan 2020 17:24:57 GMT"
    assert headers["Host"] == "hooks.example.com"
    assert headers["Digest"] == "SHA-256=CwcWZtUyuT/F1GnVyQy01WLC0uPZLASL/G9iUx+5Ztk="
    assert headers["Authorization"] == (
        'Signature keyId="5f0c2d7e-9a41-4b1f-8f57-2c1b7e0a9d33",algorithm="hmac-sha256",'
        'headers="(request-target) date digest host",signature="/S86f2RM+hnu38X19V6gZqbi5KGxDp2baQA6ZG4Jj+k="'
    )


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://127.0.0.1:8085/hooks", "127.0.0.1:8085"),
        ("http://hooks.example.com:80/", "hooks.example.com"),
        ("https://hooks.example.com:443/", "hooks.example.com"),
        ("https://hooks.example.com:8443/", "hooks.example.com:8443"),
        ("http://[::1]:8085/", "[::1]:8085"),
    ],
)
def test_the_host_is_named_as_http_names_it(url: str, host: str) -> None:
    assert plain_headers(url, SENT)["Host"] == host


def test_the_two_words_can_differ() -> None:
    body = callback_body(SID, PROJECT, "A", "+1", "sent", "queued")

    assert (body["MessageStatus"], body["SmsStatus"]) == ("sent", "queued")


@pytest.mark.parametrize(
    ("text", "encoding", "key"),
    [("é", "utf8", "é".encode()), ("AP8=", "base64", b"\0\xff"), ("00ff", "hex", b"\0\xff")],
)
def test_a_key_is_what_its_text_stands_for(text: str, encoding: str, key: bytes) -> None:
    assert key_of(text, encoding) == key  # type: ignore[arg-type]  # one of three


@pytest.mark.parametrize(("text", "encoding"), [("A", "base64"), ("é", "base64"), ("0", "hex")])
def test_a_key_of_another_encoding_is_refused(text: str, encoding: str) -> None:
    with pytest.raises(ValueError, match=f"^a signing key is not {encoding}, as signing_key_encoding says$"):
        key_of(text, encoding)  # type: ignore[arg-type]  # one of two


def header(user: str) -> str:
    return "Basic " + base64.b64encode(user.encode()).decode()


def test_a_caller_is_known_by_project_and_key_and_named_without_the_key() -> None:
    settings = AugnetSettings(projects={PROJECT: Project(api_key="with:colons")})
    good, bad = read_caller(header(f"{PROJECT}:with:colons"), settings), read_caller(header(f"{PROJECT}:x"), settings)

    assert (good.known, bad.known) == (True, False)
    assert good.mark != bad.mark
    assert project_of(good.mark) == project_of(bad.mark) == PROJECT
    assert "colons" not in good.mark
    assert read_caller("", settings).mark == ""


def test_a_project_has_what_all_have_unless_it_has_its_own() -> None:
    own = Project(api_key="k", senders=("XYZ",), signing_key="")
    settings = AugnetSettings(
        projects={PROJECT: own, SID: Project(api_key="k")}, senders=("A*",), webhook=Callbacks(secret="of all")
    )

    assert [settings.is_whitelisted(project, "ABC") for project in (PROJECT, SID)] == [False, True]
    assert [settings.signing_key(project) for project in (PROJECT, SID, "")] == ["", "of all", "of all"]


@pytest.mark.parametrize(
    ("body", "documented", "gsm0338"),
    [("", 1, 1), ("x" * 161, 2, 2), ("ж" * 160, 1, 3), ("€" * 80, 1, 1), ("€" * 81, 1, 2), ("🐢" * 67, 1, 3)],
)
def test_parts_are_counted_in_two_ways(body: str, documented: int, gsm0338: int) -> None:
    assert (parts_of(body, "documented"), parts_of(body, "gsm0338")) == (documented, gsm0338)


def test_a_bill_counts_messages_parts_and_replaced_senders() -> None:
    bill = Bill()
    bill.add(2, replaced=True)
    bill.add(1, replaced=False)
    bill.add(2, replaced=False)

    said = {"messages": 3, "parts": 5, "replaced": 1, "by_parts": {"1": 1, "2": 2}}
    assert json.loads(json.dumps(bill.as_json())) == said
