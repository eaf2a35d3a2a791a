"""the session that a run belongs to, so that runs are found by it

Revision: 0011, after 0010.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("session_id", sa.String(), nullable=True))
    # Team runs were told theirs from the start, and kept it in their input alone.
    op.execute(
        "UPDATE runs SET session_id = coalesce(input #>> '{run_input,session_id}', input #>> '{compared,session_id}')"
        " WHERE kind IN ('team_run', 'team_comparison')"
    )
    op.create_index(
        "ix_runs_session",
        "runs",
        ["session_id", "run_id"],
        unique=False,
        postgresql_where=sa.text("session_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_runs_session", table_name="runs")
    op.drop_column("runs", "session_id")
