"""Augnet's status callbacks: body, headers, signature, and callbacks that a test has happen."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from email.utils import formatdate

from pydantic import Field
from yarl import URL

from sandbox.model import Model

SIGNED = ("(request-target)", "date", "digest", "host")


class Injected(Model):
    """A callback to have happen: about a message that was accepted, or about any other, as the fields say.

    What is missing is taken from that message, or made up.
    """

    message_id: str = ""
    status: str = Field(min_length=1)
    sms_status: str | None = None  # None: the same word
    sender: str | None = None
    recipient: str = "+447700900123"
    project_id: str = "5f0c2d7e-9a41-4b1f-8f57-2c1b7e0a9d33"
    url: str | None = Field(default=None, pattern=r"^https?://")


def callback_body(
    message_id: str, project_id: str, sender: str, recipient: str, status: str, sms_status: str | None = None
) -> dict[str, str]:
    """The members in the order of the documentation's sample."""
    return {
        "SmsSid": message_id,
        "SmsStatus": status if sms_status is None else sms_status,
        "AccountSid": project_id,
        "From": sender,
        "To": recipient,
        "MessageStatus": status,
        "MessageSid": message_id,
    }


def plain_headers(url: str, at: float) -> dict[str, str]:
    """The headers of a callback that nobody signs; `at` is when it is sent, in Unix seconds."""
    return {
        "Content-Type": "application/json",
        "Accept": "application/json, application/*+json",
        "User-Agent": "Apache-HttpClient/4.5.10 (Java/11.0.5)",
        "Connection": "close",
        "Date": formatdate(at, usegmt=True),
        "Host": URL(url).host_port_subcomponent or "",
    }


def signed_headers(headers: Mapping[str, str], url: str, body: bytes, key: bytes, key_id: str) -> dict[str, str]:
    """The same with `Digest` and `Authorization`, by draft-cavage-http-signatures-12 with hmac-sha256."""
    digest = "SHA-256=" + base64.b64encode(hashlib.sha256(body).digest()).decode()
    lines = {
        "(request-target)": f"post {URL(url).raw_path_qs}",
        "date": headers["Date"],
        "digest": digest,
        "host": headers["Host"],
    }
    text = "\n".join(f"{name}: {lines[name]}" for name in SIGNED)
    signature = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
    said = {"keyId": key_id, "algorithm": "hmac-sha256", "headers": " ".join(SIGNED), "signature": signature}
    authorization = "Signature " + ",".join(f'{name}="{value}"' for name, value in said.items())
    return {**headers, "Digest": digest, "Authorization": authorization}
