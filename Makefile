# Everything one does with a checkout.  `make run` and `make test` need Python 3.11+, pip and make.
#
# The environment is `.venv`, filled from the hash-locked lists in requirements/; a stamp file says
# from which list, so that a second run starts at once.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
UV ?= uv
# A release younger than this is left alone: time for a bad one to be noticed and withdrawn.
AGE := 3 days
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --upgrade --exclude-newer "$(AGE)"

.PHONY: run test test-slow check format models bench vllm lock clean
.DELETE_ON_ERROR:

run: $(VENV)/run.stamp
	$(BIN)/segue serve

test: check models
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(VENV)/dev.stamp models
	$(BIN)/python -m pytest -m slow

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

models: $(VENV)/dev.stamp
	$(BIN)/segue models pull qwen2.5-coder-1.5b-instruct smollm2-135m-instruct

bench: $(VENV)/dev.stamp models
	$(BIN)/python -m bench

# vLLM for processors, in a Python of its own: some tests in test-slow and parts of the benches want it.
vllm: $(VENV)/dev.stamp models
	$(BIN)/python -m bench.peers vllm

# Needs uv, and nothing else does.
lock:
	$(COMPILE) pyproject.toml requirements/build.in -o requirements/run.txt
	$(COMPILE) pyproject.toml requirements/build.in --group dev -c requirements/run.txt -o requirements/dev.txt
	$(COMPILE) --group plots -c requirements/run.txt -o requirements/plots.txt

clean:
	rm -rf $(VENV) .peers .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/run.stamp: requirements/run.txt pyproject.toml
	$(call install,requirements/run.txt)
	@touch $@

# The list for development holds the list for running.
$(VENV)/dev.stamp: requirements/dev.txt requirements/run.txt pyproject.toml
	$(call install,requirements/dev.txt)
	@touch $(VENV)/run.stamp $@

# $(1): a locked list.  The package itself is installed in place, without asking for anything more.
define install
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed; name it with PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "On Debian and Ubuntu: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	$(PIP) install --quiet --require-hashes -r $(1)
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@$(libgomp)
endef

# The engine's library wants the system's OpenMP runtime on Linux; slim images come without it.
define libgomp
if [ "$$(uname)" = Linux ] && ! $(BIN)/python -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null; then \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq libgomp1; \
	else \
		echo "libgomp.so.1 is missing: install it (Debian and Ubuntu: apt-get install libgomp1; Fedora: dnf install libgomp)" >&2; exit 1; \
	fi; \
fi
endef
