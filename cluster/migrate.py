"""`hyvve migrate`: the schema, brought to what this version needs; and, for developers, the next migration begun.

`python -m cluster.migrate 0042_nouns` is `make migration NEW=0042_nouns`.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from cluster.directory import DataDirectory
from cluster.embedded_postgres import EmbeddedPostgres
from cluster.settings import Settings
from storage.migrations import schema

_NAME = re.compile(r"\d{4}_[a-z0-9_]+")


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


def begin(name: str) -> str:
    """Write a new migration of that name from what changed in the tables; its file. A database of its own is started
    for it and removed, so that none of anybody's is touched.
    """
    with tempfile.TemporaryDirectory(prefix="hyvve-migration-") as scratch:
        server = EmbeddedPostgres(DataDirectory.at(Path(scratch)))
        url = server.start()
        try:
            schema.upgrade(url)
            return schema.begin(url, name)
        finally:
            server.stop()


def main() -> int:
    """Entry of `python -m cluster.migrate`."""
    if len(sys.argv) != 2 or not _NAME.fullmatch(sys.argv[1]):
        sys.stderr.write("usage: make migration NEW=0042_what_it_brings (its number is the next one)\n")
        return 2
    begin(sys.argv[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
