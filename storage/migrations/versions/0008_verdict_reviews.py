"""people's decisions on verdicts REVIEW, and thresholds that are calibrated by them

Revision: 0008, after 0006.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None

_JSON = postgresql.JSONB(astext_type=sa.Text())


def upgrade() -> None:
    op.add_column("campaigns", sa.Column("thresholds", _JSON, nullable=True))
    op.add_column("contributions", sa.Column("reviewed_hash", sa.String(), nullable=True))
    op.add_column(
        "verification_batches", sa.Column("asks_people", sa.Boolean(), nullable=False, server_default=sa.true())
    )
    # The default was for the rows that are there.
    op.alter_column("verification_batches", "asks_people", server_default=None)
    op.add_column("verification_results", sa.Column("review_run_id", sa.Uuid(), nullable=True))
    op.add_column("verification_results", sa.Column("decides", sa.BigInteger(), nullable=True))
    op.add_column("verification_results", sa.Column("decided_by", sa.String(), nullable=True))
    op.add_column("verification_results", sa.Column("review_id", sa.Uuid(), nullable=True))
    decided = sa.text("decides IS NOT NULL")
    op.create_index(
        "ix_results_asked", "verification_results", ["contribution_id"], unique=False,
        postgresql_where=sa.text("review_run_id IS NOT NULL"),
    )  # fmt: skip
    op.create_index("uq_results_decides", "verification_results", ["decides"], unique=True, postgresql_where=decided)
    op.create_index(
        "uq_results_decided", "verification_results", ["contribution_id", "content_hash"], unique=True,
        postgresql_where=decided,
    )  # fmt: skip
    op.create_index(
        "ix_results_decisions", "verification_results", ["campaign_id", "result_id"], unique=False,
        postgresql_where=decided,
    )  # fmt: skip
    op.create_table(
        "campaign_thresholds",
        sa.Column("version", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("required_score", sa.Float(), nullable=False),
        sa.Column("review_margin", sa.Float(), nullable=False),
        sa.Column("min_confidence", sa.Float(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("proposal", _JSON, nullable=False),
        sa.Column("applied_by", sa.String(), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.campaign_id"]),
        sa.PrimaryKeyConstraint("version"),
    )
    op.create_index("ix_campaign_thresholds", "campaign_thresholds", ["campaign_id", "version"], unique=False)


def downgrade() -> None:
    op.drop_table("campaign_thresholds")
    for name in ("ix_results_decisions", "uq_results_decided", "uq_results_decides", "ix_results_asked"):
        op.drop_index(name, table_name="verification_results")
    for column in ("review_id", "decided_by", "decides", "review_run_id"):
        op.drop_column("verification_results", column)
    op.drop_column("verification_batches", "asks_people")
    op.drop_column("contributions", "reviewed_hash")
    op.drop_column("campaigns", "thresholds")
