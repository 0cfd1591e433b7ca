"""What Paceline raises: every message is one sentence that names what to change."""


class PacelineError(Exception):
    """The root of every error that Paceline raises on purpose."""


class InvalidMessage(PacelineError):
    """The message breaks a rule of the account that should carry it; nothing was stored.

    `field` names what to change and `rule` what is allowed. The value itself is never part of the text.
    """

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule

    def __reduce__(self) -> tuple[type["InvalidMessage"], tuple[str, str]]:
        return type(self), (self.field, self.rule)


class IdempotencyConflict(PacelineError):
    """The idempotency key was used before for a different message; nothing was stored."""


class UnknownAccount(InvalidMessage):
    """`via` names neither an account nor a route of this installation."""


class MessageNotFound(PacelineError):
    """No message has this id or idempotency key."""


class JobNotFound(PacelineError):
    """No job has this id."""


class BroadcastNotFound(PacelineError):
    """No broadcast has this name or id."""


class CallFailed(PacelineError):
    """The provider would not, or nobody can say whether it did. `job` is the job's id, `status` how it ended.

    The reason is the provider's code for it, or ours; never its own sentence.
    """

    def __init__(self, job: str, operation: str, status: str, reason: str | None) -> None:
        super().__init__(f"{operation} ended {status}: {reason or 'no reason was given'}")
        self.job = job
        self.operation = operation
        self.status = status
        self.reason = reason

    def __reduce__(self) -> tuple[type["CallFailed"], tuple[str, str, str, str | None]]:
        return type(self), (self.job, self.operation, self.status, self.reason)


class CallTimeout(PacelineError):
    """No answer came in time. `job` is the job's id: what had begun goes on, what had not is not begun any more."""

    def __init__(self, job: str, sentence: str) -> None:
        super().__init__(sentence)
        self.job = job

    def __reduce__(self) -> tuple[type["CallTimeout"], tuple[str, str]]:
        return type(self), (self.job, str(self))


class ConfigurationError(PacelineError):
    """The configuration cannot be used; `problems` holds one sentence for each mistake found."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems

    def __reduce__(self) -> tuple[type["ConfigurationError"], tuple[list[str]]]:
        return type(self), (self.problems,)


class DatabaseNotReady(PacelineError):
    """The database is away, was never migrated, is older than this code, or was migrated by a newer one."""


class BrokerNotReady(PacelineError):
    """The broker is away or is of a kind that the limiter cannot use."""


class ContentLocked(PacelineError):
    """Content is encrypted in this database, and this process lacks a key for it; or it has one, and it is not."""
