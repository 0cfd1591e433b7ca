"""The jobs of an in-memory client: what was asked, and the answers that a test prepared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from paceline.calling import Calling
from paceline.capabilities import check_call
from paceline.directory import Via
from paceline.door import check_key
from paceline.errors import CallFailed, IdempotencyConflict, InvalidMessage, JobNotFound
from paceline.ids import new_id
from paceline.jobs import carrier_of, check_status
from paceline.views import JobStatus, JobView, moment


@dataclass(frozen=True, slots=True)
class Asked:
    """An operation that was asked of an account's provider. What it was asked for is in no repr."""

    id: str
    account: str
    operation: str
    arguments: Mapping[str, Any] = field(repr=False)


class Answering:
    """Jobs in memory. `vias` is None where every account has every operation; `clock` is Unix seconds."""

    def __init__(self, vias: Mapping[str, Via] | None, clock: Callable[[], float]) -> None:
        self.asked: list[Asked] = []
        self._vias = vias
        self._clock = clock
        self._answers: dict[tuple[str | None, str], Any] = {}
        self._views: dict[str, JobView] = {}
        self._keys: dict[str, Asked] = {}

    def prepare(self, operation: str, answer: Any, account: str | None) -> None:
        """From now on the operation answers this."""
        self._answers[account, operation] = answer

    def start(self, account: str, operation: str, arguments: Mapping[str, Any], key: str | None) -> str:
        """Take a job; it is done at once if an answer was prepared."""
        asked = self._take(account, operation, arguments, key)
        if not self._views[asked.id].status.final and self._prepared(asked) is not None:
            self._answer(asked)
        return asked.id

    def call(self, account: str, operation: str, arguments: Mapping[str, Any], key: str | None) -> Any:
        """Take a job and answer as prepared; `AssertionError` if nothing was."""
        asked = self._take(account, operation, arguments, key)
        if not self._views[asked.id].status.final:
            if self._prepared(asked) is None:
                raise AssertionError(
                    f"no answer was prepared for {operation} of {account}: client.answers({operation!r}, …) does it"
                )
            error = self._answer(asked)
            if error is not None:
                raise error
        view = self._views[asked.id]
        if view.status is not JobStatus.DONE:
            raise CallFailed(view.id, operation, str(view.status), view.reason)
        return view.result

    def view(self, job: str) -> JobView:
        """Where a job stands. Raises `JobNotFound`."""
        if job not in self._views:
            raise JobNotFound("No job has this id.")
        return self._views[job]

    def views(
        self, account: str | None, operation: str | None, status: str | None, limit: int, after: str | None
    ) -> list[JobView]:
        """The newest first."""
        wanted = None if status is None else check_status(status)
        found = [
            view
            for view in reversed(self._views.values())
            if account in (None, view.account)
            and operation in (None, view.operation)
            and wanted in (None, view.status)
            and (after is None or view.id < after)
        ]
        return found[:limit]

    def cancel(self, job: str) -> bool:
        """Cancel a job that has not ended."""
        if not self.view(job).status.final:
            self.end(job, JobStatus.CANCELLED, "cancelled")
        return self.view(job).status is JobStatus.CANCELLED

    def end(self, job: str, status: JobStatus, reason: str | None = None, result: Any = None) -> None:
        """Let a job end. Raises `JobNotFound`."""
        now = moment(self._clock())
        ended = replace(self.view(job), status=status, reason=reason, result=result, waiting_for=None, updated_at=now)
        self._views[job] = ended

    def _take(self, account: str, operation: str, arguments: Mapping[str, Any], key: str | None) -> Asked:
        check_key(key)
        given = self._check(account, operation, arguments)
        first = self._keys.get(key or "")
        if first is not None:
            if (first.account, first.operation, first.arguments) != (account, operation, given):
                raise IdempotencyConflict("idempotency_key: was used before for something else; use a new key")
            return first
        asked = Asked(new_id(), account, operation, given)
        if key is not None:
            self._keys[key] = asked
        now = moment(self._clock())
        self._views[asked.id] = JobView(
            id=asked.id,
            account=account,
            operation=operation,
            status=JobStatus.QUEUED,
            reason=None,
            waiting_for="It waits for its test.",
            step="",
            progress=None,
            result=None,
            idempotency_key=key,
            created_at=now,
            updated_at=now,
            expires_at=None,
        )
        self.asked.append(asked)
        return asked

    def _check(self, account: str, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if self._vias is not None:
            return check_call(carrier_of(self._vias, account).capabilities, account, operation, arguments)
        if not isinstance(account, str) or not account:
            raise InvalidMessage("account", "must name an account")
        return {name: value for name, value in arguments.items() if value is not None}

    def choices(self, account: str) -> Mapping[str, float | bool]:
        """What the account's options say that arguments are checked by; nothing where every account has everything."""
        return {} if self._vias is None else carrier_of(self._vias, account).capabilities.choices

    def _prepared(self, asked: Asked) -> Any:
        exact = self._answers.get((asked.account, asked.operation))
        return self._answers.get((None, asked.operation)) if exact is None else exact

    def _answer(self, asked: Asked) -> Exception | None:
        """Let the job end as prepared; the error, if that is what was."""
        answer = self._prepared(asked)
        if callable(answer):
            answer = answer(**asked.arguments)
        if isinstance(answer, Exception):
            self.end(asked.id, JobStatus.FAILED, getattr(answer, "reason", None) or f"{answer}")
            return answer
        self.end(asked.id, JobStatus.DONE, result=answer)
        return None


class InMemoryCalling(Calling):
    """The part of `InMemoryClient` that is asked for more than sending."""

    _answering: Answering

    @property
    def asked(self) -> list[Asked]:
        """Every operation that was asked of a provider, in order."""
        return self._answering.asked

    def answers(self, operation: str, answer: Any, *, account: str | None = None) -> None:
        """From now on `operation` (of that account, or of every one) answers this.

        A function is called with the arguments and answers, and an exception is raised: `CallFailed` and `CallTimeout`
        are what applications meet.
        """
        self._answering.prepare(operation, answer, account)

    def start(
        self,
        account: str,
        operation: str,
        /,
        *,
        idempotency_key: str | None = None,
        expires_in: float | None = None,
        **arguments: Any,
    ) -> str:
        """Take a job, which is done at once if an answer was prepared; its id. Raises what `Client.start` does."""
        del expires_in
        return self._answering.start(account, operation, arguments, idempotency_key)

    def call(
        self,
        account: str,
        operation: str,
        /,
        *,
        timeout: float = 60.0,
        fresh_for: float | None = None,
        idempotency_key: str | None = None,
        **arguments: Any,
    ) -> Any:
        """What was prepared; `AssertionError` if nothing was. Raises what `Client.call` does."""
        del timeout, fresh_for
        return self._answering.call(account, operation, arguments, idempotency_key)

    def job(self, id: str) -> JobView:  # noqa: A002  # the job's id
        """Where a job stands. Raises `JobNotFound`."""
        return self._answering.view(id)

    def jobs(
        self,
        *,
        account: str | None = None,
        operation: str | None = None,
        status: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[JobView]:
        """The newest jobs first; `after` is the id of the last one seen."""
        return self._answering.views(account, operation, status, limit, after)

    def cancel_job(self, id: str) -> bool:  # noqa: A002  # the job's id
        """Cancel a job that has not ended; True if it is cancelled in the end. Raises `JobNotFound`."""
        return self._answering.cancel(id)

    def finish_job(self, id: str, result: Any = None) -> None:  # noqa: A002  # the job's id
        """Let a job be done, with this result. Raises `JobNotFound`."""
        self._answering.end(id, JobStatus.DONE, result=result)

    def fail_job(self, id: str, reason: str) -> None:  # noqa: A002  # the job's id
        """Let the provider refuse a job. Raises `JobNotFound`."""
        self._answering.end(id, JobStatus.FAILED, reason)

    def _check_provider(self, account: str, provider: str) -> None:
        """There are accounts, and no providers."""

    def _choices(self, account: str) -> Mapping[str, float | bool]:
        return self._answering.choices(account)

    def _provider_id(self, message_id: str) -> str:
        return message_id
