"""Back-off: after a crash without progress a job waits before it is tried again."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

WITH_NEEDS = ("state", sa.text("priority DESC"), "created_at", "id", "needs_gpus", "needs_memory_bytes")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True))
    op.drop_index("jobs_to_claim", "jobs")
    op.create_index("jobs_to_claim", "jobs", [*WITH_NEEDS, "retry_at"])


def downgrade() -> None:
    op.drop_index("jobs_to_claim", "jobs")
    op.create_index("jobs_to_claim", "jobs", list(WITH_NEEDS))
    op.drop_column("jobs", "retry_at")
