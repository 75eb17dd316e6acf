# Every target sets up what it needs: a clean clone and Python 3.11 are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LIGHT := .venv-light
FUZZ := tests/formats/test_hostile.py tests/formats/test_odd_values.py
BAGSCAN_DATA ?= ../shared/data
export BAGSCAN_DATA

.PHONY: setup light demo test test-slow coverage test-weekly test-cluster check site lock format clean

setup: $(VENV)/.ready

# uv resolves in seconds where it can be had; pip does the same, slower. Both compile to bytecode: tests start
# dozens of processes, and some machines are set not to write it later.
$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "Installing everything into $(VENV) (some minutes) ..."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q uv && $(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]' \
	  || $(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

# Screening and the service, without torch.
light: $(LIGHT)/.ready

$(LIGHT)/.ready: pyproject.toml constraints.txt
	@echo "Installing what screens and serves into $(LIGHT) (about a minute) ..."
	test -x $(LIGHT)/bin/python || $(PYTHON) -m venv $(LIGHT)
	$(LIGHT)/bin/python -m pip install -q -c constraints.txt -e '.[service,batch]'
	touch $@

demo: light
	@echo "Simulating six bags, each without and with something hidden in it (about a minute) ..."
	$(LIGHT)/bin/bagscan simulate --preset demo --workers 2 --out demo-out/simulated
	$(LIGHT)/bin/bagscan screen demo-out/simulated/raw --out demo-out/screened
	@echo "Open demo-out/screened/report.html in a browser: every bag with what was flagged (red) and what is hidden (yellow)."

test: setup
	$(BIN)/python -m compileall -q src
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Whole paths: training to report, export in all runtimes, kills. CI runs them after make test.
test-slow: setup
	$(BIN)/python -m pytest -n 2 -m "slow and not weekly"
	BAGSCAN_FUZZ_CASES=1000 $(BIN)/python -m pytest -n 2 $(FUZZ)

# Share of lines that the fast tests run; compiled kernels and other processes are not seen.
coverage: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov=bagscan --cov-report=term:skip-covered

test-weekly: setup
	$(BIN)/python -m pytest -m weekly
	BAGSCAN_FUZZ_CASES=5000 $(BIN)/python -m pytest -n 2 $(FUZZ)

# On a real Ray cluster of several nodes of this machine, and training by two processes. CI runs one test of them.
CLUSTER_TESTS ?= tests/cluster tests/training/test_compute.py
test-cluster: setup
	$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[cluster]' || $(BIN)/python -m pip install -q -c constraints.txt -e '.[cluster]'
	$(BIN)/python -m pytest -m weekly $(CLUSTER_TESTS)

check: setup
	$(BIN)/ruff check src tests experiments
	$(BIN)/ruff format --check src tests experiments
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/settings.py --check
	@$(MAKE) --no-print-directory site

# The documentation, whose links and references must all lead somewhere.
site: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q

# Newer versions of everything, within what pyproject.toml asks for: all extras together, and each extra alone.
PIN = $(BIN)/uv pip compile pyproject.toml --python-version 3.11 --no-header --no-annotate --no-emit-index-url -q
EXTRAS = $(shell $(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies'])")
lock: setup
	head -1 constraints.txt >constraints.new
	$(PIN) --all-extras --upgrade >>constraints.new
	mv constraints.new constraints.txt
	rm -rf locks && mkdir locks
	$(PIN) -c constraints.txt >locks/core.txt
	for extra in $(EXTRAS); do $(PIN) --extra $$extra -c constraints.txt >locks/$$extra.txt || exit 1; done

format: setup
	$(BIN)/ruff check --fix src tests experiments
	$(BIN)/ruff format src tests experiments

clean:
	rm -rf $(VENV) $(LIGHT) demo-out site .pytest_cache .mypy_cache .ruff_cache
