"""Deliveries are written after the event, from an outbox, and outlive the jobs and webhooks that they belong to."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TIME = sa.DateTime(timezone=True)
OWNERS = {"webhook_id": "webhooks", "job_id": "jobs"}


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("job_id", sa.String(30), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "seq", name="pk_outbox"),
        sqlite_with_rowid=False,
    )
    op.create_index("outbox_in_turn", "outbox", ["at", "job_id", "seq"])
    op.add_column("webhooks", sa.Column("enabled_at", TIME, nullable=True))
    with op.batch_alter_table("deliveries") as table:
        for column in OWNERS:
            table.drop_constraint(f"fk_deliveries_{column}", type_="foreignkey")


def downgrade() -> None:
    for column, owners in OWNERS.items():
        op.execute(f"DELETE FROM deliveries WHERE {column} NOT IN (SELECT id FROM {owners})")
    with op.batch_alter_table("deliveries") as table:
        for column, owners in OWNERS.items():
            table.create_foreign_key(f"fk_deliveries_{column}", owners, [column], ["id"], ondelete="CASCADE")
    op.drop_column("webhooks", "enabled_at")
    op.drop_index("outbox_in_turn", "outbox")
    op.drop_table("outbox")
