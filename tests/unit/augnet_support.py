"""A project of Augnet's, callbacks to it, and the worked example of its documentation."""

import json
from collections.abc import Mapping
from typing import Any

from providers.augnet import PROVIDER
from providers.base import Account, Inbound
from providers.http_signatures import TARGET, Signed

PROJECT = "5f0c2d7e-9a41-4b1f-8f57-2c1b7e0a9d33"
API_KEY = "ak_live_4b9c"
SIGNING_KEY = "sk_augnet_7Qm2xV9tLr"
TO = "+447700900123"
SID = "0b9d2f64-7c11-4e0e-9a55-3f1b8a6c2d10"
MESSAGE = "01980000-0000-7000-8000-000000000001"  # an id of ours

KEY = SIGNING_KEY.encode()
BODY = (
    b'{"SmsSid":"0b9d2f64-7c11-4e0e-9a55-3f1b8a6c2d10","SmsStatus":"delivered",'
    b'"AccountSid":"5f0c2d7e-9a41-4b1f-8f57-2c1b7e0a9d33","From":"ABCTAXI","To":"+447700900123",'
    b'"MessageStatus":"delivered","MessageSid":"0b9d2f64-7c11-4e0e-9a55-3f1b8a6c2d10"}'
)
DIGEST = "SHA-256=CwcWZtUyuT/F1GnVyQy01WLC0uPZLASL/G9iUx+5Ztk="
SIGNATURE = "/S86f2RM+hnu38X19V6gZqbi5KGxDp2baQA6ZG4Jj+k="
PARAMETERS = {
    "keyId": PROJECT,
    "algorithm": "hmac-sha256",
    "headers": "(request-target) date digest host",
    "signature": SIGNATURE,
}
COVERED = (TARGET, "date", "digest", "host")


def authorization(parameters: Mapping[str, str]) -> str:
    return "Signature " + ",".join(f'{name}="{value}"' for name, value in parameters.items())


EXAMPLE = Signed(
    "POST",
    "/webhooks/augnet?m=01HZX3",
    {
        "host": "hooks.example.com",
        "date": "Wed, 08 Jan 2020 17:24:57 GMT",
        "digest": DIGEST,
        "authorization": authorization(PARAMETERS),
    },
    BODY,
)
SENT = 1578504297.0  # the example's Date


def account(options: Mapping[str, Any] | None = None, base_url: str = PROVIDER.base_url, **more: str) -> Account:
    """An account without a sender and signing key, unless they are given."""
    return Account("augnet-main", base_url, {"project_id": PROJECT, "api_key": API_KEY, **more}, options or {})


def callback(status: str = "delivered", **more: Any) -> dict[str, Any]:
    """The members of a callback; None takes one away."""
    said = {
        "SmsSid": SID,
        "SmsStatus": status,
        "AccountSid": PROJECT,
        "From": "ABCTAXI",
        "To": TO,
        "MessageStatus": status,
        "MessageSid": SID,
        **more,
    }
    return {name: value for name, value in said.items() if value is not None}


def inbound(body: bytes | object, message_id: str = "", headers: Mapping[str, str] | None = None) -> Inbound:
    """A callback as it arrives, at a message's own address if `message_id` is given."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Inbound("POST", "/hooks/augnet-main", "", headers or {}, raw, 1_776_090_600.0, message_id)
