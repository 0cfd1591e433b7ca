"""Contact lists: importing a CSV file, and looking up what kind of line each number is, which costs money."""

from collections.abc import Mapping
from typing import Any

from paceline.capabilities import Rule
from paceline.errors import InvalidMessage
from paceline.politicalcomms import rules as rules
from providers.base import Account, Done, Job, Next, Operation, Option, Refused, Request, Response
from providers.politicalcomms.calls import check_flag, for_own, picked
from providers.politicalcomms.steps import (
    SCOPE,
    URL,
    WORDS,
    Answer,
    Fields,
    Machine,
    Step,
    begun,
    check_source,
    no_check,
    operation,
    poll,
    poll_again,
)
from providers.politicalcomms.wire import (
    ID,
    ask,
    fields_of,
    identity,
    poll_wait,
    segment,
    step_key,
    succeeded,
    troubled,
    uniform,
    write,
)

OPTIONS = {
    "analysis.cents_per_number": Option(
        0.0, "what a line analysis costs for each number, in cents, by your contract; 0: not known", least=0
    ),
}


def list_request(account: Account, list_id: str) -> Request:
    """The question about one contact list."""
    return ask(account, f"/contact-lists/{segment(list_id)}")


def import_request(account: Account, job: Job) -> Request:
    """The import of a CSV file."""
    fields = picked(for_own(account, job.arguments), *rules.IMPORT_FIELDS)
    return write(account, "POST", "/contact-lists/import", step_key(job), fields)


def import_status(found: Fields) -> str:
    """Where the import of a list stands."""
    return _status(found, "import", found.get("status"))


def analysis_status(found: Fields) -> str:
    """Where the line analysis of a list stands."""
    return _status(found, "analysis", "not_started")


def count_of(found: Fields, part: str, name: str) -> int:
    """A whole number of the import or the analysis; 0 where there is none yet."""
    value = _part(found, part).get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def to_analyse(found: Fields) -> int:
    """How many of a list's numbers have not been analysed: what an analysis costs money for."""
    if analysis_status(found) == "complete":
        return 0
    return max(0, count_of(found, "import", "clean_contacts") - count_of(found, "analysis", "analyzed_numbers"))


def price_of(account: Account) -> float:
    """Cents that the analysis of a number costs; 0 where the account does not say."""
    return float(account.options.get("analysis.cents_per_number", OPTIONS["analysis.cents_per_number"].default))


def estimate(account: Account, numbers: int) -> float | None:
    """Cents that analysing so many numbers costs; None where the account's price is not known."""
    price = price_of(account)
    return round(numbers * price, 4) if price else None


def too_dear(account: Account, most: float, numbers: int) -> Refused | None:
    """Why an analysis is not begun, before anything is spent; None if it may be."""
    cents = estimate(account, numbers)
    if cents is None or cents <= most:
        return None
    return Refused(f"max_cost_cents: {numbers} numbers would cost about {cents:g} cents; nothing was spent", "TOO_DEAR")


def read_list(response: Response) -> Fields | None:
    """A contact list, under one name for each generation's id; None if the answer holds none."""
    found = fields_of(response) if succeeded(response) else {}
    return uniform(found, "list_id") if identity(found, "list_id") else None


def _import_begun(_account: Account, job: Job, response: Response) -> Answer:
    list_id = begun(response, "list_id")
    return poll("list", {**job.memory, "list_id": list_id}) if list_id else troubled(response, question=False)


def _import_polled(_account: Account, job: Job, response: Response) -> Answer:
    found = read_list(response)
    if found is None:
        return troubled(response, question=True)
    match import_status(found):
        case "ready":
            return Done(found)
        case "failed":
            return Refused("the import failed: check source_url and phone_column", "IMPORT_FAILED")
    return poll_again(job, "the contact list")


def _ask_for_list(account: Account, job: Job) -> Request:
    return list_request(account, str(job.memory.get("list_id") or job.arguments["list_id"]))


def _part(found: Fields, name: str) -> Fields:
    part = found.get(name)
    return part if isinstance(part, dict) else {}


def _status(found: Fields, part: str, otherwise: object) -> str:
    return str(_part(found, part).get("status") or otherwise or "")


# Line analysis


def analyze_request(account: Account, job: Job, list_id: str) -> Request:
    """The order for an analysis, which costs money."""
    return write(account, "POST", f"/contact-lists/{segment(list_id)}/analyze", step_key(job))


def analysis_begun(response: Response) -> Fields | None:
    """What the order was answered: `cost_cents`, `numbers_queued`, `complete`; None if that cannot be read.

    Where the two numbers are nested is not documented: they are looked for in both places.
    """
    if not succeeded(response):
        return None
    found = fields_of(response)
    analysis = _part(found, "analysis")
    if not found:
        return None
    return {
        "cost_cents": found.get("cost_cents", analysis.get("cost_cents")),
        "numbers_queued": found.get("numbers_queued", analysis.get("numbers_queued")),
        "complete": analysis.get("status", found.get("status")) == "complete",
    }


def _cost(account: Account, _job: Job, response: Response) -> Answer:
    found = read_list(response)
    if found is None:
        return troubled(response, question=True)
    numbers = to_analyse(found)
    return Done({"list_id": found["list_id"], "numbers": numbers, "estimated_cents": estimate(account, numbers)})


def _cost_judged(account: Account, job: Job, response: Response) -> Answer:
    found = read_list(response)
    if found is None:
        return troubled(response, question=True)
    refused = too_dear(account, float(job.arguments["max_cost_cents"]), to_analyse(found))
    return refused or Next("analyze", job.memory)


def _analysis_begun(_account: Account, job: Job, response: Response) -> Answer:
    found = analysis_begun(response)
    if found is None:
        return troubled(response, question=False)
    # Complete or not, the list itself says what the lines are.
    memory = {**job.memory, "cost_cents": found["cost_cents"], "numbers_queued": found["numbers_queued"]}
    return Next("analysis", {**memory, "polls": 0}, 0.0 if found["complete"] else poll_wait(0))


def _analysis_polled(_account: Account, job: Job, response: Response) -> Answer:
    found = read_list(response)
    if found is None:
        return troubled(response, question=True)
    match analysis_status(found):
        case "complete":
            return Done(analysis_result(found, job.memory))
        case "failed":
            return Refused("the analysis failed", "ANALYSIS_FAILED")
    return poll_again(job, "the analysis")


def analysis_result(found: Fields, memory: Mapping[str, Any]) -> Fields:
    """What an analysis found: how many lines are mobile, landline, voip and invalid, and what it cost."""
    breakdown = _part(_part(found, "analysis"), "breakdown")
    return {
        "list_id": found["list_id"],
        "cost_cents": memory.get("cost_cents"),
        "analyzed_numbers": count_of(found, "analysis", "analyzed_numbers"),
        "breakdown": {line: breakdown.get(line, 0) for line in ("mobile", "landline", "voip", "invalid")},
    }


def _first_of_analysis(_account: Account, job: Job) -> str:
    return "cost" if job.arguments.get("max_cost_cents") is not None else "analyze"


def _check_analysis(account: Account, arguments: Mapping[str, Any]) -> None:
    check_flag(arguments, "confirm")
    if arguments.get("max_cost_cents") is not None:
        check_price(account, arguments["max_cost_cents"])
    elif not arguments.get("confirm"):
        raise InvalidMessage("confirm", "must be true, since this costs money; ask analysis_cost how much")


def check_price(account: Account, most: object) -> None:
    """Raise `InvalidMessage` unless `max_cost_cents` is a number that can be judged."""
    rules.check_cost(most, priced=price_of(account) != 0)


def _check_import(account: Account, arguments: Mapping[str, Any]) -> None:
    check_source(account, "source_url", arguments["source_url"])
    if arguments.get("merge_tags") is not None:
        rules.check_merge_tags(arguments["merge_tags"])


LISTS: Mapping[str, Operation] = {
    "import_contacts": operation(
        "import contacts from a CSV file, until they are ready",
        Machine(
            lambda _account, _job: "import",
            {"import": Step(import_request, _import_begun), "list": Step(_ask_for_list, _import_polled)},
        ),
        {"source_url": URL, "list_name": WORDS, "phone_column": WORDS, "merge_tags": Rule()} | SCOPE,
        _check_import,
    ),
    "analysis_cost": operation(
        "how many numbers an analysis would look up, and what that would cost",
        Machine(lambda _account, _job: "list", {"list": Step(_ask_for_list, _cost)}),
        {"list_id": ID},
        no_check,
    ),
    "analyze": operation(
        "look up the lines of a contact list: costs money",
        Machine(
            _first_of_analysis,
            {
                "cost": Step(_ask_for_list, _cost_judged),
                "analyze": Step(
                    lambda account, job: analyze_request(account, job, job.arguments["list_id"]), _analysis_begun
                ),
                "analysis": Step(_ask_for_list, _analysis_polled),
            },
        ),
        {"list_id": ID, "confirm": Rule(), "max_cost_cents": Rule(max_number=10**9)},
        _check_analysis,
    ),
}
