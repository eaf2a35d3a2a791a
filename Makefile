# Everything a newcomer runs. Each target sets up what it needs; `make setup` is instant when nothing changed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
TEST_JOBS ?= 2
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done
# A Ray cluster is a dozen processes that import a thousand modules each. Where nobody may keep what was compiled, each of
# them compiles all anew, which is half of the time that `hyvve up` takes.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo test check format migration lock screenshots bench bench-serve bench-verify bench-quality bench-forms bench-up bench-runs bench-waiting bench-reviews clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## build .venv from the lock

# torch comes first and by pip, so that a machine with a CPU build at hand takes that one; everything else comes by
# uv, in seconds, where pip's resolver does not finish in ten minutes. The import compiles what the processes of a cluster load.
$(STAMP): pyproject.toml requirements/lock.txt requirements/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Hyvve needs Python 3.11 or newer; found $$($(PYTHON) --version). Set PYTHON=/path/to/python3.11." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/bootstrap.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements/lock.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@$(BIN)/python -c 'import actors.agents.kind, actors.reviews.teams.kind, actors.runs.actor, actors.schedules.actor, actors.verification.actor, cluster.supervisor, serve.app, serve.deployment'
	@touch $(STAMP)

demo: $(STAMP) ## verify a sample campaign, start to finish, on this machine
	$(BIN)/python -m cluster.demo

# What starts clusters or holds a limit of time has the machine to itself, and then so many files of the rest are tested side by side.
test: $(STAMP) ## every test; TEST_JOBS=4 for four at a time of those that need no cluster
	@failed=0; \
	$(BIN)/python -m pytest --durations=40 -m "cluster or timed" || failed=1; \
	$(BIN)/python -m pytest --durations=40 -m "not (cluster or timed)" -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder || failed=1; \
	exit $$failed

check: $(STAMP) ## lint, format, strict types, import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

migration: $(STAMP) ## begin a migration from what changed in the tables: make migration NEW=0042_nouns
	$(BIN)/python -m cluster.migrate $(NEW)

lock: $(STAMP) ## compile requirements/lock.txt anew
	UV=$(BIN)/uv requirements/compile.sh

screenshots: $(STAMP) ## every page of the console anew, as docs/console/*.png; needs chromium
	$(BIN)/python -m tests.serve.console.screenshots

bench: bench-up bench-serve bench-verify bench-quality bench-forms bench-runs bench-waiting bench-reviews ## every benchmark

bench-serve: $(STAMP) ## Serve against plain uvicorn; the clients' poll against an ORM read
	$(BIN)/python -m tests.benchmarks.bench_serve

bench-verify: $(STAMP) ## provider concurrency, whole-path rate per core, local scorer, 20,000 contributions
	$(BIN)/python -m tests.benchmarks.bench_verify

bench-quality: $(STAMP) ## ranking, injections, near duplicates
	$(BIN)/python -m tests.benchmarks.bench_quality

bench-forms: $(STAMP) ## classes of fields and places of attachments, on public models' inputs
	$(BIN)/python -m tests.benchmarks.bench_forms

bench-up: $(STAMP) ## `hyvve up` to the first 200 against a bare Ray Serve script
	$(BIN)/python -m tests.benchmarks.bench_up

bench-waiting: $(STAMP) ## 100,000 waiting runs: a host's memory, how soon one goes on, listings
	$(BIN)/python -m tests.benchmarks.bench_waiting

bench-reviews: $(STAMP) ## 1,000 waiting reviews, 20 reviewers at once: none held twice, the queue's page
	$(BIN)/python -m tests.benchmarks.bench_reviews

bench-runs: $(STAMP) ## durable steps: no checkpointer, ours, LangGraph's own, dbos
	$(BIN)/python -m tests.benchmarks.bench_runs

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
