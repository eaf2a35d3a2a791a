"""campaigns, contributions, verification

Revision: 0001, after .
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "campaigns",
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("onchain_campaign_id", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("data_requirements", sa.String(), nullable=False),
        sa.Column("quality_criteria", sa.String(), nullable=False),
        sa.Column("unit_price", sa.Numeric(78, 0), nullable=False),
        sa.Column("total_budget", sa.Numeric(78, 0), nullable=False),
        sa.Column("campaign_type", sa.String(), nullable=False),
        sa.Column("min_data_count", sa.BigInteger(), nullable=False),
        sa.Column("max_data_count", sa.BigInteger(), nullable=False),
        sa.Column("expiration", sa.BigInteger(), nullable=False),
        sa.Column("metadata_uri", sa.String(), nullable=False),
        sa.Column("transaction_hash", sa.String(), nullable=False),
        sa.Column("platform_fee", sa.Integer(), nullable=False),
        sa.Column("creator_wallet_address", sa.String(), nullable=False),
        sa.Column("is_premium", sa.Boolean(), nullable=False),
        sa.Column("required_quality_score", sa.Double(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("current_contributions", sa.Integer(), nullable=False),
        sa.Column("unique_contributions_count", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("campaign_id"),
        sa.UniqueConstraint("onchain_campaign_id"),
    )
    op.create_index("ix_campaigns_active", "campaigns", ["is_active", "expiration"], unique=False)
    op.create_index("ix_campaigns_creator", "campaigns", ["creator_wallet_address", "created_at"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("request_hash", sa.String(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("scope", "key"),
    )
    op.create_index("ix_idempotency_created", "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "activities",
        sa.Column("activity_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaigns.campaign_id"],
        ),
        sa.PrimaryKeyConstraint("activity_id"),
    )
    op.create_index("ix_activities_campaign", "activities", ["campaign_id", "activity_id"], unique=False)
    op.create_table(
        "contributions",
        sa.Column("contribution_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("onchain_contribution_id", sa.String(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("contributor", sa.String(), nullable=False),
        sa.Column("data_url", sa.String(), nullable=False),
        sa.Column("blob_id", sa.String(), nullable=True),
        sa.Column("file_type", sa.String(), nullable=True),
        sa.Column("transaction_hash", sa.String(), nullable=False),
        sa.Column("claimed_quality_score", sa.Double(), nullable=True),
        sa.Column("claimed_ai_verification_score", sa.Double(), nullable=True),
        sa.Column("reputation_score", sa.Double(), nullable=True),
        sa.Column("verdict", sa.String(), nullable=True),
        sa.Column("verified_score", sa.Double(), nullable=True),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_verified", sa.Boolean(), nullable=False),
        sa.Column("reward_claimed", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaigns.campaign_id"],
        ),
        sa.PrimaryKeyConstraint("contribution_id"),
        sa.UniqueConstraint("seq"),
    )
    op.create_index("ix_contributions_campaign", "contributions", ["campaign_id", "seq"], unique=False)
    op.create_index("ix_contributions_contributor", "contributions", ["campaign_id", "contributor"], unique=False)
    op.create_index(
        "uq_contributions_onchain",
        "contributions",
        ["onchain_contribution_id"],
        unique=True,
        postgresql_where=sa.text("onchain_contribution_id <> ''"),
    )
    op.create_table(
        "fingerprint_bands",
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("band_key", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("campaign_id", "band_key", "seq"),
    )
    op.create_table(
        "verification_batches",
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("sample_size", sa.Integer(), nullable=True),
        sa.Column("triggered_count", sa.Integer(), nullable=False),
        sa.Column("total_found", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaigns.campaign_id"],
        ),
        sa.PrimaryKeyConstraint("batch_id"),
    )
    op.create_index("ix_batches_campaign", "verification_batches", ["campaign_id", "created_at"], unique=False)
    op.create_index(
        "ix_batches_unfinished",
        "verification_batches",
        ["state"],
        unique=False,
        postgresql_where=sa.text("state IN ('pending', 'running')"),
    )
    op.create_table(
        "content_fingerprints",
        sa.Column("contribution_id", sa.Uuid(), nullable=False),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("contributor", sa.String(), nullable=False),
        sa.Column("content_hash", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaigns.campaign_id"],
        ),
        sa.ForeignKeyConstraint(
            ["contribution_id"],
            ["contributions.contribution_id"],
        ),
        sa.PrimaryKeyConstraint("contribution_id"),
    )
    op.create_index(
        "ix_fingerprints_hash", "content_fingerprints", ["campaign_id", "content_hash", "seq"], unique=False
    )
    op.create_index("ix_fingerprints_seq", "content_fingerprints", ["seq"], unique=True)
    op.create_table(
        "verification_batch_items",
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("contribution_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["verification_batches.batch_id"],
        ),
        sa.ForeignKeyConstraint(
            ["contribution_id"],
            ["contributions.contribution_id"],
        ),
        sa.PrimaryKeyConstraint("batch_id", "ordinal"),
    )
    op.create_table(
        "verification_results",
        sa.Column("result_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=True),
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("contribution_id", sa.Uuid(), nullable=True),
        sa.Column("contributor", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("raw_score", sa.Double(), nullable=True),
        sa.Column("adjustment", sa.Double(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("reasoning", sa.String(), nullable=False),
        sa.Column("marks", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("scorer", sa.String(), nullable=True),
        sa.Column("scorer_version", sa.String(), nullable=True),
        sa.Column("content_hash", sa.String(), nullable=True),
        sa.Column("media_type", sa.String(), nullable=True),
        sa.Column("left_out", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("duplicate_of", sa.Uuid(), nullable=True),
        sa.Column("duplicate_kind", sa.String(), nullable=True),
        sa.Column("similarity", sa.Double(), nullable=True),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("usage", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("duration_ms", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["verification_batches.batch_id"],
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaigns.campaign_id"],
        ),
        sa.ForeignKeyConstraint(
            ["contribution_id"],
            ["contributions.contribution_id"],
        ),
        sa.PrimaryKeyConstraint("result_id"),
        sa.UniqueConstraint("batch_id", "contribution_id", name="uq_results_batch_contribution"),
    )
    op.create_index("ix_results_batch", "verification_results", ["batch_id", "result_id"], unique=False)
    op.create_index("ix_results_contribution", "verification_results", ["contribution_id", "result_id"], unique=False)
    # Of a band key only the first few rows are read, in order. Left to itself the planner fetches and sorts all rows of
    # a key, which a crowd of copies makes thousands, or keeps a plan it made while the table was small. A function can
    # carry the settings that leave it the index; see storage/fingerprints.py for what it answers.
    op.execute("""
        CREATE FUNCTION fingerprint_candidates(
            campaign uuid, seqs bigint[], keys bigint[], per_key int, likest int, earliest int
        ) RETURNS TABLE (of_seq bigint, seq bigint) LANGUAGE sql STABLE
        SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS
        $$
            SELECT p.of_seq, p.seq FROM (
                SELECT q.seq AS of_seq, e.seq AS seq,
                    row_number() OVER (PARTITION BY q.seq ORDER BY count(*) DESC, e.seq) AS by_likeness,
                    row_number() OVER (PARTITION BY q.seq ORDER BY e.seq) AS by_age
                FROM unnest(seqs, keys) AS q(seq, key)
                CROSS JOIN LATERAL (
                    SELECT b.seq FROM fingerprint_bands b
                    WHERE b.campaign_id = campaign AND b.band_key = q.key AND b.seq < q.seq
                    ORDER BY b.seq LIMIT per_key
                ) e
                GROUP BY q.seq, e.seq
            ) p
            WHERE p.by_likeness <= likest OR p.by_age <= earliest
        $$
    """)
    # A cached campaign is proved fresh by its version, so no writer, ours or psql's, may forget to raise it.
    op.execute("""
        CREATE FUNCTION campaigns_version() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.version := OLD.version + 1; RETURN NEW; END $$
    """)
    op.execute("""
        CREATE TRIGGER campaigns_version BEFORE UPDATE ON campaigns
        FOR EACH ROW EXECUTE FUNCTION campaigns_version()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER campaigns_version ON campaigns")
    op.execute("DROP FUNCTION campaigns_version()")
    op.execute("DROP FUNCTION fingerprint_candidates(uuid, bigint[], bigint[], int, int, int)")
    op.drop_index("ix_results_contribution", table_name="verification_results")
    op.drop_index("ix_results_batch", table_name="verification_results")
    op.drop_table("verification_results")
    op.drop_table("verification_batch_items")
    op.drop_index("ix_fingerprints_seq", table_name="content_fingerprints")
    op.drop_index("ix_fingerprints_hash", table_name="content_fingerprints")
    op.drop_table("content_fingerprints")
    op.drop_index(
        "ix_batches_unfinished",
        table_name="verification_batches",
        postgresql_where=sa.text("state IN ('pending', 'running')"),
    )
    op.drop_index("ix_batches_campaign", table_name="verification_batches")
    op.drop_table("verification_batches")
    op.drop_table("fingerprint_bands")
    op.drop_index(
        "uq_contributions_onchain",
        table_name="contributions",
        postgresql_where=sa.text("onchain_contribution_id <> ''"),
    )
    op.drop_index("ix_contributions_contributor", table_name="contributions")
    op.drop_index("ix_contributions_campaign", table_name="contributions")
    op.drop_table("contributions")
    op.drop_index("ix_activities_campaign", table_name="activities")
    op.drop_table("activities")
    op.drop_index("ix_idempotency_created", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_index("ix_campaigns_creator", table_name="campaigns")
    op.drop_index("ix_campaigns_active", table_name="campaigns")
    op.drop_table("campaigns")
