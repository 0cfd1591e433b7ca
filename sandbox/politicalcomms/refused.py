"""Political Comms' errors: which code belongs to which status, and the bodies of both generations."""

from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.call import Answer, json_body
from sandbox.ids import token

# The first code of each status in the reference's error table, for faults that name none.
CODES: Mapping[int, str] = {
    400: "VALIDATION_ERROR",
    401: "INVALID_API_KEY",
    402: "INSUFFICIENT_BALANCE",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "CONFLICT",
    429: "RATE_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "SERVICE_UNAVAILABLE",
}
SENTENCES: Mapping[str, str] = {
    "INSUFFICIENT_BALANCE": "The balance does not cover this.",
    "ORG_ACCESS_DENIED": "The key does not reach this organization.",
    "PERMISSION_DENIED": "The key may not do this.",
    "LIST_ANALYSIS_IN_PROGRESS": "A contact list is being analysed.",
    "CONTACT_OPTED_OUT": "The contact has opted out.",
    "SENDING_PAUSED": "Sending is paused.",
    "CONVERSATION_NOT_FOUND": "There is no such conversation.",
}
# Definitive: what the same key is answered again. The others may end differently next time.
PASSING = frozenset({"LIST_ANALYSIS_IN_PROGRESS", "ANALYSIS_NOT_COMPLETE", "SENDING_PAUSED", "IDEMPOTENCY_IN_PROGRESS"})
DEFINITIVE = frozenset({400, 404, 409})


class Refused(Exception):
    """The request is answered with an error. `auth`: by the layer that checks keys, whose bodies are others."""

    def __init__(
        self, status: int, code: str, sentence: str = "", details: object = None, *, auth: bool = False
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.sentence = sentence or SENTENCES.get(code, f"{code.replace('_', ' ').capitalize()}.")
        self.details = details
        self.auth = auth


def invalid(field: str, rule: str) -> Refused:
    """400 for one field."""
    return Refused(400, "VALIDATION_ERROR", f"{field}: {rule}", [{"field": field, "message": rule}])


def issues(found: Sequence[Mapping[str, str]]) -> Refused:
    """400 for several."""
    first = found[0]
    return Refused(400, "VALIDATION_ERROR", f"{first['field']}: {first['message']}", list(found))


def not_found() -> Refused:
    """404."""
    return Refused(404, "NOT_FOUND", "There is no such resource.")


def error_answer(refused: Refused, generation: int, retry_after: int | None = None) -> Answer:
    """The error's body, as its generation writes it."""
    body: dict[str, Any]
    if generation == 1:
        body = {
            "success": False,
            "error": refused.sentence,
            "code": refused.code,
            "statusCode": refused.status,
        }
        if refused.details is not None:
            body["details"] = refused.details
    elif refused.auth:
        body = {"error": refused.code.replace("_", " ").title(), "message": refused.sentence}
    elif refused.status == 429:
        body = {"error": "Too Many Requests", "message": refused.sentence, "retryAfter": retry_after or 1}
    else:
        body = {"error": refused.sentence, "code": refused.code, "correlationId": "cor_" + token()}
        if refused.details is not None:
            body["details"] = refused.details
    answer = Answer(refused.status, json_body(body))
    if refused.status == 429 and generation == 2 and retry_after is not None:
        answer.headers["Retry-After"] = str(retry_after)
    return answer
