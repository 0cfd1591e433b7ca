"""Encryption at rest by commands: switched on, read with the key and without, and brought under a new one."""

import base64
from pathlib import Path

import pytest

from tests.acceptance.commands_support import ACCOUNT, RECIPIENT, configure, paceline

OLD, NEW = (base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))
KEY = "PACELINE_CONTENT_KEY"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    configure(tmp_path, 'base_url = "https://api.example/v1"\napi_key = "auro_test_sk_0123456789abcdef"\n')
    return tmp_path


def sent(directory: Path, **environment: str) -> str:
    done = paceline(
        directory, "send", ACCOUNT, "--to", RECIPIENT, "--text", "Hi", "--metadata", "order=4821", **environment
    )
    assert done.code == 0, done.err
    return done.out.strip()


def test_a_key_is_given_used_replaced_and_taken_away(directory: Path) -> None:
    """Given a message in the clear, when a key comes and then another, then it can be read with the newest alone."""
    assert paceline(directory, "migrate").code == 0
    message = sent(directory)

    # A key of which the installation knows nothing yet.
    early = paceline(directory, "send", ACCOUNT, "--to", RECIPIENT, "--text", "Hi", **{KEY: OLD})
    assert (early.code, early.err.count("\n")) == (1, 1)
    assert "run `paceline migrate` with it" in early.err

    assert paceline(directory, "migrate", **{KEY: OLD}).code == 0
    assert paceline(directory, "encrypt", **{KEY: OLD}).out.startswith("Values encrypted: 1.")
    assert paceline(directory, "show", message, "--json", **{KEY: OLD}).json["metadata"] == {"order": "4821"}
    for command in (["show", message], ["list"], ["lanes"], ["jobs", "list"], ["suppressions", "list"]):
        shown = paceline(directory, *command, "--json")
        assert "Traceback" not in shown.err
        assert "4821" not in shown.out
    assert paceline(directory, "show", message, "--json").json["metadata"] == {"content": "(encrypted)"}
    refused = paceline(directory, "send", ACCOUNT, "--to", RECIPIENT, "--text", "Hi")
    assert (refused.code, refused.out) == (1, "")
    assert "content is encrypted: PACELINE_CONTENT_KEY, or content.key, must hold the key" in refused.err

    assert paceline(directory, "migrate", **{KEY: f"{NEW},{OLD}"}).code == 0
    assert paceline(directory, "migrate", **{KEY: NEW}).code == 1
    assert "Values encrypted: 1." in paceline(directory, "encrypt", **{KEY: f"{NEW},{OLD}"}).out
    assert paceline(directory, "migrate", **{KEY: NEW}).code == 0
    assert paceline(directory, "show", message, "--json", **{KEY: NEW}).json["metadata"] == {"order": "4821"}
    assert sent(directory, **{KEY: NEW})
    for file in (directory / ".paceline").glob("paceline.db*"):
        assert RECIPIENT.encode() not in file.read_bytes()


def test_without_a_key_there_is_nothing_to_encrypt_with(directory: Path) -> None:
    done = paceline(directory, "encrypt")

    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "There is no content key: set PACELINE_CONTENT_KEY" in done.err


@pytest.mark.parametrize("command", [["list"], ["migrate"], ["doctor"], ["send", ACCOUNT, "--to", "x", "--text", "y"]])
def test_a_key_that_is_none_is_one_sentence_that_does_not_quote_it(directory: Path, command: list[str]) -> None:
    done = paceline(directory, *command, **{KEY: "not-a-key"})

    assert done.code == 1
    said = done.err + done.out
    assert "the environment variable PACELINE_CONTENT_KEY: must hold keys of 32 bytes in base64" in said
    assert "not-a-key" not in said
    assert "Traceback" not in said
