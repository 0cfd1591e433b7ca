"""What AuroraSendCloud's e-mail and SMS share: the outcome that each class of return codes is declared to be."""

from providers.aurorasendcloud.codes import Class, Code
from providers.base import (
    Accepted,
    Misconfigured,
    Outcome,
    Refused,
    Scope,
    Throttled,
    Unavailable,
)
from tests.contract.exhibits.base import Answer, as_json

KEY = "check the credentials, and the region they belong to"
MEND = "put it right at AuroraSendCloud, then retry"
HOUR = 3600.0


def judged(number: int, code: Code | None, outcome: Outcome) -> Answer:
    """A refusal with this code, whose own sentence quotes a recipient."""
    answer = {"result": False, "statusCode": number, "message": "ana@example.org is bad", "info": {}}
    return Answer(200, as_json(answer), outcome)


def by_class(number: int, code: Code) -> Outcome:
    """What a code of a table means with `"result": false`; of a success it is noted that the two disagree."""
    words, text = f"{number} {code.words}", str(number)
    match code.kind:
        case Class.OK:
            return Accepted(code=text, note=words)
        case Class.AUTH:
            return Misconfigured(f"{words}: {KEY}", text, Scope.LANE if number == 6001 else Scope.KEY)
        case Class.CONFIG:
            return Misconfigured(f"{words}: {MEND}", text, Scope.MESSAGE)
        case Class.QUOTA:
            return Throttled(HOUR, text)
        case Class.RATE if number == 496:
            return Throttled(60.0, text, Scope.MESSAGE)
        case Class.RATE:
            return Throttled(None, text)
        case Class.TRANS:
            return Unavailable(None, text)
    return Refused(words, text)
