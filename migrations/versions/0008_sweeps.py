"""Sweeps: many runs from one request, and which of them there are."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

JSON = sa.JSON()
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "sweeps",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("plan", JSON, nullable=False),
        sa.Column("planned", sa.Integer(), nullable=False),
        sa.Column("max_parallel", sa.Integer(), nullable=False),
        sa.Column("max_run_seconds", sa.Double(), nullable=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("idempotency_key", sa.String(255), nullable=True),
        sa.Column("idempotency_digest", sa.String(64), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_sweeps"),
    )
    op.create_index("sweeps_by_state", "sweeps", ["state", "id"])
    op.create_index("sweeps_by_idempotency_key", "sweeps", ["idempotency_key"], unique=True)
    op.create_table(
        "sweep_members",
        sa.Column("sweep_id", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(30), nullable=True),
        sa.Column("point", JSON, nullable=False),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.Column("teacher_key", sa.String(64), nullable=True),
        sa.Column("leads", sa.Boolean(), nullable=False),
        sa.Column("judged_epoch", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("sweep_id", "number", name="pk_sweep_members"),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweeps.id"], name="fk_sweep_members_sweep_id", ondelete="CASCADE"),
    )
    op.create_index("sweep_members_by_job", "sweep_members", ["job_id"])


def downgrade() -> None:
    op.drop_table("sweep_members")
    op.drop_table("sweeps")
