"""A job may wait for another one, which is still to have its teacher."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

WITH_BACKOFF = ("state", sa.text("priority DESC"), "created_at", "id", "needs_gpus", "needs_memory_bytes", "retry_at")
WAITS = sa.text("waits_for_job_id IS NOT NULL")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("waits_for_job_id", sa.String(30), nullable=True))
    op.drop_index("jobs_to_claim", "jobs")
    op.create_index("jobs_to_claim", "jobs", [*WITH_BACKOFF, "waits_for_job_id"])
    op.create_index("jobs_that_wait", "jobs", ["waits_for_job_id"], sqlite_where=WAITS, postgresql_where=WAITS)


def downgrade() -> None:
    op.drop_index("jobs_that_wait", "jobs")
    op.drop_index("jobs_to_claim", "jobs")
    op.create_index("jobs_to_claim", "jobs", list(WITH_BACKOFF))
    op.drop_column("jobs", "waits_for_job_id")
