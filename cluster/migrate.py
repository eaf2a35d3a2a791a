"""`hyvve migrate`: the schema, brought to what this version needs."""

from __future__ import annotations

from cluster.embedded_postgres import EmbeddedPostgres
from cluster.settings import Settings
from storage.migrations import schema


def migrate(settings: Settings) -> str:
    """The database is at the revision answered. An embedded one that was not running is stopped again."""
    if not settings.cluster.embedded_postgres:
        schema.upgrade(settings.storage.database_url)
        return schema.head()
    server = EmbeddedPostgres(settings.directory)
    ran = server.process() is not None
    server.start()
    try:
        schema.upgrade(settings.storage.database_url)
    finally:
        if not ran:
            server.stop()
    return schema.head()
