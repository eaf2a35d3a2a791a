"""Alembic's entry: works on the connection that `schema.py` hands over."""

from alembic import context
from sqlalchemy import Connection

# Every module with a table, so that a new migration is begun from them all.
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
from storage.engine import Base


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
