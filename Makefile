# Everything these commands make lies under .springest/, which git ignores. `make` alone lists them.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

HERE := $(CURDIR)
STATE := .springest
VENV := $(STATE)/venv
PY := $(VENV)/bin/python
READY := $(STATE)/ready
READY_TO_BENCH := $(STATE)/ready-to-bench
READY_FOR_DBT := $(STATE)/ready-for-dbt
READY_FOR_STORES := $(STATE)/ready-for-stores
READY_FOR_CLUSTER := $(STATE)/ready-for-cluster
READY_TO_COPY := $(STATE)/ready-to-copy
UV_VERSION := 0.13.9
PYTEST_WORKERS ?= 2
SITES ?= 50
CERTIFICATES ?= 10000000
ROUNDS ?= 3
FIRST ?= 0

# Independent of the caller's locale, caches stay in the ignored folder, nothing is reported anywhere.
export PYTHONUTF8 := 1
# Nothing is imported from the working folder, nor from what a caller's PYTHONPATH may name.
export PYTHONSAFEPATH := 1
unexport PYTHONPATH
export PYTHONPYCACHEPREFIX := $(HERE)/$(STATE)/pycache
# Without bytecode, each of the tests' many processes compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE
export AIRFLOW_HOME ?= $(HERE)/$(STATE)/airflow
export UV_LINK_MODE ?= copy
export UV_NO_PROGRESS ?= 1

.PHONY: help demo ui test test-all test-dbt test-stores test-copies test-ui screenshots chaos cluster bench bench-delivery bench-reconcile bench-staging scale check format audit sandbox migrate baseline revision dictionary lock matrix clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

demo: $(READY) ## two nights of certificates through a real Airflow, and what became of them
	@$(PY) -m demo

ui: $(READY) ## the demo, staying up with Airflow's UI until Ctrl-C
	@$(PY) -m demo --stay

test: $(READY) ## the tests, in under ten minutes
	@$(PY) -m pytest -n $(PYTEST_WORKERS) --dist loadgroup -m "not long" --hypothesis-profile repeatable

test-all: $(READY) $(READY_FOR_DBT) $(READY_FOR_CLUSTER) $(READY_TO_COPY) test-stores ## all tests, the long proofs too
	@$(PY) -m pytest -n $(PYTEST_WORKERS) --dist loadgroup

test-dbt: $(READY) $(READY_FOR_DBT) ## the dbt package for analysts, by dbt itself
	@$(PY) -m pytest tests/integration/test_dbt.py

test-stores: $(READY_FOR_STORES) ## documents and sources elsewhere, against servers on this machine
	@$(STATE)/stores/bin/python -m pytest -n 0 tests/stores

test-copies: $(READY_TO_COPY) ## copies to other warehouses: DuckDB, and MariaDB where Debian's mariadb-server is installed
	@$(PY) -m pytest -n 0 -rs tests/component/copies tests/airflow/test_copy.py

test-ui: $(READY) ## the page "Springest" and Airflow's forms in a browser, where Debian's chromium is installed
	@$(PY) -m pytest -n 0 -rs tests/ui

screenshots: $(READY) ## pictures of the page and of a night into docs/screenshots/
	@$(PY) -m demo.screenshots

chaos: $(READY) ## a real Airflow killed, suspended and cut off, for ROUNDS=3 (or 50) rounds
	@$(PY) -m tests.chaos --rounds $(ROUNDS) --first $(FIRST) $(if $(SEED),--seed $(SEED))

cluster: $(READY) $(READY_FOR_CLUSTER) ## docker-compose.yaml's services as processes: two Celery workers, nights among failures
	@$(PY) -m tests.cluster

bench: bench-delivery bench-reconcile bench-staging ## measure what docs/benchmarks.md claims, and write it anew

bench-delivery: $(READY) ## measure delivery beside what people write instead
	@$(PY) -m benchmarks.delivery

bench-reconcile: $(READY_TO_BENCH) ## measure reconciliation beside pandas and a bare COPY
	@$(PY) -m benchmarks.reconcile

bench-staging: $(READY_TO_BENCH) ## measure staging beside pandas
	@$(PY) -m benchmarks.staging

scale: $(READY) ## a night of one site in a warehouse of SITES=50 with CERTIFICATES=10000000, for docs/scale.md
	@$(PY) -m benchmarks.scale --sites $(SITES) --certificates $(CERTIFICATES)

check: $(READY) ## lint, format, types, words
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(PY) tests/unit/project/wording.py

format: $(READY) ## put the code into its format
	@$(VENV)/bin/ruff check --fix-only --quiet .
	@$(VENV)/bin/ruff format .

audit: $(READY) ## ask whether a pinned package has known vulnerabilities
	@$(PY) -m demo.audit

sandbox: $(READY) ## a Springest on loopback to develop against, with ARGS="--port 8765"
	@$(PY) -m sandbox $(ARGS)

migrate: $(READY) ## bring the schema of the connection certificate_warehouse up to date
	@$(PY) -m springest_provider.cli migrate

baseline: $(READY) ## write the migration that creates the tables anew from schema.py, until the first release
	@$(PY) -m demo.revision

revision: $(READY) ## write the next migration from schema.py, with MESSAGE="add a column"
	@$(PY) -m demo.revision $(if $(MESSAGE),"$(MESSAGE)",$(error MESSAGE="..." is missing))

dictionary: $(READY) ## write docs/data-dictionary.md from the comments in the warehouse
	@$(PY) -m demo.dictionary

lock: $(READY) ## pin the whole tree again from requirements.in and requirements-dev.in
	@cp requirements-dev.txt $(STATE)/image.txt
	@$(VENV)/bin/uv pip compile --quiet --python-version 3.11 requirements.in requirements-image.in pyproject.toml --all-extras -o $(STATE)/image.txt
	@$(VENV)/bin/uv pip compile --quiet --generate-hashes --python-version 3.11 requirements.in -c $(STATE)/image.txt -o requirements.txt
	@$(VENV)/bin/uv pip compile --quiet --generate-hashes --python-version 3.11 requirements-dev.in -o requirements-dev.txt
	@$(VENV)/bin/uv pip compile --quiet --generate-hashes --python-version 3.11 requirements-bench.in -o requirements-bench.txt
	@$(VENV)/bin/uv pip compile --quiet --generate-hashes --python-version 3.11 requirements-copy.in -o requirements-copy.txt
	@$(VENV)/bin/uv pip compile --quiet --generate-hashes --python-version 3.11 requirements-dbt.in -o requirements-dbt.txt
	@$(VENV)/bin/uv pip compile --quiet --generate-hashes --python-version 3.11 requirements-stores.in -o requirements-stores.txt
	@$(VENV)/bin/uv pip compile --quiet --generate-hashes --python-version 3.11 requirements-cluster.in -o requirements-cluster.txt

matrix: $(READY) ## which versions of Python and Airflow import everything and parse the DAGs
	@$(PY) -m demo.matrix

clean: ## remove everything these commands made
	@rm -rf $(STATE)

# Complete only once the last line has run: a set-up that was interrupted is begun again.
$(READY): requirements-dev.txt pyproject.toml
	@mkdir -p $(STATE)
	@python=$$(command -v python3.11 || command -v python3) && \
	  "$$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "Python 3.11 is needed: put python3.11 on the PATH" >&2; exit 1; }; \
	  echo "Setting up under $(STATE) (once)"; \
	  $(PY) -m pip --version >/dev/null 2>&1 || "$$python" -m venv --clear $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(VENV)/bin/uv pip sync --quiet --python $(PY) --require-hashes requirements-dev.txt
	@$(VENV)/bin/uv pip install --quiet --python $(PY) --no-deps --no-build-isolation --editable .
	@touch $(READY)

$(READY_TO_BENCH): $(READY) requirements-bench.txt
	@$(VENV)/bin/uv pip install --quiet --python $(PY) --require-hashes -r requirements-bench.txt
	@touch $@

$(READY_TO_COPY): $(READY) requirements-copy.txt
	@$(VENV)/bin/uv pip install --quiet --python $(PY) --require-hashes -r requirements-copy.txt
	@touch $@

$(READY_FOR_DBT): $(READY) requirements-dbt.txt
	@$(VENV)/bin/uv venv --quiet --clear --python $(PY) $(STATE)/dbt
	@$(VENV)/bin/uv pip sync --quiet --python $(STATE)/dbt/bin/python --require-hashes requirements-dbt.txt
	@touch $@

$(READY_FOR_STORES): $(READY) requirements-stores.txt
	@$(VENV)/bin/uv venv --quiet --clear --python $(PY) $(STATE)/stores
	@$(VENV)/bin/uv pip sync --quiet --python $(STATE)/stores/bin/python --require-hashes requirements-stores.txt
	@$(VENV)/bin/uv pip install --quiet --python $(STATE)/stores/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

$(READY_FOR_CLUSTER): $(READY) requirements-cluster.txt
	@$(VENV)/bin/uv venv --quiet --clear --python $(PY) $(STATE)/cluster
	@$(VENV)/bin/uv pip sync --quiet --python $(STATE)/cluster/bin/python --require-hashes requirements-cluster.txt
	@$(VENV)/bin/uv pip install --quiet --python $(STATE)/cluster/bin/python --no-deps --no-build-isolation --editable .
	@touch $@
