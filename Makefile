# The commands of README.md. Everything is installed into VENV; nothing else of the machine is touched, except by
# test-real, which installs real schedulers and servers where it is root.

VENV := .venv
PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
BIN := $(VENV)/bin
FAST := tests --ignore=tests/real

.PHONY: demo test test-all test-other test-real soak lint format bench wheels clean

demo: $(VENV)/.installed
	@$(BIN)/python -m fxsched_fakes.demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto -m 'not thorough' $(FAST)

# And whatever costs more than an edit is worth: each combination of schedulers, new examples for each property.
test-all: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --hypothesis-profile=thorough $(FAST)

# All of that once more, on the newest other Python that this machine has, pyenv's included; content where there is
# none.
test-other: $(VENV)/.installed-dev
	@own=$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	for v in 3.14 3.13 3.12 3.11; do \
	    [ $$v != $$own ] || continue; \
	    for p in python$$v $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$v.*/bin/python$$v; do \
	        $$p -c 'import venv, ensurepip' >/dev/null 2>&1 || continue; \
	        exec $(MAKE) --no-print-directory test-all VENV=.venv-$$v PYTHON=$$p; \
	    done; \
	done; \
	echo "There is no Python 3.11 or newer here besides $$own."

test-real: $(VENV)/.installed-dev
	@sh tests/real/install.sh slurm grid-engine podman openssh sudo
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/real

# Exactly one session for each of SOAK launches, while the controller of a real Slurm is stopped and killed.
SOAK := 1000
soak: $(VENV)/.installed-dev
	@sh tests/real/install.sh slurm
	$(BIN)/python -m tests.soak $(SOAK)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev
	$(BIN)/python -m bench

# Each wheel from its own sdist: what an sdist lacks, its wheel lacks too.
wheels: $(VENV)/.installed-dev
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/python -m build --no-isolation --outdir dist fakes

clean:
	rm -rf dist .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.made:
	@[ -n "$(PYTHON)" ] || { echo "fxsched needs Python 3.11 or newer, and there is none on PATH." \
	    "Install one, or say where it is: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module." \
	    "On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml fakes/pyproject.toml
	$(BIN)/python -m pip install --quiet --editable . --editable ./fakes
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml fakes/pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --editable ./fakes
	@touch $@ $(VENV)/.installed
