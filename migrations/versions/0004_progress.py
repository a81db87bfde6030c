"""Progress is a larger share of the run, not a later step: a job keeps the largest share that was ever safe."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("safe_fraction", sa.Double(), nullable=False, server_default="-1"))


def downgrade() -> None:
    op.drop_column("jobs", "safe_fraction")
