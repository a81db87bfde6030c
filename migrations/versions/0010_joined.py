"""Who hears of an event is a matter of who was there, not of clocks, which are set back."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # All that there are were there before all that waits.
    op.add_column("webhooks", sa.Column("joined", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("outbox", sa.Column("joined", sa.Integer(), nullable=False, server_default="0"))
    op.drop_column("webhooks", "enabled_at")


def downgrade() -> None:
    op.add_column("webhooks", sa.Column("enabled_at", sa.DateTime(timezone=True), nullable=True))
    op.drop_column("outbox", "joined")
    op.drop_column("webhooks", "joined")
