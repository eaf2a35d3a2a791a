"""Alembic's entry: migrates the database that `storage.migrations.upgrade` hands over."""

from alembic import context
from sqlalchemy import Connection

# Every module with a table, so that autogenerate sees them all.
import storage.activities
import storage.callbacks
import storage.campaign_thresholds
import storage.campaigns
import storage.contributions
import storage.fingerprints
import storage.firings
import storage.idempotency
import storage.reviews
import storage.run_effects
import storage.run_events
import storage.run_shards
import storage.runs
import storage.schedules
import storage.stored_files
import storage.verifications
import storage.webhooks
import storage.workflows  # noqa: F401
from storage.engine import Base, sync_engine


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:  # `alembic -x url=… revision --autogenerate`, by a developer
    engine = sync_engine(context.get_x_argument(as_dictionary=True)["url"])
    with engine.begin() as opened:
        run(opened)
