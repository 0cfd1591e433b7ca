"""The first tables"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.String(36).with_variant(sa.String(36, collation="C"), "postgresql")
NAME = sa.String(100).with_variant(sa.String(100, collation="C"), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "paceline_account",
        sa.Column("name", NAME, nullable=False),
        sa.Column("provider", NAME, nullable=False),
        sa.Column("lane", NAME, nullable=False),
        sa.Column("capabilities", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_paceline_account")),
    )
    op.create_table(
        "paceline_attempt",
        sa.Column("message_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("grant_id", ID, nullable=False),
        sa.Column("account", NAME, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("outcome", NAME, nullable=False),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "number", name=op.f("pk_paceline_attempt")),
    )
    with op.batch_alter_table("paceline_attempt", schema=None) as batch_op:
        batch_op.create_index(
            "ix_paceline_attempt_unknown",
            ["account", "at"],
            unique=False,
            postgresql_where=sa.text("outcome = 'unknown'"),
            sqlite_where=sa.text("outcome = 'unknown'"),
        )

    op.create_table(
        "paceline_broadcast",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", NAME, nullable=False),
        sa.Column("via", NAME, nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("status", NAME, nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("read_digest", NAME, nullable=False),
        sa.Column("recipients", sa.BigInteger(), nullable=False),
        sa.Column("duplicates", sa.BigInteger(), nullable=False),
        sa.Column("suppressed", sa.BigInteger(), nullable=False),
        sa.Column("invalid", sa.BigInteger(), nullable=False),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.Column("parts", sa.BigInteger(), nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.Column("counted_at", sa.Double(), nullable=True),
        sa.Column("count_seconds", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("send_at", sa.Double(), nullable=True),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("next_run_at", sa.Double(), nullable=True),
        sa.Column("parent", ID, nullable=True),
        sa.Column("run_at", sa.Double(), nullable=True),
        sa.Column("released_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.Column("job_id", ID, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paceline_broadcast")),
        sa.UniqueConstraint("name", name=op.f("uq_paceline_broadcast_name")),
    )
    with op.batch_alter_table("paceline_broadcast", schema=None) as batch_op:
        batch_op.create_index(
            "ix_paceline_broadcast_open",
            ["status"],
            unique=False,
            postgresql_where=sa.text("status NOT IN ('finished', 'cancelled')"),
            sqlite_where=sa.text("status NOT IN ('finished', 'cancelled')"),
        )
        batch_op.create_index(
            "ix_paceline_broadcast_run",
            ["parent", "run_at"],
            unique=True,
            postgresql_where=sa.text("parent IS NOT NULL"),
            sqlite_where=sa.text("parent IS NOT NULL"),
        )

    op.create_table(
        "paceline_event",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("message_id", ID, nullable=True),
        sa.Column("account", NAME, nullable=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("status", NAME, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("kind", NAME, server_default="status", nullable=False),
        sa.Column("data", sa.Text(), nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paceline_event")),
    )
    with op.batch_alter_table("paceline_event", schema=None) as batch_op:
        batch_op.create_index(
            "ix_paceline_event_data",
            ["position"],
            unique=False,
            postgresql_where=sa.text("data IS NOT NULL"),
            sqlite_where=sa.text("data IS NOT NULL"),
        )
        batch_op.create_index("ix_paceline_event_message_id", ["message_id"], unique=False)
        batch_op.create_index(
            "ix_paceline_event_new",
            ["id"],
            unique=False,
            postgresql_where=sa.text("position IS NULL"),
            sqlite_where=sa.text("position IS NULL"),
        )
        batch_op.create_index(
            "ix_paceline_event_position",
            ["position"],
            unique=True,
            postgresql_where=sa.text("position IS NOT NULL"),
            sqlite_where=sa.text("position IS NOT NULL"),
        )

    op.create_table(
        "paceline_grant",
        sa.Column("id", ID, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("lane", NAME, nullable=False),
        sa.Column("process", NAME, nullable=True),
        sa.Column("high", sa.Integer(), nullable=False),
        sa.Column("rest", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.Column("granted_high", sa.Integer(), nullable=True),
        sa.Column("granted_rest", sa.Integer(), nullable=True),
        sa.Column("granted_at", sa.Double(), nullable=True),
        sa.Column("closed", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paceline_grant")),
    )
    with op.batch_alter_table("paceline_grant", schema=None) as batch_op:
        batch_op.create_index("ix_paceline_grant_key_created_at", ["key", "created_at"], unique=False)

    op.create_table(
        "paceline_idempotency_key",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("digest", NAME, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_paceline_idempotency_key")),
    )
    with op.batch_alter_table("paceline_idempotency_key", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_paceline_idempotency_key_created_at"), ["created_at"], unique=False)

    op.create_table(
        "paceline_installation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("digest_secret", NAME, nullable=False),
        sa.Column("content", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paceline_installation")),
    )
    op.create_table(
        "paceline_job",
        sa.Column("id", ID, nullable=False),
        sa.Column("account", NAME, nullable=False),
        sa.Column("lane", NAME, nullable=False),
        sa.Column("operation", NAME, nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("digest", NAME, nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("status", NAME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("memory", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("grant_id", ID, nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("unresolved", sa.Boolean(), nullable=False),
        sa.Column("first_sent_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paceline_job")),
    )
    with op.batch_alter_table("paceline_job", schema=None) as batch_op:
        batch_op.create_index("ix_paceline_job_created_at", ["created_at"], unique=False)
        batch_op.create_index(
            "ix_paceline_job_digest",
            ["account", "digest"],
            unique=False,
            postgresql_where=sa.text("digest IS NOT NULL"),
            sqlite_where=sa.text("digest IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_paceline_job_due",
            ["lane", "due_at"],
            unique=False,
            postgresql_where=sa.text("status = 'queued'"),
            sqlite_where=sa.text("status = 'queued'"),
        )
        batch_op.create_index(
            "ix_paceline_job_idempotency_key",
            ["idempotency_key"],
            unique=True,
            postgresql_where=sa.text("idempotency_key IS NOT NULL"),
            sqlite_where=sa.text("idempotency_key IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_paceline_job_lease",
            ["lease_until"],
            unique=False,
            postgresql_where=sa.text("status = 'sending'"),
            sqlite_where=sa.text("status = 'sending'"),
        )
        batch_op.create_index(
            "ix_paceline_job_unknown",
            ["lane"],
            unique=False,
            postgresql_where=sa.text("status = 'unknown'"),
            sqlite_where=sa.text("status = 'unknown'"),
        )

    op.create_table(
        "paceline_key",
        sa.Column("name", NAME, nullable=False),
        sa.Column("fingerprint", NAME, nullable=False),
        sa.Column("nonce", NAME, nullable=False),
        sa.Column("closed_reason", sa.Text(), nullable=True),
        sa.Column("closed_until", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_paceline_key")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_paceline_key_fingerprint")),
    )
    op.create_table(
        "paceline_lane",
        sa.Column("name", NAME, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("lane_class", NAME, nullable=False),
        sa.Column("pace", NAME, nullable=False),
        sa.Column("limits", sa.Text(), nullable=False),
        sa.Column("shape", sa.Text(), server_default="[]", nullable=False),
        sa.Column("closed_reason", sa.Text(), nullable=True),
        sa.Column("closed_until", sa.Double(), nullable=True),
        sa.Column("refusals", sa.Integer(), nullable=False),
        sa.Column("succeeded_at", sa.Double(), nullable=True),
        sa.Column("unready", sa.Text(), nullable=True),
        sa.Column("ask_at", sa.Double(), nullable=True),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("late", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_paceline_lane")),
    )
    with op.batch_alter_table("paceline_lane", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_paceline_lane_key"), ["key"], unique=False)

    op.create_table(
        "paceline_message",
        sa.Column("id", ID, nullable=False),
        sa.Column("stream_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("status", NAME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("send_at", sa.Double(), nullable=True),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("due_at", sa.Double(), nullable=True),
        sa.Column("account", NAME, nullable=True),
        sa.Column("provider_message_id", sa.Text(), nullable=True),
        sa.Column("grant_id", ID, nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failed_at", sa.Double(), nullable=True),
        sa.Column("first_sent_at", sa.Double(), nullable=True),
        sa.Column("unresolved", sa.Boolean(), nullable=False),
        sa.Column("accepted_at", sa.Double(), nullable=True),
        sa.Column("polls", sa.Integer(), nullable=False),
        sa.Column("poll_at", sa.Double(), nullable=True),
        sa.Column("broadcast", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paceline_message")),
    )
    with op.batch_alter_table("paceline_message", schema=None) as batch_op:
        batch_op.create_index(
            "ix_paceline_message_broadcast",
            ["stream_id", "status"],
            unique=False,
            postgresql_where=sa.text("broadcast"),
            sqlite_where=sa.text("broadcast"),
        )
        batch_op.create_index(
            "ix_paceline_message_content",
            ["updated_at"],
            unique=False,
            postgresql_where=sa.text(
                "status NOT IN ('queued', 'sending', 'unknown') AND poll_at IS NULL AND payload <> '{}'"
            ),
            sqlite_where=sa.text(
                "status NOT IN ('queued', 'sending', 'unknown') AND poll_at IS NULL AND payload <> '{}'"
            ),
        )
        batch_op.create_index(
            "ix_paceline_message_due",
            ["due_at"],
            unique=False,
            postgresql_where=sa.text("status = 'queued' AND due_at IS NOT NULL"),
            sqlite_where=sa.text("status = 'queued' AND due_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_paceline_message_erased",
            ["updated_at"],
            unique=False,
            postgresql_where=sa.text("payload = '{}'"),
            sqlite_where=sa.text("payload = '{}'"),
        )
        batch_op.create_index(
            "ix_paceline_message_expiry",
            ["expires_at"],
            unique=False,
            postgresql_where=sa.text("status = 'queued' AND expires_at IS NOT NULL"),
            sqlite_where=sa.text("status = 'queued' AND expires_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_paceline_message_lease",
            ["lease_until"],
            unique=False,
            postgresql_where=sa.text("status = 'sending'"),
            sqlite_where=sa.text("status = 'sending'"),
        )
        batch_op.create_index(
            "ix_paceline_message_poll",
            ["account", "poll_at"],
            unique=False,
            postgresql_where=sa.text("poll_at IS NOT NULL"),
            sqlite_where=sa.text("poll_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_paceline_message_provider_message_id",
            ["account", "provider_message_id"],
            unique=False,
            postgresql_where=sa.text("provider_message_id IS NOT NULL"),
            sqlite_where=sa.text("provider_message_id IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_paceline_message_ready",
            ["stream_id", "position"],
            unique=False,
            postgresql_where=sa.text("status = 'queued' AND due_at IS NULL"),
            sqlite_where=sa.text("status = 'queued' AND due_at IS NULL"),
        )
        batch_op.create_index(
            "ix_paceline_message_unknown",
            ["id"],
            unique=False,
            postgresql_where=sa.text("status = 'unknown'"),
            sqlite_where=sa.text("status = 'unknown'"),
        )
        batch_op.create_index(
            "ix_paceline_message_unnamed",
            ["account"],
            unique=False,
            postgresql_where=sa.text("provider_message_id IS NULL AND accepted_at IS NOT NULL"),
            sqlite_where=sa.text("provider_message_id IS NULL AND accepted_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_paceline_message_unresolved",
            ["account", "stream_id", "position"],
            unique=False,
            postgresql_where=sa.text("status = 'queued' AND due_at IS NULL AND unresolved"),
            sqlite_where=sa.text("status = 'queued' AND due_at IS NULL AND unresolved"),
        )
        batch_op.create_index(
            "ix_paceline_message_urgent",
            ["stream_id", "expires_at", "position"],
            unique=False,
            postgresql_where=sa.text("status = 'queued' AND due_at IS NULL AND expires_at IS NOT NULL"),
            sqlite_where=sa.text("status = 'queued' AND due_at IS NULL AND expires_at IS NOT NULL"),
        )

    op.create_table(
        "paceline_relay",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("assigned", sa.BigInteger(), nullable=False),
        sa.Column("published", sa.BigInteger(), nullable=True),
        sa.Column("publisher", NAME, nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paceline_relay")),
    )
    op.create_table(
        "paceline_route",
        sa.Column("name", NAME, nullable=False),
        sa.Column("accounts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_paceline_route")),
    )
    op.create_table(
        "paceline_stream",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("via", NAME, nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("broadcast", ID, nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("passed", sa.Double(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.Column("zone", NAME, server_default="", nullable=False),
        sa.Column("held", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("day", sa.Integer(), server_default="1", nullable=False),
        sa.Column("released_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paceline_stream")),
    )
    with op.batch_alter_table("paceline_stream", schema=None) as batch_op:
        batch_op.create_index(
            "ix_paceline_stream_broadcast",
            ["broadcast"],
            unique=False,
            postgresql_where=sa.text("broadcast <> ''"),
            sqlite_where=sa.text("broadcast <> ''"),
        )
        batch_op.create_index("uq_paceline_stream_line", ["via", "priority", "broadcast", "zone", "day"], unique=True)

    op.create_table(
        "paceline_suppression",
        sa.Column("channel", NAME, nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("account", NAME, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("sealed", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("channel", "recipient", name=op.f("pk_paceline_suppression")),
    )
    op.create_table(
        "paceline_webhook",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("fingerprint", NAME, nullable=False),
        sa.Column("dedup_key", NAME, nullable=False),
        sa.Column("account", NAME, nullable=False),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("happened_at", sa.Double(), nullable=True),
        sa.Column("provider_message_id", sa.Text(), nullable=True),
        sa.Column("status", NAME, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("recipient", sa.Text(), nullable=True),
        sa.Column("message_id", ID, nullable=True),
        sa.Column("data", sa.Text(), nullable=True),
        sa.Column("match_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paceline_webhook")),
    )
    with op.batch_alter_table("paceline_webhook", schema=None) as batch_op:
        batch_op.create_index(
            "ix_paceline_webhook_parked",
            ["match_at"],
            unique=False,
            postgresql_where=sa.text("match_at IS NOT NULL"),
            sqlite_where=sa.text("match_at IS NOT NULL"),
        )
        batch_op.create_index("uq_paceline_webhook_dedup_key", ["fingerprint", "dedup_key"], unique=True)


def downgrade() -> None:
    with op.batch_alter_table("paceline_webhook", schema=None) as batch_op:
        batch_op.drop_index("uq_paceline_webhook_dedup_key")
        batch_op.drop_index(
            "ix_paceline_webhook_parked",
            postgresql_where=sa.text("match_at IS NOT NULL"),
            sqlite_where=sa.text("match_at IS NOT NULL"),
        )

    op.drop_table("paceline_webhook")
    op.drop_table("paceline_suppression")
    with op.batch_alter_table("paceline_stream", schema=None) as batch_op:
        batch_op.drop_index("uq_paceline_stream_line")
        batch_op.drop_index(
            "ix_paceline_stream_broadcast",
            postgresql_where=sa.text("broadcast <> ''"),
            sqlite_where=sa.text("broadcast <> ''"),
        )

    op.drop_table("paceline_stream")
    op.drop_table("paceline_route")
    op.drop_table("paceline_relay")
    with op.batch_alter_table("paceline_message", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_paceline_message_urgent",
            postgresql_where=sa.text("status = 'queued' AND due_at IS NULL AND expires_at IS NOT NULL"),
            sqlite_where=sa.text("status = 'queued' AND due_at IS NULL AND expires_at IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_paceline_message_unresolved",
            postgresql_where=sa.text("status = 'queued' AND due_at IS NULL AND unresolved"),
            sqlite_where=sa.text("status = 'queued' AND due_at IS NULL AND unresolved"),
        )
        batch_op.drop_index(
            "ix_paceline_message_unnamed",
            postgresql_where=sa.text("provider_message_id IS NULL AND accepted_at IS NOT NULL"),
            sqlite_where=sa.text("provider_message_id IS NULL AND accepted_at IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_paceline_message_unknown",
            postgresql_where=sa.text("status = 'unknown'"),
            sqlite_where=sa.text("status = 'unknown'"),
        )
        batch_op.drop_index(
            "ix_paceline_message_ready",
            postgresql_where=sa.text("status = 'queued' AND due_at IS NULL"),
            sqlite_where=sa.text("status = 'queued' AND due_at IS NULL"),
        )
        batch_op.drop_index(
            "ix_paceline_message_provider_message_id",
            postgresql_where=sa.text("provider_message_id IS NOT NULL"),
            sqlite_where=sa.text("provider_message_id IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_paceline_message_poll",
            postgresql_where=sa.text("poll_at IS NOT NULL"),
            sqlite_where=sa.text("poll_at IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_paceline_message_lease",
            postgresql_where=sa.text("status = 'sending'"),
            sqlite_where=sa.text("status = 'sending'"),
        )
        batch_op.drop_index(
            "ix_paceline_message_expiry",
            postgresql_where=sa.text("status = 'queued' AND expires_at IS NOT NULL"),
            sqlite_where=sa.text("status = 'queued' AND expires_at IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_paceline_message_erased",
            postgresql_where=sa.text("payload = '{}'"),
            sqlite_where=sa.text("payload = '{}'"),
        )
        batch_op.drop_index(
            "ix_paceline_message_due",
            postgresql_where=sa.text("status = 'queued' AND due_at IS NOT NULL"),
            sqlite_where=sa.text("status = 'queued' AND due_at IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_paceline_message_content",
            postgresql_where=sa.text(
                "status NOT IN ('queued', 'sending', 'unknown') AND poll_at IS NULL AND payload <> '{}'"
            ),
            sqlite_where=sa.text(
                "status NOT IN ('queued', 'sending', 'unknown') AND poll_at IS NULL AND payload <> '{}'"
            ),
        )
        batch_op.drop_index(
            "ix_paceline_message_broadcast", postgresql_where=sa.text("broadcast"), sqlite_where=sa.text("broadcast")
        )

    op.drop_table("paceline_message")
    with op.batch_alter_table("paceline_lane", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_paceline_lane_key"))

    op.drop_table("paceline_lane")
    op.drop_table("paceline_key")
    with op.batch_alter_table("paceline_job", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_paceline_job_unknown",
            postgresql_where=sa.text("status = 'unknown'"),
            sqlite_where=sa.text("status = 'unknown'"),
        )
        batch_op.drop_index(
            "ix_paceline_job_lease",
            postgresql_where=sa.text("status = 'sending'"),
            sqlite_where=sa.text("status = 'sending'"),
        )
        batch_op.drop_index(
            "ix_paceline_job_idempotency_key",
            postgresql_where=sa.text("idempotency_key IS NOT NULL"),
            sqlite_where=sa.text("idempotency_key IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_paceline_job_due",
            postgresql_where=sa.text("status = 'queued'"),
            sqlite_where=sa.text("status = 'queued'"),
        )
        batch_op.drop_index(
            "ix_paceline_job_digest",
            postgresql_where=sa.text("digest IS NOT NULL"),
            sqlite_where=sa.text("digest IS NOT NULL"),
        )
        batch_op.drop_index("ix_paceline_job_created_at")

    op.drop_table("paceline_job")
    op.drop_table("paceline_installation")
    with op.batch_alter_table("paceline_idempotency_key", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_paceline_idempotency_key_created_at"))

    op.drop_table("paceline_idempotency_key")
    with op.batch_alter_table("paceline_grant", schema=None) as batch_op:
        batch_op.drop_index("ix_paceline_grant_key_created_at")

    op.drop_table("paceline_grant")
    with op.batch_alter_table("paceline_event", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_paceline_event_position",
            postgresql_where=sa.text("position IS NOT NULL"),
            sqlite_where=sa.text("position IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_paceline_event_new",
            postgresql_where=sa.text("position IS NULL"),
            sqlite_where=sa.text("position IS NULL"),
        )
        batch_op.drop_index("ix_paceline_event_message_id")
        batch_op.drop_index(
            "ix_paceline_event_data",
            postgresql_where=sa.text("data IS NOT NULL"),
            sqlite_where=sa.text("data IS NOT NULL"),
        )

    op.drop_table("paceline_event")
    with op.batch_alter_table("paceline_broadcast", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_paceline_broadcast_run",
            postgresql_where=sa.text("parent IS NOT NULL"),
            sqlite_where=sa.text("parent IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_paceline_broadcast_open",
            postgresql_where=sa.text("status NOT IN ('finished', 'cancelled')"),
            sqlite_where=sa.text("status NOT IN ('finished', 'cancelled')"),
        )

    op.drop_table("paceline_broadcast")
    with op.batch_alter_table("paceline_attempt", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_paceline_attempt_unknown",
            postgresql_where=sa.text("outcome = 'unknown'"),
            sqlite_where=sa.text("outcome = 'unknown'"),
        )

    op.drop_table("paceline_attempt")
    op.drop_table("paceline_account")
