# make demo     send a few hundred messages through the sandbox and show it
# make test     everything that must hold: lint, types, layers, tests
# make lint     without the tests
# make docs     write the pages that are made from the code
# make bench    measure; make chaos: kill processes for a while; make clean: forget what was built

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: demo test lint docs bench chaos clean

demo: $(STAMP)
	@$(BIN)/paceline demo

test: lint
	@$(BIN)/pytest -n 4 --dist loadfile --cov --cov-report= tests/unit tests/contract tests/integration
	@$(BIN)/pytest -n 2 --dist loadfile tests/acceptance
	@$(BIN)/pytest -n 2 --dist load tests/chaos --ignore tests/chaos/test_isolation.py
	@$(BIN)/pytest tests/chaos/test_isolation.py
	@echo "lines that the tests run in their own process: $$($(BIN)/coverage report --format=total) %"

lint: $(STAMP)
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache > .venv/lint-imports.log || { cat .venv/lint-imports.log; exit 1; }

docs: $(STAMP)
	@$(BIN)/python -m docs.generate

bench: $(STAMP)
	@$(BIN)/python -m benchmarks

chaos: $(STAMP)
	@$(BIN)/pytest -m chaos -s

clean:
	@rm -rf .venv .paceline build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo 'Paceline needs Python 3.11 or newer; name one, as in: make $(MAKECMDGOALS) PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { echo 'The virtual environment cannot be made: install venv for $(PYTHON).' >&2; exit 1; }
	@$(BIN)/python -m pip install -qq --no-cache-dir --disable-pip-version-check --no-input -c constraints.txt -e '.[service,dev]'
	@touch $(STAMP)
