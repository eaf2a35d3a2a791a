"""the time that a run is given, so that a retry gives it again

Revision: 0010, after 0009.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("deadline_s", sa.Float(), nullable=True))
    # Until now a retry left no deadline, so each that is there was counted from the run's acceptance.
    op.execute(
        "UPDATE runs SET deadline_s = extract(epoch FROM deadline_at - created_at)"
        " WHERE deadline_at IS NOT NULL AND deadline_at > created_at"
    )


def downgrade() -> None:
    op.drop_column("runs", "deadline_s")
