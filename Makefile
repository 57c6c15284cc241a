# `make run` serves the registry, `make test` runs the tests. Both install what they need.
# `make help` lists all targets.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

VENV ?= .venv
PY := $(VENV)/bin/python
ARGS ?=
JOBS ?= 4
IMAGE ?= v1registry

# Stamp files: each is newer than the requirements that were installed.
RUN := $(VENV)/.installed-run
DEV := $(VENV)/.installed-dev

.PHONY: help run test coverage test-distribution test-heavy servers lint format translations screenshots bench wheel lock audit image image-test clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

# Files that change the installation of the project itself.
PACKAGE := pyproject.toml requirements-build.txt requirements-pip.txt scripts/venv.sh

$(RUN): requirements.txt $(PACKAGE)
	@bash scripts/venv.sh $(VENV) requirements.txt
	@touch $@

$(DEV): $(wildcard requirements*.txt) $(PACKAGE)
	@bash scripts/venv.sh $(VENV) requirements-dev.txt
	@touch $@ $(RUN)

# Optional requirements that the environment asks for.
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

# The environment variables of a 0.x deployment keep their meaning (STORAGE_PATH, SETTINGS_FLAVOR,
# REGISTRY_PORT, GUNICORN_WORKERS ...).
run: $(RUN) $(EXTRAS) ## serve the registry on port 5000 with files in ./data (variables change both)
	@if [ -z "$${DOCKER_REGISTRY_CONFIG:-}" ]; then export SETTINGS_FLAVOR="$${SETTINGS_FLAVOR:-local}"; fi; \
	exec $(VENV)/bin/v1registry serve $(ARGS)

servers:
	@bash scripts/servers.sh

# Without bytecode files, each server and command that a test starts would compile the package again.
test test-distribution test-heavy: export PYTHONDONTWRITEBYTECODE :=

# The tests of a file run in one process. JOBS processes run at a time: more than there are cores,
# because the tests mostly wait for servers. tests/conftest.py orders the files.
test: $(DEV) servers ## run the tests with the real servers that they need (ARGS="-k ..." selects some)
	$(if $(ARGS),,@$(MAKE) --no-print-directory test-distribution)
	$(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(COVERAGE) $(ARGS)

coverage: export COVERAGE := --cov=v1registry
coverage: test ## run the tests like `make test`, and print the coverage; it fails below 90 %

test-heavy: export HEAVY := 1
test-heavy: $(DEV) servers ## run the slow tests, once before a release: under 40 minutes
	$(PY) -m pytest -m heavy -rP --durations=0 --timeout 900 $(ARGS)

lint: $(DEV) ## run formatter, linter, type checker and the architecture test; change nothing
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(PY) -m pytest -q tests/test_architecture.py

format: $(DEV) ## format the code, and fix what the linter can fix
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

translations: $(DEV) ## update and compile the texts of the pages, and list what is not translated
	PYTHONPATH=. $(PY) scripts/translations.py

screenshots: $(DEV) servers ## write the screenshots of the pages into docs/images
	PYTHONPATH=. $(PY) scripts/screenshots.py

# The Python of the distribution, which our image and most installations use. It may be older than the
# default `python3`, with bugs that are fixed there, and faster (--enable-optimizations).
DISTRIBUTION_PYTHON ?= $(shell for p in /usr/bin/python3 python3; do \
    $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
DISTRIBUTION_PY := .venv-distribution/bin/python
DISTRIBUTION := .venv-distribution/.installed

$(DISTRIBUTION): $(wildcard requirements*.txt) $(PACKAGE)
	@PYTHON=$(DISTRIBUTION_PYTHON) bash scripts/venv.sh .venv-distribution requirements-dev.txt
	@touch $@

SERVER_TESTS := tests/server $(addprefix tests/protocol/test_,clients.py endpoints_*.py framing.py \
    hostile.py old_clients.py read_only.py recordings.py settings.py)

test-distribution: $(DEV) ## run the server's tests on the distribution's Python, if it differs from $(PY)
	@if [ "$$($(PY) -VV)" = "$$($(DISTRIBUTION_PYTHON) -VV)" ]; then \
	    echo "The distribution's Python is that of $(VENV): not tested twice"; \
	else \
	    $(MAKE) --no-print-directory $(DISTRIBUTION) && \
	    $(DISTRIBUTION_PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(SERVER_TESTS); \
	fi

bench: $(DISTRIBUTION) ## run the benchmarks, also of installed peers (docker-registry, nginx-light)
	$(DISTRIBUTION_PY) -m bench $(ARGS)
	$(if $(ARGS),,$(DISTRIBUTION_PY) -m bench.moving)

# `docker info` fails without a daemon, which a build needs.
image: ## build the container image with docker or podman (BASE=name@sha256:... pins its base)
	@if docker info >/dev/null 2>&1; then engine=docker; \
	elif command -v podman >/dev/null; then engine=podman; \
	else echo "error: neither podman nor a docker daemon was found: install one of them" >&2; exit 1; fi; \
	set -x; $$engine build $(if $(BASE),--build-arg "BASE=$(BASE)") -t $(IMAGE) .

wheel: $(DEV) ## build dist/v1registry-*.whl for `pip install`
	$(PY) -m hatchling build -t wheel

# The tools that query the package index about our pins have their own environment.
AUDIT := .venv-audit/.installed

$(AUDIT): requirements-audit.txt requirements-pip.txt scripts/venv.sh
	@bash scripts/venv.sh .venv-audit requirements-audit.txt bare
	@touch $@

lock: $(AUDIT) ## write the hashes of requirements*.txt, after a change of a pin
	.venv-audit/bin/python scripts/lock.py

audit: $(AUDIT) ## list outdated pins and known vulnerabilities (queries the package index)
	@status=0; .venv-audit/bin/python scripts/lock.py --current || status=$$?; \
	for file in requirements*.txt; do \
	    echo "== $$file"; \
	    .venv-audit/bin/pip-audit --strict --progress-spinner off --disable-pip --no-deps -r $$file || status=$$?; \
	done; exit $$status

image-test: $(DEV) ## check the Dockerfile, build it on a fresh Debian, and push to it (needs root)
	bash scripts/image-test.sh $(VENV)

clean: ## delete what the targets above created, but never ./data
	rm -rf $(VENV) .venv-distribution .venv-audit .venv-servers dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* tests/clients/npm/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
