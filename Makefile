# Two commands need nothing but python3 (3.11 or later) and make:  make demo   make test
# The rest:  make check  (lint, types, every test, a real browser, other people's clients)   make bench   make system-test   make lock
.PHONY: help demo test check coverage lint types peers bench faults fuzz system-test compiled test-compiled lock clean
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
# What needs Python packages alone: one process a core, and a file's tests in one of them, one after the other.
EVERYWHERE = --numprocesses=auto --dist=loadfile --ignore=tests/browser --ignore=tests/deploy --ignore=tests/system -m 'not peers and not tools'
# What every install does: only the locked versions, only with the recorded hashes.
INSTALL = $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement

help:
	@sed -n '1,2p' Makefile

demo: $(VENV)/run.stamp
	@$(PY) -m daemon demo

test: $(VENV)/test.stamp
	@$(PY) -m pytest $(EVERYWHERE)

check: $(VENV)/check.stamp peers lint types
	@$(PY) -m pytest $(EVERYWHERE)
	@$(PY) -m pytest --ignore=tests/system -m 'browser or peers or deploy or tools'

# The same under coverage takes twice as long.
coverage: $(VENV)/check.stamp
	@$(PY) -m pytest $(EVERYWHERE) --cov --cov-report=term:skip-covered

lint: $(VENV)/check.stamp
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

types: $(VENV)/check.stamp
	@$(VENV)/bin/mypy

# As root: boots bare Debians in namespaces, each with its own systemd, and installs into them. Needs debootstrap and shellcheck.
system-test: $(VENV)/test.stamp
	@$(PY) -m pytest tests/system

# An extra, docs/hot-path.md: the product once more, in $(VENV)/compiled, with its hot path in machine code. Needs a C compiler, and
# three minutes. To run it:  cd .venv/compiled && ../bin/python -m daemon serve
compiled: $(VENV)/compiled/ready.stamp

# The tests of the gateway on it, both lanes and the bot's questions.
test-compiled: $(VENV)/compiled/ready.stamp
	@rm -rf $(addprefix $(VENV)/compiled/,tests docs bench systemd)
	@cp -R tests docs bench systemd pyproject.toml $(VENV)/compiled
	@cd $(VENV)/compiled && ../bin/python -m pytest --numprocesses=auto --dist=loadfile tests/proxy tests/flows

# A quarter of an hour, on a machine with nothing else to do. Without nginx, haproxy and wrk (Debian has them) their rows are missing.
bench: $(VENV)/test.stamp $(wildcard $(VENV)/compiled/ready.stamp)
	@$(PY) -m bench.peers
	@$(PY) -m bench

# An hour, and wants strace, faketime and root (for a small disk); it says what is missing. One fault alone:  python -m bench.faults
faults: $(VENV)/test.stamp
	@$(PY) -m bench.faults

# Two minutes for each reader of strangers' bytes, in an environment of its own: every module runs with counters in it.
fuzz: $(VENV)/fuzz/ready.stamp
	@$(VENV)/fuzz/bin/python -m tests.fuzz

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "Posthouse needs Python 3.11 or later; %s is %d.%d. Name another one:  make PYTHON=python3.12 demo" % (sys.executable, v[0], v[1]))'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "This Python cannot make virtual environments. On Debian or Ubuntu:  sudo apt-get install python3-venv"; exit 1; }
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements.txt | $(VENV)/bin/python
	@echo "Installing the locked packages into $(VENV) (once) ..."
	@$(INSTALL) requirements.txt && touch $@

$(VENV)/test.stamp: requirements-test.txt | $(VENV)/bin/python
	@echo "Installing the locked packages for the tests into $(VENV) (once) ..."
	@$(INSTALL) requirements-test.txt && touch $@

$(VENV)/check.stamp: requirements-check.txt | $(VENV)/bin/python
	@echo "Installing the locked packages for the checks into $(VENV) (once) ..."
	@$(INSTALL) requirements-check.txt && touch $@

$(VENV)/fuzz/ready.stamp: requirements.txt tests/fuzz/requirements.txt | $(VENV)/bin/python
	@echo "Installing the locked packages for fuzzing (once) ..."
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes $(addprefix --requirement=,$(filter %.txt,$^)) && touch $@

$(VENV)/compiled/ready.stamp: $(VENV)/check.stamp compiled.py $(shell find daemon proxy bot static -type f ! -name '*.pyc')
	@echo "Compiling the hot path ..."
	@$(PY) compiled.py $(@D) && touch $@

# Other people's clients and servers, each in an environment of its own: Python ones need nothing more, the others Node 20 and npm.
PEERS_IN_PYTHON := $(patsubst tests/%/requirements.txt,$(VENV)/%/python.stamp,$(wildcard tests/peers/*/*/requirements.txt))
PEERS_IN_NODE   := $(patsubst tests/%/package-lock.json,$(VENV)/%/node.stamp,$(wildcard tests/peers/*/*/package-lock.json tests/browser/axe/package-lock.json))
peers: $(PEERS_IN_PYTHON) $(PEERS_IN_NODE)

$(VENV)/%/python.stamp: tests/%/requirements.txt | $(VENV)/bin/python
	@echo "Installing the locked packages of $(notdir $*) (once) ..."
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --requirement $< && touch $@

$(VENV)/%/node.stamp: tests/%/package-lock.json
	@node -e 'if (parseInt(process.versions.node) < 20) throw Error("Node 20 or later is needed, this is " + process.version)'
	@echo "Installing the locked packages of $(notdir $*) (once) ..."
	@mkdir -p $(@D) && cp $(<D)/package.json $< $(@D)
	@npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null && touch $@

# Needs uv, and npm. One resolution serves every Python from 3.11 and every platform.
# Extras stay in the lock: pip of Python 3.11 takes the newest `coverage[toml]` where only `coverage` is pinned.
LOCK_ONE  = uv pip compile --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --no-annotate --quiet
LOCK      = $(LOCK_ONE) pyproject.toml
LOCK_NODE = npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund --loglevel=error
lock:
	$(LOCK) --output-file requirements.txt
	$(LOCK) --extra test --constraint requirements.txt --output-file requirements-test.txt
	$(LOCK) --extra test --extra check --constraint requirements-test.txt --output-file requirements-check.txt
	for peer in tests/peers/*/*/requirements.in tests/fuzz/requirements.in bench/peers/*/requirements.in; do $(LOCK_ONE) $$peer --output-file $${peer%.in}.txt || exit; done
	for peer in tests/peers/*/*/package.json tests/browser/axe/package.json; do $(LOCK_NODE) --prefix $${peer%/*} || exit; done

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .hypothesis .fuzz .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
