"""Answers that got lost, and deletions that take long: a trainer's messages are counted; what a deleted job has said is
deleted bit by bit."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

LOGS = ("events", "metric_points")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("messages", sa.Integer(), nullable=False, server_default="0"))
    op.create_table("leftovers", sa.Column("job_id", sa.String(30), nullable=False), sa.PrimaryKeyConstraint("job_id"))
    for table in LOGS:
        with op.batch_alter_table(table, table_kwargs={"sqlite_with_rowid": False}) as log:
            log.drop_constraint(f"fk_{table}_job_id", type_="foreignkey")
    op.create_index("deliveries_by_age", "deliveries", ["created_at"])


def downgrade() -> None:
    op.drop_index("deliveries_by_age", "deliveries")
    for table in LOGS:
        op.execute(f"DELETE FROM {table} WHERE NOT EXISTS (SELECT * FROM jobs WHERE jobs.id = {table}.job_id)")
        with op.batch_alter_table(table, table_kwargs={"sqlite_with_rowid": False}) as log:
            log.create_foreign_key(f"fk_{table}_job_id", "jobs", ["job_id"], ["id"], ondelete="CASCADE")
    op.drop_table("leftovers")
    op.drop_column("jobs", "messages")
