"""HTTP signatures by draft-cavage-12: the worked example of Augnet's documentation, OpenSSL, and what must not pass."""

import base64
import hashlib
import hmac
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.http_signatures import (
    LONGEST,
    TARGET,
    Signature,
    Signed,
    age,
    has_digest,
    key_bytes,
    read,
    signing_string,
    verify,
)
from tests.unit.augnet_support import (
    BODY,
    COVERED,
    DIGEST,
    EXAMPLE,
    KEY,
    PARAMETERS,
    PROJECT,
    SENT,
    SIGNATURE,
    authorization,
)


def genuine(request: Signed, key: bytes = KEY, key_id: str = PROJECT) -> bool:
    return verify(request, key, key_id, COVERED)


def with_headers(**headers: str) -> Signed:
    return replace(EXAMPLE, headers={**EXAMPLE.headers, **headers})


def with_parameters(**parameters: str) -> Signed:
    return with_headers(authorization=authorization({**PARAMETERS, **parameters}))


def openssl(key: bytes, text: bytes) -> str:
    """The HMAC by a second implementation, in base64."""
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key.hex()}", "-binary"]
    return base64.b64encode(subprocess.run(command, input=text, capture_output=True, check=True).stdout).decode()


def test_the_worked_example_is_genuine() -> None:
    text = signing_string(COVERED, EXAMPLE)

    assert len(BODY) == 243
    assert text is not None
    assert len(text) == 169
    assert text.decode() == (
        "(request-target): post /webhooks/augnet?m=01HZX3\ndate: Wed, 08 Jan 2020 17:24:57 GMT\n"
        f"digest: {DIGEST}\nhost: hooks.example.com"
    )
    assert openssl(KEY, text) == SIGNATURE
    assert genuine(EXAMPLE)


@pytest.mark.parametrize(
    "forged",
    [
        replace(EXAMPLE, method="PUT"),
        replace(EXAMPLE, target="/webhooks/augnet?m=01HZX4"),
        replace(EXAMPLE, target="/webhooks/augnet"),
        replace(EXAMPLE, target="/webhooks/augnet?m=01HZX3&"),
        replace(EXAMPLE, target="/webhooks/%61ugnet?m=01HZX3"),  # the same path, and other bytes
        replace(EXAMPLE, body=BODY + b" "),
        replace(EXAMPLE, body=b""),
        with_headers(host="hooks.example.org"),
        with_headers(date="Wed, 08 Jan 2020 17:24:58 GMT"),
        with_headers(digest="SHA-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        with_headers(digest=DIGEST.removeprefix("SHA-256=")),
        with_headers(authorization=""),
        with_headers(authorization=f"Basic {SIGNATURE}"),
        with_headers(authorization=f'Signature signature="{SIGNATURE}"'),
        with_parameters(keyId=PROJECT.replace("5f0c", "5f0d")),
        with_parameters(algorithm="hmac-sha512"),
        with_parameters(algorithm="HMAC-SHA256"),
        with_parameters(algorithm="hs2019"),
        with_parameters(signature=""),
        with_parameters(signature=SIGNATURE.rstrip("=")),
        with_parameters(signature=SIGNATURE.replace("/", "_").replace("+", "-")),  # the URL's alphabet
        with_parameters(signature="é" * 44),
        with_parameters(headers="(request-target) date host digest"),  # the order is signed too
        with_parameters(headers="(request-target)  date digest host x-more"),
        with_parameters(headers=""),
    ],
)
def test_a_request_that_differs_in_anything_is_not(forged: Signed) -> None:
    assert not genuine(forged)


@pytest.mark.parametrize("missing", ["host", "date", "digest", "authorization"])
def test_a_signed_header_that_is_not_there_spoils_it(missing: str) -> None:
    headers = {name: value for name, value in EXAMPLE.headers.items() if name != missing}

    assert not genuine(replace(EXAMPLE, headers=headers))


@pytest.mark.parametrize(("key", "key_id"), [(b"", PROJECT), (KEY + b"x", PROJECT), (KEY, "another")])
def test_another_key_or_id_made_no_such_signature(key: bytes, key_id: str) -> None:
    assert not genuine(EXAMPLE, key, key_id)


def test_nothing_is_signed_with_an_empty_key() -> None:
    text = signing_string(COVERED, EXAMPLE)
    assert text is not None

    # HMAC has a value for an empty key, which anybody can compute.
    assert not genuine(with_parameters(signature=_hmac(b"", text)), b"")


def _hmac(key: bytes, text: bytes) -> str:
    return base64.b64encode(hmac.digest(key, text, "sha256")).decode()


@pytest.mark.parametrize("left_out", COVERED)
def test_a_good_signature_over_too_little_is_no_good(left_out: str) -> None:
    names = [name for name in COVERED if name != left_out]
    text = signing_string(names, EXAMPLE)
    assert text is not None
    signed = with_parameters(headers=" ".join(names), signature=_hmac(KEY, text))

    assert verify(signed, KEY, PROJECT, names)
    assert not genuine(signed)


def test_more_headers_may_be_signed_in_any_order_and_repeated_ones_are_joined() -> None:
    request = with_headers(**{"x-trace": "  a, b\t", "x-empty": ""})
    names = ("x-trace", "host", "x-empty", "digest", TARGET, "date")
    text = signing_string(names, request)
    assert text is not None
    assert text.startswith(b"x-trace: a, b\nhost: hooks.example.com\nx-empty: \ndigest: ")
    parameters = {**PARAMETERS, "headers": " ".join(names), "signature": openssl(KEY, text)}

    assert genuine(replace(request, headers={**request.headers, "authorization": authorization(parameters)}))


def test_header_names_are_signed_in_lower_case() -> None:
    assert genuine(with_parameters(headers="(request-target) Date Digest Host"))


@pytest.mark.parametrize(
    "order", [("signature", "headers", "algorithm", "keyId"), ("algorithm", "keyId", "signature", "headers")]
)
def test_parameters_come_in_any_order_and_spacing(order: tuple[str, ...]) -> None:
    shuffled = {name: PARAMETERS[name] for name in order}

    assert genuine(with_headers(authorization=authorization(shuffled)))
    assert genuine(with_headers(authorization=authorization(shuffled).replace('",', '" ,  ')))


def test_unknown_and_malformed_parameters_are_ignored_and_doubled_ones_spoil_all() -> None:
    good = authorization(PARAMETERS)

    assert genuine(with_headers(authorization=good + ',created=1402170695,opaque="a,b",,=,"x"'))
    assert genuine(with_headers(authorization="signature" + good.removeprefix("Signature")))
    assert read(good + f',keyId="{PROJECT}"') is None
    assert read(good + ',KEYID="another"') is None
    assert read(good.replace("Signature ", "Signature")) is None
    assert read(good + "," * LONGEST) is None


def test_a_header_is_read_into_its_parameters() -> None:
    assert read(authorization(PARAMETERS)) == Signature(PROJECT, "hmac-sha256", COVERED, SIGNATURE)
    assert SIGNATURE not in repr(read(authorization(PARAMETERS)))
    assert PROJECT not in repr(EXAMPLE)


@pytest.mark.parametrize(
    ("header", "holds"),
    [
        (DIGEST, True),
        (DIGEST.replace("SHA-256", "sha-256"), True),
        (f"MD5=abc, {DIGEST}", True),
        (f"{DIGEST}, {DIGEST}", True),
        (f"{DIGEST}, SHA-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", False),
        ("", False),
        ("SHA-256", False),
        ("SHA-256=", False),
        (DIGEST.replace("SHA-256", "SHA-512"), False),
        ("SHA-256=é", False),
    ],
)
def test_the_digest_is_of_the_raw_body(header: str, holds: bool) -> None:
    assert has_digest(header, BODY) is holds


@pytest.mark.parametrize(
    ("text", "encoding", "key"),
    [
        ("sk_augnet", "utf8", b"sk_augnet"),
        ("schlüssel", "utf8", "schlüssel".encode()),
        ("c2tfYXVnbmV0", "base64", b"sk_augnet"),
        ("736b5f6175676e6574", "hex", b"sk_augnet"),
        ("not base64!", "base64", b""),
        ("c2tfYXVnbmV", "base64", b""),
        ("schlüssel", "base64", b""),
        ("xyz", "hex", b""),
    ],
)
def test_a_key_is_what_its_text_stands_for(text: str, encoding: str, key: bytes) -> None:
    assert key_bytes(text, encoding) == key


@pytest.mark.parametrize(
    ("date", "seconds"),
    [("Wed, 08 Jan 2020 17:24:57 GMT", 0.0), ("Wed, 08 Jan 2020 17:19:57 GMT", 300.0), ("yesterday", None), ("", None)],
)
def test_age_is_counted_from_the_date_header(date: str, seconds: float | None) -> None:
    assert age(with_headers(date=date), SENT) == seconds


printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)


@settings(max_examples=30)
@given(
    key=st.binary(min_size=1, max_size=40),
    path=st.text("abc/%20é._-~", max_size=20),
    query=printable,
    host=printable,
    body=st.binary(max_size=200),
)
def test_any_signature_is_openssls(key: bytes, path: str, query: str, host: str, body: bytes) -> None:
    """Built by hand and signed by a second implementation, for any bytes."""
    target, digest = f"/{path}?{query}", "SHA-256=" + base64.b64encode(hashlib.sha256(body).digest()).decode()
    text = f"host: {host.strip()}\n(request-target): post {target}\ndigest: {digest}\ndate: today".encode("latin-1")
    parameters = {**PARAMETERS, "headers": f"host {TARGET} digest date", "signature": openssl(key, text)}
    headers = {"host": host, "digest": digest, "date": "today", "authorization": authorization(parameters)}
    request = Signed("POST", target, headers, body)

    assert verify(request, key, PROJECT, COVERED)
    assert not verify(replace(request, body=body + b"x"), key, PROJECT, COVERED)
    assert not verify(replace(request, target=target + "x"), key, PROJECT, COVERED)
    assert not verify(request, key + b"x", PROJECT, COVERED)


@given(header=st.text(max_size=200) | st.text('Signature keyId="a",= ', max_size=200).map("Signature ".__add__))
def test_no_header_makes_it_raise(header: str) -> None:
    assert not genuine(with_headers(authorization=header))
    assert not genuine(with_headers(digest=header))
    age(with_headers(date=header), SENT)
