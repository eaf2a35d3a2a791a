"""runs, their events, effects and shards

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from storage.run_shards import FENCED, LOCK

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_JSON = postgresql.JSONB(astext_type=sa.Text())
_TIME = sa.DateTime(timezone=True)

# Heads every transaction of a host. The lock comes before the look: what is claimed meanwhile is seen, and who claims
# waits for those that looked before.
_FENCE = f"""
CREATE FUNCTION run_fence(held_epoch bigint, shards integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    held integer;
BEGIN
    PERFORM pg_advisory_xact_lock_shared({LOCK});
    SELECT count(*) INTO held FROM run_shards WHERE epoch = held_epoch;
    IF held <> shards THEN
        RAISE EXCEPTION 'shards of epoch % were taken over: % of % are left', held_epoch, held, shards
            USING ERRCODE = '{FENCED}';
    END IF;
END $$
"""  # noqa: S608  # constants only


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("thread_id", sa.String(), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=True),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("progress", _JSON, nullable=False),
        sa.Column("spec", _JSON, nullable=False),
        sa.Column("input", _JSON, nullable=False),
        sa.Column("output", _JSON, nullable=True),
        sa.Column("error", _JSON, nullable=True),
        sa.Column("interrupts", _JSON, nullable=False),
        sa.Column("resume", _JSON, nullable=False),
        sa.Column("budget", _JSON, nullable=False),
        sa.Column("usage", _JSON, nullable=False),
        sa.Column("parent_run_id", sa.Uuid(), nullable=True),
        sa.Column("forked_from", sa.String(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("recoveries", sa.Integer(), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), nullable=False),
        sa.Column("retained", sa.String(), nullable=False),
        sa.Column("deadline_at", _TIME, nullable=True),
        sa.Column("wake_at", _TIME, nullable=True),
        sa.Column("cancel_requested_at", _TIME, nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("started_at", _TIME, nullable=True),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("run_id"),
        postgresql_with={"fillfactor": 70},
    )
    for name, columns, where in _INDEXES:
        op.create_index(
            name, "runs", list(columns), unique=name.startswith("uq_"),
            postgresql_where=None if where is None else sa.text(where),
        )  # fmt: skip
    op.create_table(
        "run_events",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("step", sa.String(), nullable=True),
        sa.Column("data", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "seq"),
    )
    op.create_table(
        "run_effects",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("result", _JSON, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "key"),
    )
    op.create_table(
        "run_shards",
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("claimed_at", _TIME, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("shard"),
    )
    op.execute(_FENCE)


_INDEXES = (
    ("uq_runs_thread_active", ("thread_id",), "status IN ('running', 'waiting')"),
    ("ix_runs_to_drive", ("status", "shard", "run_id"), "status IN ('pending', 'running')"),
    ("ix_runs_asked", ("shard",), "status = 'waiting' AND (resume <> '{}' OR cancel_requested_at IS NOT NULL)"),
    ("ix_runs_wake", ("wake_at",), "status IN ('pending', 'waiting') AND wake_at IS NOT NULL"),
    ("ix_runs_deadline", ("deadline_at",), "status IN ('pending', 'waiting') AND deadline_at IS NOT NULL"),
    ("ix_runs_thread", ("thread_id", "run_id"), None),
    ("ix_runs_owner", ("owner", "run_id"), None),
    ("ix_runs_status", ("status", "run_id"), None),
    ("ix_runs_kind", ("kind", "run_id"), None),
    ("ix_runs_parent", ("parent_run_id",), "parent_run_id IS NOT NULL"),
    ("ix_runs_retained", ("retained", "ended_at"), "ended_at IS NOT NULL"),
)


def downgrade() -> None:
    op.execute("DROP FUNCTION run_fence(bigint, integer)")
    for table in ("run_shards", "run_effects", "run_events", "runs"):
        op.drop_table(table)
