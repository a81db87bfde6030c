"""The kind of a job is a column, so that an index tells the line of either kind whole, and in order."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

IN_TURN = (sa.text("priority DESC"), "created_at", "id")
ASKED_OF_THEM = ("needs_gpus", "needs_memory_bytes", "retry_at", "waits_for_job_id")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("kind", sa.String(16), nullable=False, server_default="distillation"))
    op.execute("UPDATE jobs SET kind = 'light' WHERE mode = 'ingest'")
    op.drop_index("jobs_to_claim", "jobs")
    op.drop_index("jobs_by_state", "jobs")
    op.create_index("jobs_to_claim", "jobs", ["state", "kind", *IN_TURN, *ASKED_OF_THEM])
    op.create_index("jobs_by_state", "jobs", ["state", "kind", "id"])


def downgrade() -> None:
    op.drop_index("jobs_by_state", "jobs")
    op.drop_index("jobs_to_claim", "jobs")
    op.create_index("jobs_by_state", "jobs", ["state", "id"])
    op.create_index("jobs_to_claim", "jobs", ["state", *IN_TURN, *ASKED_OF_THEM])
    op.drop_column("jobs", "kind")
