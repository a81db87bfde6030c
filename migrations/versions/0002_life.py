"""The rest of a job's life: pauses, limits, needs, retries that are counted once; workers; webhooks."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import context, op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

JSON = sa.JSON()
TIME = sa.DateTime(timezone=True)
IN_TURN = ("state", sa.text("priority DESC"), "created_at", "id")
# Where nobody can look at the jobs: PostgreSQL, printed for its administrator.
NEEDS = """
    UPDATE jobs SET
        needs_gpus = CASE WHEN CAST(resolved_spec #>> '{config,resources,gpus}' AS INTEGER) > 1
            THEN CAST(resolved_spec #>> '{config,resources,gpus}' AS INTEGER) ELSE 0 END,
        teacher_job_id = resolved_spec #>> '{config,teacher,job}'
    WHERE state IN ('queued', 'running')
"""


def _of_jobs() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("teacher_job_id", sa.String(30), nullable=True),
        sa.Column("idempotency_key", sa.String(255), nullable=True),
        sa.Column("idempotency_digest", sa.String(64), nullable=True),
        sa.Column("max_run_seconds", sa.Double(), nullable=True),
        sa.Column("max_queue_seconds", sa.Double(), nullable=True),
        sa.Column("max_stall_seconds", sa.Double(), nullable=True),
        sa.Column("keep_last", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("needs_gpus", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("needs_memory_bytes", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("run_seconds", sa.Double(), nullable=False, server_default="0"),
        sa.Column("start_by", TIME, nullable=True),
        sa.Column("pause_requested_at", TIME, nullable=True),
    )


def upgrade() -> None:
    for column in _of_jobs():
        op.add_column("jobs", column)
    _fill_in_needs()
    op.drop_index("jobs_to_claim", "jobs")
    op.create_index("jobs_to_claim", "jobs", [*IN_TURN, "needs_gpus", "needs_memory_bytes"])
    op.create_index("jobs_to_expire", "jobs", ["state", "start_by"])
    op.create_index("jobs_by_mode", "jobs", ["mode", "id"])
    op.create_index("jobs_by_teacher", "jobs", ["teacher_job_id"])
    op.create_index("jobs_by_idempotency_key", "jobs", ["idempotency_key"], unique=True)
    op.add_column("checkpoints", sa.Column("pinned", sa.Boolean(), nullable=False, server_default=sa.false()))

    op.create_table(
        "workers",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.Column("gpu_names", JSON, nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("heartbeat_at", TIME, nullable=False),
        sa.Column("drain_requested_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_workers"),
    )
    op.create_index("workers_by_heartbeat", "workers", ["heartbeat_at"])

    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(31), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("events", JSON, nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("disabled_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(31), nullable=False),
        sa.Column("webhook_id", sa.String(31), nullable=False),
        sa.Column("job_id", sa.String(30), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_try_at", TIME, nullable=False),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("delivered_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], name="fk_deliveries_webhook_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_deliveries_job_id", ondelete="CASCADE"),
    )
    op.create_index("deliveries_to_send", "deliveries", ["state", "next_try_at", "id"])
    op.create_index("deliveries_by_webhook", "deliveries", ["webhook_id", "id"])
    op.create_index("deliveries_by_job", "deliveries", ["job_id", "webhook_id", "seq"])


def _fill_in_needs() -> None:
    """Of jobs that are there and have not ended: what they need, and whose teacher they borrow."""
    if context.is_offline_mode():
        op.execute(NEEDS)
        return
    jobs = sa.table(
        "jobs",
        *(sa.column(name) for name in ("id", "state", "needs_gpus", "teacher_job_id")),
        sa.column("resolved_spec", JSON),
    )
    connection = op.get_bind()
    not_ended = sa.select(jobs.c.id, jobs.c.resolved_spec).where(jobs.c.state.in_(["queued", "running"]))
    for job_id, spec in connection.execute(not_ended).all():
        config = spec["config"]
        gpus = config.get("resources", {}).get("gpus", 1)
        values = {"needs_gpus": gpus if gpus > 1 else 0, "teacher_job_id": config.get("teacher", {}).get("job")}
        connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(**values))


def downgrade() -> None:
    op.drop_index("jobs_to_claim", "jobs")
    op.create_index("jobs_to_claim", "jobs", list(IN_TURN))
    for table in ("deliveries", "webhooks", "workers"):
        op.drop_table(table)
    op.drop_column("checkpoints", "pinned")
    op.drop_index("jobs_by_idempotency_key", "jobs")
    op.drop_index("jobs_by_teacher", "jobs")
    op.drop_index("jobs_by_mode", "jobs")
    op.drop_index("jobs_to_expire", "jobs")
    for column in reversed(_of_jobs()):
        op.drop_column("jobs", column.name)
    # The older version knows no paused job; a queued one it may run.
    op.execute("UPDATE jobs SET state = 'queued' WHERE state = 'paused'")
