"""The servers of a siege end with it."""

from pathlib import Path

from tests.chaos.servers import own_postgresql
from tests.support.installation import until


def _runs(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"


def test_a_postgresql_that_was_restarted_ends_too() -> None:
    """Given one whose first process has died, when the siege is over, then the second has ended as well."""
    with own_postgresql() as server:
        server.restart()
        pid = int((Path(server.server.pgdata) / "postmaster.pid").read_text().split()[0])
        assert _runs(pid)
    until(lambda: not _runs(pid))
