"""AuroraSendCloud's answers: one envelope, and codes in it. The HTTP status says little."""

from collections.abc import Mapping
from typing import Any

from sandbox.call import Answer, json_body

OK = 200
NOT_FOUND = b"<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>\n"

# The API reference's return codes that this server uses. 400 stands for what it gives no code to.
SENTENCES: Mapping[int, str] = {
    200: "request was successful",
    400: "bad request",
    501: "server exception",
    6001: "no permission",
    40005: "authentication failed",
    40006: "days is not a positive integer",
    40007: "startDate is not yyyy-MM-dd",
    40008: "endDate is not yyyy-MM-dd",
    40002: "start is invalid",
    40004: "limit is invalid",
    40011: "email is missing",
    40105: "label name must have 1 to 255 characters",
    40201: "templateInvokeName is missing",
    40801: "from is missing",
    40802: "from is malformed",
    40804: "fromName is malformed",
    40805: "to is missing",
    40806: "an address in to is illegal",
    40807: "more than 100 recipients",
    40808: "subject is missing",
    40809: "subject is malformed",
    40811: "replyTo is malformed",
    40813: "xsmtpapi is malformed",
    40815: "xsmtpapi lacks to",
    40816: "xsmtpapi.to is empty",
    40819: "attachments are larger than 10485760 bytes",
    40820: "no permission for address lists",
    40821: "address-list task created",
    40823: "template does not exist",
    40824: "template is not approved",
    40826: "subject and template subject are both empty",
    40827: "more than 100 recipients in xsmtpapi.to",
    40853: "cc is malformed",
    40854: "more than 100 cc",
    40856: "bcc is malformed",
    40857: "more than 100 bcc",
    40859: "respEmailId is malformed",
    40862: "address list in to is malformed",
    40863: "address list in to does not exist",
    40864: "more than 5 address lists",
    40869: "headers are malformed",
    40870: "html and plain are both empty",
    40874: "useAddressList is malformed",
    40878: "summary is larger than 200 bytes",
    40879: "more than 3 replyTo addresses",
    40880: "an address in xsmtpapi.to is illegal",
    40912: "balance too low",
    40913: "request quota exceeded",
    41014: "no such domain",
    50000: "interface frequency limited",
    # SMS
    311: "partial success",
    312: "all failed",
    411: "phone is missing",
    412: "phone is malformed",
    413: "duplicate phones",
    431: "template does not exist",
    432: "template is not approved",
    433: "template id is missing",
    441: "vars are malformed",
    461: "timestamp is too far from the server's time",
    471: "no such SMS user",
    472: "SMS user is missing",
    483: "a variable has more than 32 characters",
    496: "too many messages to this number within a minute",
    498: "too many messages to this number within a day",
    499: "balance too low",
}
_HTTP = {40005: 401, 471: 401, 472: 401, 6001: 403, 40820: 403, 501: 500, 40902: 500}


class Refused(Exception):
    """The request is answered with a code."""

    def __init__(self, code: int, more: str = "") -> None:
        super().__init__(more)
        self.code = code
        self.more = more


def succeeded(info: Mapping[str, Any], code: int = OK, message_id: str = "", *, accepted: bool = False) -> Answer:
    """A success with its data."""
    body = {"result": True, "statusCode": code, "message": SENTENCES[code], "info": info}
    return Answer(200, json_body(body), message_id=message_id, accepted=accepted)


def failed(code: int, more: str = "", *, http_errors: bool = False) -> Answer:
    """A failure: 200 with the code in the body, or the later description's HTTP statuses."""
    sentence = f"{SENTENCES.get(code, 'error')}{': ' if more else ''}{more}"
    if http_errors:
        return by_status(_HTTP.get(code, 400), sentence)
    # The rate-limit answer is printed with a lower-case c.
    name = "statuscode" if code == 50000 else "statusCode"
    return Answer(200, json_body({"result": False, name: code, "message": sentence, "info": {}}))


def by_status(status: int, sentence: str) -> Answer:
    """An HTTP error status whose number the body repeats, without `info`."""
    return Answer(status, json_body({"result": False, "statusCode": status, "message": sentence}))


def not_found() -> Answer:
    """What a web server says to a path that nothing is behind."""
    return Answer(404, NOT_FOUND, content_type="text/html")
