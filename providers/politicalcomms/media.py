"""Media files: fetched and stored by Political Comms, and used again where they are there already."""

from collections.abc import Mapping
from typing import Any

from paceline.capabilities import Rule
from providers.answers import sha256
from providers.base import Account, Done, Job, Next, Operation, Refused, Request, Response
from providers.politicalcomms.calls import check_flag, for_own, picked
from providers.politicalcomms.steps import (
    SCOPE,
    URL,
    Answer,
    Fields,
    Machine,
    Step,
    begun,
    check_source,
    operation,
    poll,
    poll_again,
)
from providers.politicalcomms.wire import (
    ask,
    fields_of,
    identity,
    payload,
    segment,
    step_key,
    succeeded,
    troubled,
    uniform,
    write,
)


def media_name(arguments: Mapping[str, Any]) -> str:
    """The name that stands for a file: the one given, else one that only this URL has."""
    return str(arguments.get("name") or f"paceline-{sha256(arguments['source_url'].encode())[:24]}")


def media_listed(account: Account, arguments: Mapping[str, Any]) -> Request:
    """The question which media there are."""
    return ask(account, "/media", picked(for_own(account, arguments), "organization_id", "brand_id"))


def media_file(account: Account, media_id: str) -> Request:
    """The question about one media file."""
    return ask(account, f"/media/{segment(media_id)}")


def media_found(arguments: Mapping[str, Any], response: Response, *, unscoped: bool = False) -> Fields | None:
    """The file of that name that can be used again, or will be ready; the empty one if there is none.

    Of the brand that was asked for, and no other; `unscoped`: one that is of no brand will do too. None: the answer
    cannot be read.
    """
    found = payload(response) if succeeded(response) else None
    if not isinstance(found, list):
        return None
    items = [uniform(item, "media_id") for item in found if isinstance(item, dict)]
    brands = {arguments.get("brand_id")} | ({None} if unscoped else set())
    named = [
        item for item in items if item.get("name") == media_name(arguments) and (item.get("brand_id") or None) in brands
    ]
    order = {"ready": 0, "optimizing": 1, "importing": 1}
    usable = [item for item in named if str(item.get("status")) in order and item.get("media_id")]
    return min(usable, key=lambda item: order[str(item["status"])], default={})


def media_request(account: Account, job: Job, arguments: Mapping[str, Any]) -> Request:
    """The import of a media file."""
    fields = picked(for_own(account, arguments), "source_url", "organization_id", "brand_id") | {
        "name": media_name(arguments)
    }
    return write(account, "POST", "/media", step_key(job), fields)


def media_status(response: Response) -> tuple[Fields, str] | None:
    """A media file and whether it is `ready`, `failed` or still being made; None if the answer holds none."""
    found = fields_of(response) if succeeded(response) else {}
    return (uniform(found, "media_id"), str(found.get("status"))) if identity(found, "media_id") else None


def _media_looked_up(_account: Account, job: Job, response: Response) -> Answer:
    found = media_found(job.arguments, response)
    if found is None:
        return troubled(response, question=True)
    if found.get("status") == "ready":
        return Done(found | {"reused": True})
    if found:
        return poll("media", {**job.memory, "media_id": found["media_id"], "reused": True})
    return Next("import", job.memory)


def _media_begun(_account: Account, job: Job, response: Response) -> Answer:
    media_id = begun(response, "media_id")
    return poll("media", {**job.memory, "media_id": media_id}) if media_id else troubled(response, question=False)


def _media_polled(_account: Account, job: Job, response: Response) -> Answer:
    found = media_status(response)
    if found is None:
        return troubled(response, question=True)
    match found[1]:
        case "ready":
            return Done(found[0] | {"reused": bool(job.memory.get("reused"))})
        case "failed":
            return Refused("the media import failed: check source_url", "MEDIA_FAILED")
    return poll_again(job, "the media file")


def _first_of_media(_account: Account, job: Job) -> str:
    return "import" if job.arguments.get("reuse") is False else "find"


def _check_media(account: Account, arguments: Mapping[str, Any]) -> None:
    check_flag(arguments, "reuse")
    check_source(account, "source_url", arguments["source_url"])


MEDIA: Mapping[str, Operation] = {
    "import_media": operation(
        "import a media file, until it is ready; one of the same name is used again",
        Machine(
            _first_of_media,
            {
                "find": Step(lambda account, job: media_listed(account, job.arguments), _media_looked_up),
                "import": Step(lambda account, job: media_request(account, job, job.arguments), _media_begun),
                "media": Step(lambda account, job: media_file(account, job.memory["media_id"]), _media_polled),
            },
        ),
        {"source_url": URL, "name": Rule(min_length=1), "reuse": Rule()} | SCOPE,
        _check_media,
    ),
}
