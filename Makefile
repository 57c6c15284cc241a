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

.PHONY: help run test test-heavy servers lint format bench image image-test clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(RUN): requirements.txt scripts/venv.sh
	@bash scripts/venv.sh $(VENV) requirements.txt
	@touch $@

$(DEV): $(wildcard requirements*.txt) scripts/venv.sh
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
	$(PY) -m pip install -q -r requirements-$*.txt
	@touch $@

# The environment of a 0.x deployment counts here as it did there (STORAGE_PATH, SETTINGS_FLAVOR,
# REGISTRY_PORT, GUNICORN_WORKERS ...). Only where it says nothing: local files in ./data, since
# 0.x's default lies in a temporary folder. Flavors of other stores keep their own default path.
run: $(RUN) $(EXTRAS) ## serve the registry on port 5000, files in ./data (or as the environment says)
	@if [ -z "$${DOCKER_REGISTRY_CONFIG:-}" ]; then export SETTINGS_FLAVOR="$${SETTINGS_FLAVOR:-local}"; fi; \
	case "$${SETTINGS_FLAVOR:-dev}" in \
	    local|dev|test) export STORAGE_PATH="$${STORAGE_PATH:-$$PWD/data}" ;; \
	    glance|openstack) export STORAGE_PATH="$${STORAGE_PATH:-$$PWD/data}" ;; \
	esac; \
	exec $(PY) -m v1registry serve $(ARGS)

servers:
	@bash scripts/servers.sh

# A file's tests run in one process, two files at a time: much of their time is waiting. Which files
# are begun first, tests/conftest.py says.
test: $(DEV) servers ## the tests, with the real servers that they need (ARGS="-k ..." to choose)
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

# Measured is what most users have, also by our image: the Python of the distribution, built to be
# fast. One built by hand, without --enable-optimizations, takes a third longer.
BENCH_PYTHON ?= $(shell for p in /usr/bin/python3 python3; do \
    $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BENCH := .venv-bench/.installed

$(BENCH): $(wildcard requirements*.txt) scripts/venv.sh
	@PYTHON=$(BENCH_PYTHON) bash scripts/venv.sh .venv-bench requirements-dev.txt
	@touch $@

bench: $(BENCH) ## measure, beside the peers that are installed (docker-registry, nginx-light)
	.venv-bench/bin/python -m bench $(ARGS)
	$(if $(ARGS),,.venv-bench/bin/python -m bench.moving)

image: ## build the container image with docker or podman
	$$(command -v docker || command -v podman) build -t $(IMAGE) .

image-test: $(DEV) ## check the Dockerfile, build it for real on a fresh Debian, push to it (root)
	bash scripts/image-test.sh $(VENV)

clean: ## remove what the targets above made, but never ./data
	rm -rf $(VENV) .venv-bench .venv-servers .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/clients/npm/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
