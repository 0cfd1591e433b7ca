"""The part of `Client` that asks providers for more than sending: starting jobs, waiting for them, reading them."""

import functools
import math
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paceline import jobs as jobs_
from paceline.asking import until_ended
from paceline.aurogy import Aurogy
from paceline.errors import InvalidMessage
from paceline.opened import Opened
from paceline.views import JobView, MessageView

if TYPE_CHECKING:
    from paceline.politicalcomms import PoliticalComms

TIMEOUT = 60.0  # seconds for an answer
LONGEST = 366 * 86_400.0  # seconds that anybody may wait


class Calling:
    """What `Client` adds: its connections, its wake-ups, and `status`."""

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
        """Ask an account's provider for an operation, without waiting for its end; the job's id.

        Workers carry it out step by step, within the provider's limits and below every message. `idempotency_key` (one
        scope for all jobs of the installation) makes a repetition harmless: the same key for the same answers the first
        one's id. A job that has not begun after `expires_in` seconds fails. Arguments that are None are left out.

        Raises `UnknownAccount`, `InvalidMessage` for an operation or argument that breaks a rule, and
        `IdempotencyConflict`; nothing is stored then.
        """
        if expires_in is not None:
            _check_seconds("expires_in", expires_in)
        return self._start(self._admit_call(account, operation, arguments, idempotency_key), expires_in)

    def call(
        self,
        account: str,
        operation: str,
        /,
        *,
        timeout: float = TIMEOUT,
        fresh_for: float | None = None,
        idempotency_key: str | None = None,
        **arguments: Any,
    ) -> Any:
        """Ask an account's provider for an operation, and wait at most `timeout` seconds for its result.

        An answer that the same question got in the last `fresh_for` seconds serves again; by default for as long as the
        provider allows, mostly not at all. Raises what `start` does, `CallFailed` if the job ended otherwise, and
        `CallTimeout` if it did not end in time: one that has not begun by then is not begun any more.
        """
        _check_seconds("timeout", timeout)
        if fresh_for is not None:
            _check_seconds("fresh_for", fresh_for)
        asked = self._admit_call(account, operation, arguments, idempotency_key)
        with self._open().read() as connection:
            found = jobs_.fresh(connection, asked, asked.fresh_for if fresh_for is None else fresh_for)
        if found is not None:
            return found.result
        job = self._start(asked, timeout)
        return until_ended(lambda: self.job(job), timeout)

    def job(self, id: str) -> JobView:  # noqa: A002  # the job's id
        """Where a job stands. Raises `JobNotFound`."""
        with self._open().read() as connection:
            return jobs_.job(connection, id)

    def jobs(
        self,
        *,
        account: str | None = None,
        operation: str | None = None,
        status: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[JobView]:
        """The newest jobs first, without what they wait for; `after` is the id of the last one seen."""
        with self._open().read() as connection:
            return jobs_.jobs(connection, account, operation, status, limit, after)

    def cancel_job(self, id: str) -> bool:  # noqa: A002  # the job's id
        """Cancel a job none of whose requests is on the wire; True if it is cancelled, now or since an earlier call.

        What its provider has begun goes on there. A job with a request of which nobody knows what became of it ends in
        `unknown`: False. Raises `JobNotFound`.
        """
        return self._open().write(lambda transaction: jobs_.cancel(transaction, id))

    def aurogy(self, account: str, *, timeout: float = TIMEOUT) -> Aurogy:
        """What an Aurogy account answers besides sending, each within `timeout` seconds.

        Raises `InvalidMessage` for another provider's account.
        """
        self._check_provider(account, "aurogy")
        return Aurogy(functools.partial(self.call, account, timeout=timeout), self._provider_id)

    def politicalcomms(self, account: str, *, timeout: float = TIMEOUT) -> "PoliticalComms":
        """What a Political Comms account does besides sending, each answer within `timeout` seconds.

        Raises `InvalidMessage` for another provider's account.
        """
        self._check_provider(account, "politicalcomms")
        from paceline.politicalcomms import PoliticalComms
        from paceline.politicalcomms.operations import choices_of

        call = functools.partial(self.call, account, timeout=timeout)
        return PoliticalComms(call, functools.partial(self.start, account), **choices_of(self._choices(account)))

    def status(self, id: str | None = None, *, idempotency_key: str | None = None) -> MessageView:  # noqa: A002
        raise NotImplementedError

    def _open(self) -> Opened:
        raise NotImplementedError

    def _wake(self, lanes: Sequence[str], high: bool) -> None:
        raise NotImplementedError

    def _admit_call(
        self, account: str, operation: str, arguments: Mapping[str, Any], idempotency_key: str | None
    ) -> jobs_.Call:
        directory = self._open().directories.current(account)
        carrier = jobs_.carrier_of(directory.vias, account)
        return jobs_.admit(carrier, operation, arguments, idempotency_key, directory.secret, directory.content)

    def _start(self, call: jobs_.Call, expires_in: float | None) -> str:
        job = self._open().write(lambda transaction: jobs_.start(transaction, call, expires_in))
        self._wake((call.lane,), high=False)
        return job

    def _choices(self, account: str) -> Mapping[str, float | bool]:
        """What the account's options say that arguments are checked by."""
        vias = self._open().directories.current(account).vias
        return jobs_.carrier_of(vias, account).capabilities.choices

    def _check_provider(self, account: str, provider: str) -> None:
        carrier = jobs_.carrier_of(self._open().directories.current(account).vias, account)
        if carrier.provider != provider:
            raise InvalidMessage(
                "account", f"must name an account of {provider}; {account} is one of {carrier.provider}"
            )

    def _provider_id(self, message_id: str) -> str:
        """What the provider calls a message, by our id or, if it is none of ours, by its own."""
        try:
            uuid.UUID(message_id)
        except (ValueError, AttributeError, TypeError):
            return message_id
        known = self.status(message_id).provider_message_id
        if known is None:
            raise InvalidMessage("message_id", "must be of a message that the provider has accepted and named")
        return known


def _check_seconds(name: str, seconds: object) -> None:
    """Raise `InvalidMessage` for what is no number of seconds; a job must not be started for it."""
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not math.isfinite(seconds) or not 0 <= seconds <= LONGEST:  # type: ignore[arg-type,operator]
        raise InvalidMessage(name, f"must be a number of seconds from 0 to {LONGEST:.0f}")
