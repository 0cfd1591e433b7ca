"""What a pattern cannot say: public URLs, data URIs, addresses."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.forms import FORMS, data_uri, decoded, email, emails, phone, public_url, public_url_or_data, size

PRIVATE = "must be a URL of a public host, not of a private or loopback address"


@pytest.mark.parametrize(
    "url",
    [
        "https://cdn.example.com/a.pdf",
        "https://cdn.example.com:8443/a?b=c&d=%20#e",
        "HTTPS://CDN.EXAMPLE.COM",
        "https://cdn.example.com./a",
        "https://xn--bcher-kva.example.com/",
        "https://my_bucket.s3.example.com/",
        "https://1e100.net/",
        "https://8.8.8.8/a",
        "https://[2606:4700::1111]/a",
        "https://[::ffff:8.8.8.8]/",
    ],
)
def test_a_public_url_is_good(url: str) -> None:
    assert public_url(url) is None


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "printer.local",
        "db.internal",
        "nas.lan",
        "home.arpa",
        "x.home.arpa",
        "redis",
        "redis.",
        "127.0.0.1",
        "127.0.0.1.",
        "127.255.255.254",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",  # a cloud's metadata
        "100.64.0.1",
        "100.127.255.255",
        "198.18.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        # As C resolves addresses.
        "2130706433",
        "0x7f000001",
        "0x7F.1",
        "0177.0.0.1",
        "017700000001",
        "127.1",
        "127.0.1",
        "010.0.0.1",
        "0x",
        "1.2.3.4.5",
        "a.0x7f000001",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[2606:4700::1111%25eth0]",
        "[fc00::1]",
        "[fd12:3456::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[2001:db8::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:10.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[::ffff:100.64.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        # What others may resolve otherwise.
        "127%2e0.0.1",
        "127.0.0.1%00.example.com",
        "-a.example.com",
        "a..example.com",
        "a,b.example.com",
        "a." * 130 + "com",
    ],
)
def test_a_host_that_is_not_public_is_refused(host: str) -> None:
    assert public_url(f"https://{host}/a") == PRIVATE
    assert public_url(f"https://{host}:8443") == PRIVATE


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://cdn.example.com/", "must be an https:// URL"),
        ("ftp://cdn.example.com/", "must be an https:// URL"),
        ("//cdn.example.com/", "must be an https:// URL"),
        ("cdn.example.com", "must be an https:// URL"),
        ("https://", "must be an https:// URL"),
        ("https:///a", "must be an https:// URL"),
        ("https:cdn.example.com", "must be an https:// URL"),
        ("", "must be an https:// URL"),
        ("https://user@cdn.example.com/", "must be a URL without a user name and password"),
        ("https://user:secret@cdn.example.com/", "must be a URL without a user name and password"),
        ("https://@cdn.example.com/", "must be a URL without a user name and password"),
        ("https://cdn.example.com@127.0.0.1/", "must be a URL without a user name and password"),
        ("https://cdn.example.com:port/", "must be a URL"),
        ("https://cdn.example.com:70000/", "must be a URL"),
        ("https://[::1/", "must be a URL"),
        ("https://[cdn.example.com]/", "must be a URL"),
    ],
)
def test_what_is_no_https_url_is_refused_by_its_rule(url: str, rule: str) -> None:
    assert public_url(url) == rule


@pytest.mark.parametrize(
    "character", [" ", "\t", "\n", "\r", "\x00", "\x7f", "\\", '"', "<", ">", "`", "é", "。", "\uff11"]
)
def test_a_character_that_clients_read_differently_is_refused(character: str) -> None:
    rule = "must be a URL without spaces or characters that need escaping"

    assert public_url(f"https://cdn.example.com/a{character}") == rule
    assert public_url(f"https://cdn{character}.example.com/") == rule


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("data:image/png;base64,aGk=", ("image/png", b"hi")),
        ("DATA:Image/PNG;BASE64,aGk=", ("image/png", b"hi")),
        ("data:application/vnd.ms-excel;base64,", ("application/vnd.ms-excel", b"")),
        ("data:image/png;base64,aGk", None),
        ("data:image/png;base64,aG k=", None),
        ("data:image/png;base64,aGk=\n", None),
        ("data:image/png;base64,a-k_", None),
        ("data:image/png,hi", None),
        ("data:;base64,aGk=", None),
        ("https://cdn.example.com/", None),
    ],
)
def test_a_data_uri_holds_a_type_and_bytes(value: str, found: tuple[str, bytes] | None) -> None:
    assert data_uri(value) == found


def test_a_url_or_data_is_judged_as_what_it_is() -> None:
    assert public_url_or_data("data:image/png;base64,aGk=") is None
    assert public_url_or_data("https://cdn.example.com/") is None
    assert public_url_or_data("Data:image/png;base64,?") == "must be a data URI such as data:image/png;base64,…"
    assert public_url_or_data("https://127.0.0.1/") == PRIVATE


@given(content=st.binary(max_size=100))
def test_size_is_what_is_held(content: bytes) -> None:
    text = base64.b64encode(content).decode()

    assert size(f"data:image/png;base64,{text}") == len(content)
    assert decoded(text) == content


@pytest.mark.parametrize(("value", "bytes_"), [("", 0), ("abc", 3), ("é", 2), ("🐢", 4), ("data:no", 7)])
def test_of_any_other_text_it_is_the_utf8(value: str, bytes_: int) -> None:
    assert size(value) == bytes_


@pytest.mark.parametrize("value", ["aGk", "aG k=", "****", "a" * 5])
def test_what_is_no_base64_has_no_bytes(value: str) -> None:
    assert decoded(value) is None


@pytest.mark.parametrize(
    "value", ["ana@example.org", "a.b+c@mail.example.org", "ana@xn--bcher.example", "ä@ö.example", "x" * 64 + "@a.org"]
)
def test_an_address_is_good(value: str) -> None:
    assert email(value) is None
    assert emails(f"{value}; {value}") is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "ana",
        "@example.org",
        "ana@",
        "ana@example",
        "ana@example.",
        "ana@.org",
        "ana@a..org",
        "ana@b@example.org",
        "ana example@a.org",
        "ana@exa mple.org",
        "Ana <ana@example.org>",
        "ana@example.org,bob@example.org",
        "ana@example.org\nBcc: bob@example.org",
        "ana@example.org\n",
        "a\x01na@example.org",
        "ana@exa\x01mple.org",
        "ana@exa\x7fmple.org",
        "x" * 65 + "@a.org",
        "ana@" + "a." * 127 + "org",
    ],
)
def test_what_is_no_address_is_refused(value: str) -> None:
    assert email(value) == "must be an e-mail address such as ana@example.org"
    assert emails(f"ana@example.org;{value}") is not None


@pytest.mark.parametrize("value", ["+447700900123", "+1234567", "+123456789012345"])
def test_a_number_is_good(value: str) -> None:
    assert phone(value) is None


@pytest.mark.parametrize(
    "value",
    ["", "+", "447700900123", "+0447700900123", "+123456", "+1234567890123456", "+44 7700 900123", "+٤٤٧٧٠٠٩٠٠"],
)
def test_what_is_no_number_is_refused(value: str) -> None:
    assert phone(value) == "must be a phone number in E.164, such as +447700900123"


def test_forms_go_by_their_names() -> None:
    assert set(FORMS) >= {"public_url", "public_url_or_data", "email", "emails", "phone"}


@given(st.text(max_size=60).map("https://".__add__) | st.text("https:/[]@.%0x19af#?", max_size=30))
def test_no_text_makes_it_raise(value: str) -> None:
    for form in FORMS.values():
        form(value)
    size(value)
