"""A job may borrow from several others at once."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "loans",
        sa.Column("job_id", sa.String(30), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("lends", sa.String(32), primary_key=True),
    )
    op.create_index("loans_by_what_they_lend", "loans", ["lends"])


def downgrade() -> None:
    op.drop_table("loans")
