"""What went wrong, in one sentence for people: the one place where foreign exceptions become words."""

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from paceline.directory import unreachable
from paceline.errors import PacelineError


def explain(error: BaseException) -> str:
    """A sentence that says what to change. What a foreign exception says is left out: it may hold what was sent."""
    match error:
        case PacelineError():
            return str(error)
        case SQLAlchemyError():
            return str(unreachable(error))
        case RedisError():
            return f"The broker does not answer ({type(error).__name__}); check that it runs and that its URL is right."
        case ModuleNotFoundError():
            return (
                f"The package {error.name} is not installed; in the checkout run pip install -c constraints.txt "
                "-e '.[service]'."
            )
        case OSError() if error.strerror:
            where = f"{error.filename}: " if error.filename else ""
            return f"{where}{error.strerror}; change the file, the address or its permissions, and start again."
    return f"This is a defect of Paceline ({type(error).__name__}); set PACELINE_TRACEBACK=1 and report what it shows."
