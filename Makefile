# fastocsp: `make quickstart` runs the product, `make test` passes its tests. Everything else is for those who change it.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA_DIR ?= .fastocsp
PORT ?= 8080
ADMIN_PORT ?= 8443
WORKERS ?= 1
ARGS ?=
# Three workers on two cores: tests wait as much as they compute.
PYTEST_ARGS ?= -n 3 --dist loadgroup
FUZZ_SECONDS ?= 60
SEED ?= 1
FULL ?=
SCENARIO ?= edge-direct
SOURCES := $(wildcard _fastocsp/*.pyx _fastocsp/*.pxd responder/*/*.pyx responder/*/*.pxd) setup.py pyproject.toml
# What pip says is shown when it fails, and kept in .venv/pip.log.
PIP = pip() { $(BIN)/python -m pip --disable-pip-version-check "$$@" > $(VENV)/pip.log 2>&1 || { cat $(VENV)/pip.log >&2; exit 1; }; }; pip

.DEFAULT_GOAL := help
.PHONY: help quickstart test check lint types layers build trace asan tsan attacks fuzz faults bench bench-coherence bench-crl bench-crl-serving bench-growth bench-instructions bench-load bench-load-all bench-micro bench-overload bench-presign bench-scale bench-signing bench-table docs clean tools

help:  ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

quickstart: $(VENV)/.run  ## Run everything with a demo CA (DATA_DIR PORT ADMIN_PORT WORKERS ARGS)
	@exec $(BIN)/fastocsp quickstart --data-dir "$(DATA_DIR)" --port $(PORT) --admin-port $(ADMIN_PORT) --workers $(WORKERS) $(ARGS)

test: $(VENV)/.test tools  ## Run the tests
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not alone"
	$(BIN)/python -m pytest -m alone

check: lint types layers test docs  ## Everything that a reviewer would run

lint: $(VENV)/.quality
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/cython-lint _fastocsp responder

types: $(VENV)/.quality
	$(BIN)/mypy
	$(BIN)/python tests/stubs.py

layers: $(VENV)/.quality
	$(BIN)/lint-imports

build: $(VENV)/.run  ## Compile the modules in place

trace: $(VENV)/.quality  ## Tests with line coverage of the Cython modules
	FASTOCSP_BUILD=trace tests/trace.sh $(BIN)/python

asan: $(VENV)/.quality  ## The codec's and the connection loop's tests under AddressSanitizer and UBSan
	tests/asan.sh $(BIN)/python

tsan: $(VENV)/.quality  ## The connection loop's tests under ThreadSanitizer
	tests/tsan.sh $(BIN)/python

faults: $(VENV)/.test tools  ## Break everything, one fault after the other; FULL=1: pairs for an hour (SEED)
	$(BIN)/python -m tests.faults.run --seed $(SEED) --report .faults $(if $(FULL),--full)

attacks: $(VENV)/.test tools  ## What strangers try, with 100,000 mutated CRLs; half an hour
	$(BIN)/python -m pytest $(PYTEST_ARGS) tests/attacks
	$(BIN)/python -m tests.support.mirror_mutations

fuzz: $(VENV)/.fuzz  ## Every fuzz target for FUZZ_SECONDS each
	tests/fuzz.sh $(BIN)/python $(FUZZ_SECONDS)

bench: $(VENV)/.bench  ## CPU an answer, in turns: ours, nginx, the floor, openssl ocsp, cfssl and lighttpd where found
	$(BIN)/python -m bench.compare
	$(BIN)/python -m bench.signing

bench-crl: $(VENV)/.test tools  ## Seconds to make a CRL, ours and others', at 10k, 100k and 1M entries
	$(BIN)/python -m bench.crl

bench-presign: $(VENV)/.test tools  ## Signatures a second beside openssl speed, and a million records into Valkey
	$(BIN)/python -m bench.presign

bench-crl-serving: $(VENV)/.bench  ## OCSP answers while a hundred clients pull a CRL of 40 MB
	$(BIN)/python -m bench.crl_serving

bench-coherence: $(VENV)/.bench  ## What the promise costs: snapshot, membership, waits
	$(BIN)/python -m bench.coherence

bench-overload: $(VENV)/.bench  ## Twice the capacity, ten times the nonce lane's
	$(BIN)/python -m bench.overload

bench-signing: $(VENV)/.bench  ## Nonce answers, and `openssl ocsp` beside them
	$(BIN)/python -m bench.signing

bench-instructions: $(VENV)/.test  ## Instructions of an answer by function, the same on any day; needs valgrind
	$(BIN)/python -m bench.instructions

bench-scale: $(VENV)/.bench tools  ## The writer, cold edges, imports and CRLs at a million and more; half an hour (ARGS)
	$(BIN)/python -m bench.scale $(ARGS)

bench-growth: $(VENV)/.bench  ## Cost over records, connections, workers; docs/growth.png
	$(BIN)/python -m bench.growth

bench-table: $(VENV)/.bench  ## The answer table: octets, pauses, look-ups, two processes
	$(BIN)/python -m bench.table

bench-micro: $(VENV)/.bench  ## Nanoseconds of each function
	$(BIN)/python -m pytest bench/micro -q --benchmark-columns=min,median,iqr,ops

bench-load: $(VENV)/.bench  ## Locust: SCENARIO= edge-direct cdn-origin stampede revocation-storm slowloris
	$(BIN)/python -m bench.locust.run $(SCENARIO)

bench-load-all: $(VENV)/.bench  ## Every scenario for five seconds
	for name in edge-direct cdn-origin stampede revocation-storm slowloris; do SECONDS_EACH=5 USERS=20 $(BIN)/python -m bench.locust.run $$name || exit 1; done

docs: $(VENV)/.docs  ## The documentation, warnings are errors
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

clean:  ## Remove what can be made again; data folders stay
	rm -rf build dist .build-* docs/_build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find _fastocsp responder cachewarm tests bench \( -name '*.so' -o -name '*.c' -o -name '__pycache__' \) -prune -exec rm -rf {} +

# What a machine lacks is installed when we may, and named when we may not.
tools:
	@tests/tools.sh

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fastocsp needs Python 3.11 or newer, $(PYTHON) is " + sys.version)'
	@.ci/prerequisites $(PYTHON)
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.run: $(VENV)/.python $(SOURCES)
	@echo "building fastocsp (the first time takes about half a minute)"
	@$(PIP) install -e '.[embedded]'
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@$(PIP) install --group test
	@touch $@

$(VENV)/.quality: $(VENV)/.test
	@$(PIP) install --group quality --group bench 'setuptools>=77' 'Cython>=3.1,<4'
	@touch $@

$(VENV)/.fuzz: $(VENV)/.test
	@$(PIP) install --group fuzz
	@touch $@

$(VENV)/.bench: $(VENV)/.test
	@$(PIP) install --group bench
	@touch $@

$(VENV)/.docs: $(VENV)/.run
	@$(PIP) install --group docs
	@touch $@
