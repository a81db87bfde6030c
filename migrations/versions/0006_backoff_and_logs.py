"""After a crash without progress a job backs off before it is tried again; what its logs take is counted."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

WITH_NEEDS = ("state", sa.text("priority DESC"), "created_at", "id", "needs_gpus", "needs_memory_bytes")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("jobs", sa.Column("log_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    op.drop_index("jobs_to_claim", "jobs")
    op.create_index("jobs_to_claim", "jobs", [*WITH_NEEDS, "retry_at"])
    op.create_index("jobs_by_log_bytes", "jobs", ["log_bytes"])


def downgrade() -> None:
    op.drop_index("jobs_by_log_bytes", "jobs")
    op.drop_index("jobs_to_claim", "jobs")
    op.create_index("jobs_to_claim", "jobs", list(WITH_NEEDS))
    op.drop_column("jobs", "log_bytes")
    op.drop_column("jobs", "retry_at")
