# `make run` serves the registry, `make test` tests it; both install what they need.
# `make help` lists the rest.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

VENV ?= .venv
PY := $(VENV)/bin/python
ARGS ?=
JOBS ?= 2
IMAGE ?= v1registry

# Each stamp is newer than the requirements that it installed.
RUN := $(VENV)/.installed-run
DEV := $(VENV)/.installed-dev

.PHONY: help run test test-distribution test-heavy servers lint format bench wheel lock audit image image-test clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

# What changes the installation of the project itself.
PACKAGE := pyproject.toml requirements-build.txt requirements-pip.txt scripts/venv.sh

$(RUN): requirements.txt $(PACKAGE)
	@bash scripts/venv.sh $(VENV) requirements.txt
	@touch $@

$(DEV): $(wildcard requirements*.txt) $(PACKAGE)
	@bash scripts/venv.sh $(VENV) requirements-dev.txt
	@touch $@ $(RUN)

# What the environment names and a plain installation lacks.
EXTRAS := $(if $(LDAP_URL),$(VENV)/.installed-ldap) \
          $(if $(INDEX_KEYS)$(INDEX_DATABASE),$(VENV)/.installed-index) \
          $(if $(CACHE_REDIS_HOST)$(CACHE_LRU_REDIS_HOST)$(CACHE_URL),$(VENV)/.installed-redis) \
          $(if $(filter s3 ceph-s3 prod,$(SETTINGS_FLAVOR)),$(VENV)/.installed-s3) \
          $(if $(filter cloudfronts3,$(SETTINGS_FLAVOR)),$(VENV)/.installed-cloudfront) \
          $(if $(filter gcs,$(SETTINGS_FLAVOR)),$(VENV)/.installed-gcs) \
          $(if $(filter swift glance-swift openstack-swift,$(SETTINGS_FLAVOR)),$(VENV)/.installed-swift) \
          $(if $(filter glance openstack glance-swift openstack-swift,$(SETTINGS_FLAVOR)),$(VENV)/.installed-glance)

$(patsubst %,$(VENV)/.installed-%,cloudfront gcs glance index ldap redis s3 swift): $(VENV)/.installed-%: requirements-%.txt $(RUN)
	$(PY) -m pip install -q --require-hashes -r requirements-$*.txt
	@touch $@

# The environment of a 0.x deployment counts here as it did there (STORAGE_PATH, SETTINGS_FLAVOR,
# REGISTRY_PORT, GUNICORN_WORKERS ...).
run: $(RUN) $(EXTRAS) ## serve the registry on port 5000, files in ./data (or as the environment says)
	@if [ -z "$${DOCKER_REGISTRY_CONFIG:-}" ]; then export SETTINGS_FLAVOR="$${SETTINGS_FLAVOR:-local}"; fi; \
	exec $(VENV)/bin/v1registry serve $(ARGS)

servers:
	@bash scripts/servers.sh

# A file's tests run in one process, two files at a time: much of their time is waiting. Which files
# are begun first, tests/conftest.py says.
test: $(DEV) servers ## the tests, with the real servers that they need (ARGS="-k ..." to choose)
	$(if $(ARGS),,@$(MAKE) --no-print-directory test-distribution)
	$(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-heavy: export HEAVY := 1
test-heavy: $(DEV) servers ## the slow and machine-bound checks, once before a release: under 40 minutes
	$(PY) -m pytest -m heavy -rP --durations=0 --timeout 900 $(ARGS)

lint: $(DEV) ## formatter, linter and type checker; changes nothing
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

format: $(DEV) ## let the formatter and the linter mend what they can
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

# The Python of the distribution, which our image and most installations use. It may be older than the
# default `python3`, have bugs that are fixed there, and be built to be faster (--enable-optimizations).
DISTRIBUTION_PYTHON ?= $(shell for p in /usr/bin/python3 python3; do \
    $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
DISTRIBUTION_PY := .venv-distribution/bin/python
DISTRIBUTION := .venv-distribution/.installed

$(DISTRIBUTION): $(wildcard requirements*.txt) $(PACKAGE)
	@PYTHON=$(DISTRIBUTION_PYTHON) bash scripts/venv.sh .venv-distribution requirements-dev.txt
	@touch $@

SERVER_TESTS := tests/server $(addprefix tests/protocol/test_,clients.py endpoints_*.py framing.py \
    hostile.py old_clients.py read_only.py recordings.py settings.py)

test-distribution: $(DEV) ## the server's tests on the distribution's Python, if $(PY) is another one
	@if [ "$$($(PY) -VV)" = "$$($(DISTRIBUTION_PYTHON) -VV)" ]; then \
	    echo "The distribution's Python is the one of $(VENV): not tested twice"; \
	else \
	    $(MAKE) --no-print-directory $(DISTRIBUTION) && \
	    $(DISTRIBUTION_PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(SERVER_TESTS); \
	fi

bench: $(DISTRIBUTION) ## measure, beside the peers that are installed (docker-registry, nginx-light)
	$(DISTRIBUTION_PY) -m bench $(ARGS)
	$(if $(ARGS),,$(DISTRIBUTION_PY) -m bench.moving)

# A docker CLI without a daemon cannot build.
image: ## build the container image with docker or podman
	@if docker info >/dev/null 2>&1; then engine=docker; \
	elif command -v podman >/dev/null; then engine=podman; \
	else echo "error: neither podman nor a docker daemon is there: install one of them" >&2; exit 1; fi; \
	set -x; $$engine build -t $(IMAGE) .

wheel: $(DEV) ## build dist/v1registry-*.whl, which `pip install` takes anywhere
	$(PY) -m hatchling build -t wheel

# The tools that ask the package index about our pins, in an environment of their own.
AUDIT := .venv-audit/.installed

$(AUDIT): requirements-audit.txt requirements-pip.txt scripts/venv.sh
	@bash scripts/venv.sh .venv-audit requirements-audit.txt bare
	@touch $@

lock: $(AUDIT) ## after changing a pin: write the hashes of requirements*.txt
	.venv-audit/bin/python scripts/lock.py

audit: $(AUDIT) ## name pins that are not current, and known vulnerabilities (asks the package index)
	@status=0; .venv-audit/bin/python scripts/lock.py --current || status=$$?; \
	for file in requirements*.txt; do \
	    echo "== $$file"; \
	    .venv-audit/bin/pip-audit --strict --progress-spinner off --disable-pip --no-deps -r $$file || status=$$?; \
	done; exit $$status

image-test: $(DEV) ## check the Dockerfile, build it for real on a fresh Debian, push to it (root)
	bash scripts/image-test.sh $(VENV)

clean: ## remove what the targets above made, but never ./data
	rm -rf $(VENV) .venv-distribution .venv-audit .venv-servers dist .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/clients/npm/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
