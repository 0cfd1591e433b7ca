"""What docs/operations.md tells to run after an old backup was restored: nothing that may have left leaves again."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sandbox.background import SandboxServer
from tests.support.installation import Installation, until
from worker import operate

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def test_what_waited_in_a_restored_backup_is_for_an_operator_to_send(
    build: Callable[..., Installation], sandbox: SandboxServer
) -> None:
    """Given a backup with a message that waits and one that is scheduled, then only what is resent leaves at once."""
    built = build()
    service = built.service()
    [statement] = re.findall(r"```sql\n(.*?);\n", PAGE.read_text(), re.DOTALL)
    waiting = built.text(1)
    scheduled = built.text(2, send_at=datetime.now(UTC) + timedelta(hours=1))
    past = built.text(3, send_at=datetime.now(UTC) + timedelta(hours=1))
    built.run("UPDATE paceline_message SET send_at = 1, due_at = 1 WHERE id = :id", id=past.id)

    built.run(re.sub(r"(?m)^ +", "", statement), now=time.time())
    service.tick()
    service.sweep()
    service.pump.run_slice(1)

    assert sandbox.ledger("aurogy") == []
    assert {built.client.status(each.id).status for each in (waiting, past)} == {"unknown"}
    assert built.client.status(scheduled.id).status == "queued"
    operate.resolve(built.engine, waiting.id, "resend")
    until(lambda: (service.tick(), service.pump.run_slice(1)) and len(sandbox.ledger("aurogy")) == 1)
