"""Downloading a contact list: the file as it was imported, or with what the line analysis found.

The answer is CSV, and long: it becomes a file on the worker's host, and the job's result says which.
"""

from collections.abc import Mapping
from dataclasses import replace

from paceline.capabilities import Rule
from paceline.politicalcomms import rules as rules
from providers.base import Account, Done, Job, Next, Operation, Refused, Request, Response, Save
from providers.politicalcomms.lists import analysis_status, list_request, read_list
from providers.politicalcomms.steps import Answer, Machine, Step, no_check, operation, poll_again
from providers.politicalcomms.wire import ID, ask, code_of, segment, troubled

CSV = "text/csv"
# The analysed file is to be had once the analysis is complete: then this refusal passes.
NOT_YET = "ANALYSIS_NOT_COMPLETE"


def _ask_file(account: Account, job: Job) -> Request:
    kind = job.arguments["type"]
    asked = ask(account, f"/contact-lists/{segment(job.arguments['list_id'])}/download", {"type": kind})
    headers = {**asked.headers, "Accept": f"{CSV}, application/json"}
    return replace(asked, headers=headers, save=Save(f"{job.id}-{kind}.csv", CSV, _most(job)))


def _file_read(_account: Account, job: Job, response: Response) -> Answer:
    saved, code = response.saved, code_of(response)
    if saved is not None and saved.problem == "not_written":
        return Refused(f"the worker's host {saved.host} cannot write to worker.downloads: look at that disk")
    if saved is not None and saved.problem:
        return Refused(f"max_bytes: the file has more than {_most(job):,} bytes; nothing of it was kept", "TOO_LONG")
    if saved is not None:
        kept = {"file": saved.path, "host": saved.host, "bytes": saved.size, "sha256": saved.sha256}
        return Done({"list_id": job.arguments["list_id"], "type": job.arguments["type"], **kept})
    if code == NOT_YET:
        return Next("list", {"polls": -1, **job.memory})  # the list is looked at now, and first polled in 5 seconds
    if 300 <= response.status < 400:
        # It leads to another host, and the request bears the key: it is not followed, and this lane is well.
        return Refused(f"http_{response.status}: a redirect, which is not followed, since the request bears api_key")
    return troubled(response, question=True)


def _ask_list(account: Account, job: Job) -> Request:
    return list_request(account, str(job.arguments["list_id"]))


def _list_read(_account: Account, job: Job, response: Response) -> Answer:
    found = read_list(response)
    if found is None:
        return troubled(response, question=True)
    match analysis_status(found):
        case "complete":
            again = poll_again(job, "the analysed file")
            if isinstance(again, Refused):
                return again
            # Complete is complete, mostly; where the file is late, asking again at once would be in vain.
            wait = again.wait if job.memory.get("complete") else 0.0
            return Next("file", {**again.memory, "complete": True}, wait)
        case "processing":
            return poll_again(job, "the analysis")
    return Refused("type: the list is not analysed; begin that with start_analyze, or take the original", NOT_YET)


def _most(job: Job) -> int:
    return int(job.arguments.get("max_bytes") or rules.LONGEST_FILE)


DOWNLOADS: Mapping[str, Operation] = {
    "download_contact_list": operation(
        "download a contact list as a CSV file, on the worker's host",
        Machine(
            lambda _account, _job: "file",
            {"file": Step(_ask_file, _file_read), "list": Step(_ask_list, _list_read)},
        ),
        {
            "list_id": ID,
            "type": Rule(required=True, one_of=rules.FILES),
            "max_bytes": Rule(min_number=1, max_number=10**9, whole=True),
        },
        no_check,
    ),
}
