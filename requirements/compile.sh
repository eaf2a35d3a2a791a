#!/bin/sh
# Compile the lock: every package that any extra or test needs, pinned, with no index address and no local build tag.
# Extra arguments go to uv (for example where to find a CPU build of torch).
set -eu
cd "$(dirname "$0")/.."
"${UV:-.venv/bin/uv}" pip compile pyproject.toml --all-extras --group dev --constraint requirements/constraints.txt \
  --no-header --no-annotate --no-emit-index-url --no-emit-find-links --python-version 3.11 --upgrade "$@" 2>/dev/null |
  sed 's/^torch==\([0-9.]*\).*/torch==\1/' >requirements/lock.txt
