"""Brings a database's schema up to date, or says how far it is from it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from storage.engine import sync_engine
from storage.errors import DatabaseUnavailableError, MigrationError

# Any constant serves, as long as it is ours alone: two launchers on one database migrate one after the other.
_LOCK = 0x68797676


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    # Explicit, or Alembic warns about splitting version paths.
    config.set_main_option("path_separator", "os")
    return config


def head() -> str:
    """The revision this version of Hyvve needs."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def upgrade(database_url: str) -> None:
    """Bring the schema to `head()`. Safe to call from several processes at once.

    Raises `DatabaseUnavailableError`, or `MigrationError` where the database is newer than this code.
    """
    engine = sync_engine(database_url)
    try:
        with engine.connect() as connection:
            connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))
            connection.commit()
            try:
                _refuse_newer(connection)
                config = _config()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                connection.commit()
            finally:
                connection.rollback()
                connection.execute(text(f"SELECT pg_advisory_unlock({_LOCK})"))
                connection.commit()
    except OperationalError as error:
        raise _unavailable(error) from error
    finally:
        engine.dispose()


def check(database_url: str) -> None:
    """Raises `MigrationError` unless the schema is at `head()`."""
    engine = sync_engine(database_url)
    try:
        with engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
            _refuse_newer(connection)
        if current != head():
            raise MigrationError(
                f"the database is at revision {current}, this version of Hyvve needs {head()}: run `hyvve migrate`",
                subject=current,
            )
    except OperationalError as error:
        raise _unavailable(error) from error
    finally:
        engine.dispose()


def begin(database_url: str, name: str) -> str:
    """Write a new migration, from how the code's tables differ from that database, which is at `head()`; its file.

    `name` is its number and what it brings, as in `0042_nouns`. Triggers and what expressions hold are not compared.
    """
    number, _, what = name.partition("_")
    engine = sync_engine(database_url)
    try:
        with engine.connect() as connection:
            config = _config()
            config.attributes["connection"] = connection
            made = command.revision(config, message=what.replace("_", " "), rev_id=number, autogenerate=True)
    finally:
        engine.dispose()
    assert isinstance(made, Script)
    return made.path


def _refuse_newer(connection: Connection) -> None:
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if current is not None and current not in known:
        raise MigrationError(
            f"the database is at revision {current}, which this version of Hyvve does not know: it was migrated by a "
            "newer one; upgrade Hyvve or point SQLALCHEMY_DATABASE_URL elsewhere",
            subject=current,
        )


def _unavailable(error: OperationalError) -> DatabaseUnavailableError:
    return DatabaseUnavailableError(
        f"PostgreSQL is not reachable ({str(error.orig).strip().splitlines()[0]}); check SQLALCHEMY_DATABASE_URL and "
        "that the server runs"
    )
