"""what a review asks, and the history of a run that asked, are records too

Revision: 0012, after 0011.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# What was asked. Whom it is with, until when, and what came of it go on.
_ASKED = (
    "review_id, run_id, checkpoint, title, source, step, subject, saw, shown, edit_schema, ruling, answers, agreement,"
    " deadline, blind, created_at"
)


def upgrade() -> None:
    op.execute(
        f"CREATE TRIGGER append_only BEFORE UPDATE OF {_ASKED} OR DELETE OR TRUNCATE ON reviews"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    # None of these costs an event that is written anything.
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON run_events"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE FUNCTION refuse_reviewed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF EXISTS (SELECT FROM gone JOIN reviews USING (run_id)) THEN"
        "  RAISE EXCEPTION '% is a record where people were asked: nothing in it is removed', TG_TABLE_NAME; END IF;"
        " RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER kept AFTER DELETE ON run_events REFERENCING OLD TABLE AS gone"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_reviewed()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER kept ON run_events")
    op.execute("DROP FUNCTION refuse_reviewed()")
    op.execute("DROP TRIGGER append_only ON run_events")
    op.execute("DROP TRIGGER append_only ON reviews")
