"""Jobs, their events and curves, their checkpoints and files."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

JSON = sa.JSON()
TIME = sa.DateTime(timezone=True)
ARTIFACT = sa.text("kind = 'artifact'")


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(30), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("labels", JSON, nullable=False),
        sa.Column("spec", JSON, nullable=False),
        sa.Column("resolved_spec", JSON, nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("parent_job_id", sa.String(30), nullable=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("phase", sa.String(32), nullable=True),
        sa.Column("progress", JSON, nullable=False),
        sa.Column("latest_metrics", JSON, nullable=False),
        sa.Column("error", JSON, nullable=True),
        sa.Column("result", JSON, nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("stalls", sa.Integer(), nullable=False),
        sa.Column("checkpoint_step", sa.BigInteger(), nullable=False),
        sa.Column("events_seq", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("cancel_requested_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.ForeignKeyConstraint(["parent_job_id"], ["jobs.id"], name="fk_jobs_parent_job_id", ondelete="SET NULL"),
        sa.CheckConstraint("priority BETWEEN -100 AND 100", name=op.f("ck_jobs_priority_in_range")),
    )
    op.create_index("jobs_to_claim", "jobs", ["state", sa.text("priority DESC"), "created_at", "id"])
    op.create_index("jobs_to_rescue", "jobs", ["state", "lease_expires_at"])
    op.create_index("jobs_by_state", "jobs", ["state", "id"])
    op.create_index("jobs_by_parent", "jobs", ["parent_job_id"])

    op.create_table(
        "events",
        sa.Column("job_id", sa.String(30), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("data", JSON, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "seq", name="pk_events"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_events_job_id", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )

    op.create_table(
        "metric_points",
        sa.Column("job_id", sa.String(30), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "name", "step", name="pk_metric_points"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_metric_points_job_id", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )

    op.create_table(
        "checkpoints",
        sa.Column("id", sa.String(31), nullable=False),
        sa.Column("job_id", sa.String(30), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(32), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("best", sa.Boolean(), nullable=False),
        sa.Column("metrics", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_checkpoints"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_checkpoints_job_id", ondelete="CASCADE"),
    )
    op.create_index("checkpoints_by_job", "checkpoints", ["job_id", "attempt", "step"])

    op.create_table(
        "files",
        sa.Column("id", sa.String(31), nullable=False),
        sa.Column("job_id", sa.String(30), nullable=False),
        sa.Column("checkpoint_id", sa.String(31), nullable=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_files_job_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoints.id"], name="fk_files_checkpoint_id", ondelete="CASCADE"
        ),
    )
    op.create_index("files_by_job", "files", ["job_id", "kind"])
    op.create_index("files_by_checkpoint", "files", ["checkpoint_id"])
    op.create_index(
        "artifacts_by_name",
        "files",
        ["job_id", "name"],
        unique=True,
        sqlite_where=ARTIFACT,
        postgresql_where=ARTIFACT,
    )


def downgrade() -> None:
    for table in ("files", "checkpoints", "metric_points", "events", "jobs"):
        op.drop_table(table)
