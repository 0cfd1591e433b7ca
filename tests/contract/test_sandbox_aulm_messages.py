"""The sandbox as aulm: what a message may hold, each field at its limit and one beyond."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox import SandboxServer
from tests.contract.sandbox_aulm_support import SESSION, TO, failed, fresh, image, send, still, text


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with still() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
    return fresh(server)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"session_id":'])
def test_what_is_not_json_is_invalid_json(sandbox: SandboxServer, body: bytes) -> None:
    assert failed(send(sandbox, body)) == (400, "invalid_json")


@pytest.mark.parametrize("to", ["+1234567", "+123456789012345", TO])
def test_a_number_in_e164_is_taken(sandbox: SandboxServer, to: str) -> None:
    assert send(sandbox, text(to=to)).status == 201


@pytest.mark.parametrize(
    "data",
    [
        [],
        "text",
        {},
        text(session_id="main"),
        text(session_id=7),
        text(body=""),
        text(body="x" * 4097),
        text(body=7),
        text(body=None),
        text(metadata={}),
        {"session_id": SESSION, "to": TO},
        *(
            text(to=to)
            for to in (
                "966512345678",
                "+966 512345678",
                "+0966512345678",
                "+123456",
                "+1234567890123456",
                "966512345678@c.us",
                "+966512345678\n",
                7,
                None,
            )
        ),
    ],
)
def test_a_body_that_breaks_a_rule_is_an_invalid_request(sandbox: SandboxServer, data: object) -> None:
    assert failed(send(sandbox, data)) == (400, "invalid_request")


def test_a_text_at_its_limit_is_taken(sandbox: SandboxServer) -> None:
    assert send(sandbox, text(body="🐢" * 4096)).status == 201


def data_uri(size: int, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(bytes(size)).decode()}"


MOST = 5 * 1024 * 1024


@pytest.mark.parametrize(
    "data",
    [
        image(caption="x" * 1024),
        image(image="https://93.184.216.34/a"),
        image(image="https://cdn.example.com:8443/a.webp?b"),
        *(image(image=data_uri(3, f"image/{kind}")) for kind in ("jpeg", "png", "webp", "gif")),
        image(image=data_uri(MOST)),
    ],
    ids=lambda data: data["image"][:40],
)
def test_an_image_at_its_limits_is_taken(sandbox: SandboxServer, data: dict[str, Any]) -> None:
    assert send(sandbox, data, action="send-image").status == 201


@pytest.mark.parametrize(
    "data",
    [
        image(caption="x" * 1025),
        image(image=data_uri(MOST + 1)),
        image(image=data_uri(3, "image/tiff")),
        image(image=data_uri(0)),
        image(image="data:image/png,raw"),
        image(image="data:image/png;base64,A"),
        image(image="https://cdn.example.com/film.mp4"),
        image(image="https://cdn.example.com/huge.png"),
        image(media_type="image/png"),
        *(
            image(image=url)
            for url in (
                "",
                "http://cdn.example.com/a.png",
                "ftp://cdn.example.com/a.png",
                "https://",
                "https:///a.png",
                "https://cdn.example.com/a b.png",
                "https://cdn.example.com:port/a.png",
                "https://localhost/a.png",
                "https://app.localhost/a.png",
                "https://127.0.0.1/a.png",
                "https://127.1/a.png",
                "https://0x7f000001/a.png",
                "https://2130706433/a.png",
                "https://10.1.2.3/a.png",
                "https://172.31.0.1/a.png",
                "https://192.168.0.1/a.png",
                "https://169.254.169.254/latest/meta-data",
                "https://100.64.0.1/a.png",
                "https://0.0.0.0/a.png",
                "https://224.0.0.1/a.png",
                "https://[::1]/a.png",
                "https://[fe80::1]/a.png",
                "https://[fd00::1]/a.png",
                "https://[::ffff:10.0.0.1]/a.png",
                "https://[2002:7f00:1::]/a.png",
                "https://127%2e0.0.1/a.png",
                "https://cdn.example.7/a.png",
                "https://intranet/a.png",
                "https://db.internal/a.png",
                "https://private.example.com/a.png",
            )
        ),
    ],
    ids=lambda data: data["image"][:60],
)
def test_any_other_image_is_an_invalid_request(sandbox: SandboxServer, data: dict[str, Any]) -> None:
    sandbox.settings("aulm", {"image": {"sizes": {"huge.png": MOST + 1}}})
    assert failed(send(sandbox, data, action="send-image")) == (400, "invalid_request")


def test_image_size_basis_and_types_are_settings(sandbox: SandboxServer) -> None:
    uri = data_uri(30, "image/heic")
    assert failed(send(sandbox, image(image=uri), action="send-image")) == (400, "invalid_request")
    sandbox.settings("aulm", {"image": {"types": ["image/heic"], "max_bytes": 30}})
    assert send(sandbox, image(image=uri), action="send-image").status == 201
    sandbox.settings("aulm", {"image": {"basis": "text"}})
    assert failed(send(sandbox, image(image=uri), action="send-image")) == (400, "invalid_request")
