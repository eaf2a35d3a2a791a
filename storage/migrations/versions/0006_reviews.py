"""reviews, what was decided and done about them, and what runs' steps keep

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_JSON = postgresql.JSONB(astext_type=sa.Text())
_MOMENT = sa.DateTime(timezone=True)
_RECORDS = ("review_decisions", "review_actions", "run_artifacts")


def upgrade() -> None:
    op.create_table(
        "reviews",
        sa.Column("review_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("interrupt_id", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=True),
        sa.Column("checkpoint", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("campaign_id", sa.String(), nullable=True),
        sa.Column("contribution_id", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("subject", _JSON, nullable=False),
        sa.Column("saw", sa.String(), nullable=False),
        sa.Column("shown", _JSON, nullable=False),
        sa.Column("edit_schema", _JSON, nullable=True),
        sa.Column("ruling", _JSON, nullable=True),
        sa.Column("answers", _JSON, nullable=False),
        sa.Column("reviewers", _JSON, nullable=False),
        sa.Column("group_name", sa.String(), nullable=True),
        sa.Column("agreement", _JSON, nullable=False),
        sa.Column("disputed", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("deadline", _JSON, nullable=False),
        sa.Column("clock", _JSON, nullable=False),
        sa.Column("due_at", _MOMENT, nullable=True),
        sa.Column("next_at", _MOMENT, nullable=True),
        sa.Column("holder", sa.String(), nullable=True),
        sa.Column("lease_until", _MOMENT, nullable=True),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("settled_at", _MOMENT, nullable=True),
        sa.Column("outcome", _JSON, nullable=True),
        sa.Column("delivered_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("review_id"),
    )
    op.create_index("uq_reviews_number", "reviews", ["number"], unique=True)
    for name, columns, where in (
        ("ix_reviews_open", ["number"], "state = 'open'"),
        ("ix_reviews_next", ["next_at"], "state = 'open' AND next_at IS NOT NULL"),
        ("ix_reviews_leases", ["lease_until"], "state = 'open' AND lease_until IS NOT NULL"),
        (
            "ix_reviews_undelivered",
            ["settled_at"],
            "settled_at IS NOT NULL AND delivered_at IS NULL AND state <> 'cancelled'",
        ),
        ("ix_reviews_run", ["run_id", "number"], None),
        ("ix_reviews_owner", ["owner", "number"], None),
        ("ix_reviews_campaign", ["campaign_id", "number"], "campaign_id IS NOT NULL"),
        ("ix_reviews_contribution", ["contribution_id"], "contribution_id IS NOT NULL"),
    ):
        op.create_index(name, "reviews", columns, unique=False, postgresql_where=where and sa.text(where))
    op.create_table(
        "review_decisions",
        sa.Column("review_id", sa.Uuid(), nullable=False),
        sa.Column("reviewer", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("answer", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("payload", _JSON, nullable=True),
        sa.Column("words", sa.String(), nullable=False),
        sa.Column("changes", _JSON, nullable=False),
        sa.Column("saw", sa.String(), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("review_id", "reviewer"),
    )
    op.create_table(
        "review_actions",
        sa.Column("action_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("review_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("who", sa.String(), nullable=True),
        sa.Column("saw", sa.String(), nullable=True),
        sa.Column("details", _JSON, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("action_id"),
    )
    op.create_index("ix_review_actions", "review_actions", ["review_id", "seq"], unique=False)
    op.create_index("ix_review_actions_run", "review_actions", ["run_id", "seq"], unique=False)
    op.create_table(
        "run_artifacts",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("artifact_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=True),
        sa.Column("body", _JSON, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "artifact_id"),
    )
    op.create_index("ix_run_artifacts_seq", "run_artifacts", ["run_id", "seq"], unique=False)
    # A record that can be changed is none, whoever holds the password of the application.
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION '% is a record: nothing in it is changed or removed', TG_TABLE_NAME; END $$"
    )
    for table in _RECORDS:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    # Here and not in the code, for hosts write actions too, by a protocol of their own.
    op.execute(
        "CREATE FUNCTION tell_of_review() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " PERFORM pg_notify('hyvve_reviews', NEW.review_id::text); RETURN NULL; END $$"
    )
    op.execute("CREATE TRIGGER tell AFTER INSERT ON review_actions FOR EACH ROW EXECUTE FUNCTION tell_of_review()")


def downgrade() -> None:
    for table in ("run_artifacts", "review_actions", "review_decisions", "reviews"):
        op.drop_table(table)
    op.execute("DROP FUNCTION tell_of_review()")
    op.execute("DROP FUNCTION refuse_change()")
