"""The schema's history. `storage.migrations.schema` brings a database to the newest revision."""
