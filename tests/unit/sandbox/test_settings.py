"""Settings: read strictly, changed in part, refused in one sentence."""

from pathlib import Path
from typing import Any

import pytest

from sandbox.aurogy import AurogySettings
from sandbox.model import SettingsError
from sandbox.settings import changed, load_settings, parse_settings
from sandbox.windows import Limit


def test_nothing_given_is_what_the_reference_says() -> None:
    own = parse_settings({}).providers["aurogy"]
    assert isinstance(own, AurogySettings)
    assert {group: str(limit) for group, limit in own.ratelimit.by_group().items()} == {
        "send": "100/60s",
        "status": "300/60s",
        "conversations": "60/60s",
        "profile": "10/60s",
        "profile_read": "60/60s",
    }
    assert own.ratelimit.window == "fixed"
    assert own.webhook.retry_delays == (10.0, 60.0, 300.0)
    assert own.webhook.ack_statuses == ()
    assert own.metadata.max_len == 256
    assert own.media.max_bytes == 100 * 1024 * 1024


def test_a_toml_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "sandbox.toml"
    file.write_text(
        "seed = 7\nkeepalive = 2\n"
        '[aurogy.ratelimit]\nsend = "60/10s"\nwindow = "sliding"\n'
        '[[aurogy.faults]]\nkind = "status"\nstatus = 503\ncount = 2\n'
    )
    settings = load_settings(file)
    own = settings.providers["aurogy"]
    assert isinstance(own, AurogySettings)
    assert (settings.seed, settings.keepalive) == (7, 2.0)
    assert (own.ratelimit.send, own.ratelimit.window) == (Limit(60, 10.0), "sliding")
    assert [(fault.kind, fault.count) for fault in own.faults] == [("status", 2)]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"sead": 1}, r"settings\.sead: Extra inputs"),
        ({"providers": {}}, r"settings\.providers"),
        ({"aurogy": {"ratelimit": {"send": "100"}}}, r"aurogy\.ratelimit\.send: .*a limit is"),
        ({"aurogy": {"webhook": {"url": "ftp://x"}}}, r"aurogy\.webhook\.url"),
        ({"aurogy": {"lifecycle": {"read_share": 2}}}, r"aurogy\.lifecycle\.read_share"),
        ({"aurogy": {"paths": {"status": "/messages"}}}, r"aurogy\.paths\.status"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(data: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        parse_settings(data)


def test_a_file_that_cannot_be_used_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.toml cannot be read: No such file"):
        load_settings(tmp_path / "missing.toml")
    (tmp_path / "bad.toml").write_text("seed = ")
    with pytest.raises(SettingsError, match=r"bad\.toml is not TOML"):
        load_settings(tmp_path / "bad.toml")


def test_a_change_touches_what_it_names_and_null_brings_the_default_back() -> None:
    own = parse_settings({"aurogy": {"webhook": {"url": "http://a/", "timeout": 2}}}).providers["aurogy"]
    patched = changed("aurogy", own, {"webhook": {"timeout": None}, "templates": {"extra": {"approved": False}}})
    assert isinstance(patched, AurogySettings)
    assert (patched.webhook.url, patched.webhook.timeout) == ("http://a/", 5.0)
    assert set(patched.templates) == {"order_confirmation", "extra"}
    assert own.webhook.timeout == 2.0


@pytest.mark.parametrize("patch", [[], {"faults": []}, {"webhook": {"urll": "http://a/"}}])
def test_a_change_that_makes_no_sense_is_refused(patch: object) -> None:
    own = parse_settings({}).providers["aurogy"]
    with pytest.raises(SettingsError, match="aurogy"):
        changed("aurogy", own, patch)
