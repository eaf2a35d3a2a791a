"""The migrations make the tables that the code reads and writes: one that was forgotten fails here, and not at a user's."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

import storage
from storage.engine import Base, sync_engine
from storage.migrations import schema


def test_the_migrations_make_every_table_column_and_index_that_the_code_has(database_url: str) -> None:
    for module in pkgutil.iter_modules(storage.__path__):
        importlib.import_module(f"storage.{module.name}")
    engine = sync_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, Base.metadata)
        assert context.get_current_revision() == schema.head()
    engine.dispose()
    assert differences == []


def test_a_new_migration_is_begun_from_all_tables() -> None:
    seen = (Path(schema.__file__).parent / "env.py").read_text()
    homes = {mapper.class_.__module__ for mapper in Base.registry.mappers}
    assert {home for home in homes if f"import {home}" not in seen} == set()
