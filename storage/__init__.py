"""What is kept: tables and their queries, cache, blobs, migrations."""
