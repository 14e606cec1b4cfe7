# make help prints the targets. PYTHON=/path/to/python3 uses another Python than Debian's, in a separate environment.

PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
DESTDIR ?=
ENGINES_CONF ?=
OCI_RUNTIME ?=

# Debian's Python uses .venv. Any other has an environment in build/venvs and a build directory, both named after its path.
# Neither contains the other: they are layers of the overlay that seals the executable, and layers must not overlap.
ifeq ($(PYTHON),/usr/bin/python3)
BUILD := build/default
VENV ?= .venv
else
NAME := $(subst /,-,$(patsubst /%,%,$(PYTHON)))
BUILD := build/$(NAME)
VENV ?= build/venvs/$(NAME)
endif
PYTEST := $(VENV)/bin/python -m pytest

.DEFAULT_GOAL := build
.PHONY: help print-venv setup packages build demo test test-unit test-integration test-pythons \
	test-systemd test-box test-engines test-hosts test-vm test-install docs deb test-deb rpm test-rpm release \
	mutants asan coverage fuzz conformance runc-tests bench figures dockertest lint lint-python lint-c \
	lint-shell lint-words format install uninstall clean

help:
	@echo 'setup             install Debian packages and a private environment, and build (once, as root)'
	@echo 'build             build in place: $(VENV)/bin/ocipy'
	@echo 'demo              run a container and show what it sees'
	@echo 'test              unit and integration tests (OCI_RUNTIME=/path/to/runtime tests another runtime)'
	@echo 'test-pythons      the launcher and the unit tests on each Python of this machine'
	@echo 'test-systemd      the systemd cgroup driver, with a private systemd'
	@echo 'test-engines      podman, Docker, containerd and its CRI plugin, with ocipy and with runc'
	@echo 'test-hosts        the tests on Debian 13 and sid, in containers that ocipy runs'
	@echo 'test-install      each way of installing, in a clean Debian: install, start, time the start, uninstall'
	@echo 'test-box          ocipy box: the articles'"'"' demonstrations, images, networks, and the pages in a browser'
	@echo 'test-vm           integration tests on a second kernel with cgroup v2'
	@echo 'mutants           plant small faults, and check that the tests notice each'
	@echo 'asan              the unit tests with the C code under AddressSanitizer and UndefinedBehaviorSanitizer'
	@echo 'coverage          which lines of Python and C the unit tests run: tables, and HTML in build/coverage'
	@echo 'fuzz              random bytes for the readers of JSON, messages, frozen modules and snapshots (SECONDS_EACH=60)'
	@echo 'conformance       the OCI validation suite'
	@echo "runc-tests        runc's own integration tests"
	@echo 'bench             times compared with runc and crun'
	@echo 'deb               a Debian package in dist/, built in a clean Debian 12 and checked by lintian'
	@echo 'test-deb          the same; then install it, use it by hand and by podman, upgrade it, purge it'
	@echo 'rpm               rpm packages in dist/, built in a clean Debian 12 and checked by rpmlint'
	@echo 'test-rpm          the same; then install it by rpm, use it, upgrade it, remove it'
	@echo 'docs              the documentation as a site, in build/site'
	@echo 'release           sdist, wheel, Debian package, checksums in dist/; tag and publish them (not with DRY_RUN=1)'
	@echo 'figures           measure again, and update the figures in README.md and docs/benchmarks.md (ten idle minutes)'
	@echo 'dockertest        the tests in a container image'
	@echo 'lint              ruff, mypy, clang-format, shellcheck, codespell, proselint'
	@echo 'format            apply the fixes of these tools'
	@echo 'install uninstall PREFIX=$(PREFIX) [DESTDIR=DIR] [ENGINES_CONF=FILE]: the command, man pages, podman'"'"'s file'

setup: packages $(VENV)/.installed
	@$(MAKE) --no-print-directory build

PACKAGES := packages.txt
test-box: PACKAGES := packages-box.txt
fuzz: PACKAGES := packages-fuzz.txt

# apt is called only for missing packages: a machine that has all of them needs neither network nor root.
packages:
	@missing=$$(sed 's/#.*//' $(PACKAGES) | xargs dpkg-query -W -f '$${db:Status-Status} $${Package}\n' 2>&1 | \
	  sed -n 's/^not-installed //p; s/^config-files //p; s/^dpkg-query: no packages found matching //p'); \
	if [ -n "$$missing" ]; then \
	  echo "installing:" $$missing; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	fi

$(VENV)/.installed: pyproject.toml
	@mkdir -p build
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); \
	  print(*p["build-system"]["requires"], *p["project"]["dependencies"], *p["project"]["optional-dependencies"]["test"], *p["project"]["optional-dependencies"]["lint"], sep="\n")' \
	  > build/requirements.txt
	$(VENV)/bin/pip install -q wheel setuptools
	$(VENV)/bin/pip install -q -r build/requirements.txt
	@touch $@

# Only for `make docs`.
$(VENV)/.docs: pyproject.toml $(VENV)/.installed
	$(VENV)/bin/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); \
	  print(*p["project"]["optional-dependencies"]["docs"], sep="\n")' > build/requirements-docs.txt
	$(VENV)/bin/pip install -q -r build/requirements-docs.txt
	@touch $@

# Only for `make coverage`.
$(VENV)/.coverage: pyproject.toml $(VENV)/.installed
	$(VENV)/bin/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb")); \
	  print(*p["project"]["optional-dependencies"]["coverage"], sep="\n")' > build/requirements-coverage.txt
	$(VENV)/bin/pip install -q -r build/requirements-coverage.txt
	@touch $@

# Safe for several callers at once. If nothing has changed, it takes well under a second. A copied or moved checkout is
# built again: the build and the environment's scripts contain the original's paths.
build:
	@if [ -f $(BUILD)/.place ] && [ "$$(cat $(BUILD)/.place)" != "$$(pwd -P)" ]; then \
	  echo "this checkout was built in $$(cat $(BUILD)/.place): building it again"; \
	  rm -rf $(BUILD) $(if $(filter-out /%,$(VENV)),$(VENV)); \
	fi
	@mkdir -p $(BUILD)
	@[ -x $(VENV)/bin/meson ] || $(MAKE) --no-print-directory $(VENV)/.installed PYTHON=$(PYTHON)
	@flock $(BUILD)/.lock packaging/build-in-place $(VENV) $(BUILD)

demo: setup
	@demo/run $(VENV)/bin/ocipy

test: build
	$(PYTEST) -q tests/unit tests/integration

test-unit: build
	$(PYTEST) -q tests/unit

test-integration: build
	$(PYTEST) -q tests/integration

print-venv:
	@echo $(VENV)

test-pythons:
	@tests/pythons

test-systemd: build
	@tests/systemd/run
	@tests/systemd/run --unified

test-engines: build
	@PYTHON=$(VENV)/bin/python tests/engines/run

test-hosts: build
	@tests/hosts/run

test-install: build
	@tests/install/run

test-box: build packages
	$(PYTEST) -q tests/box

test-vm: build
	@tests/vm/run

mutants: build
	@tests/mutants/run

asan: build
	@tests/asan/run

coverage: build $(VENV)/.coverage
	@tests/coverage/run

fuzz: packages
	@PYTHON=$(PYTHON) tests/fuzz/run

# In a clean Debian, in a container that ocipy runs. DEB_SUITE=trixie or sid chooses another release.
DEB_SUITE ?= bookworm
deb: build
	@tests/hosts/run --results dist $(DEB_SUITE) -- packaging/build-deb

test-deb: build
	@tests/hosts/run --results dist $(DEB_SUITE) -- sh -c 'packaging/build-deb && tests/deb/run'

RPM := apt-get update -qq && apt-get install -y -qq --no-install-recommends build-essential rpm rpmlint && \
  apt-get build-dep -y -qq --no-install-recommends . && packaging/check-rpm
rpm: build
	@tests/hosts/run --results dist $(DEB_SUITE) -- sh -c '$(RPM)'

test-rpm: build
	@tests/hosts/run --results dist $(DEB_SUITE) -- sh -c '$(RPM) && tests/rpm/run'

# mkdocs.yml makes every warning an error.
docs: $(VENV)/.docs
	$(VENV)/bin/mkdocs build --quiet
	@echo 'the site is in build/site'

# With DRY_RUN=1 nothing is tagged or published; everything is in dist/.
release: build
	@release/run $(if $(DRY_RUN),--dry-run)

conformance: build
	@conformance/run --runtime $(CURDIR)/$(VENV)/bin/ocipy --expect conformance/expected-failures.toml \
	  --json build/conformance.json --html build/conformance.html

runc-tests: build
	@conformance/runc-tests --runtime $(CURDIR)/$(VENV)/bin/ocipy

bench: build
	@bench/run --json build/bench.json --svg build/bench.svg

# Records a run on an idle machine: docs/benchmarks.json, the chart, and the figures in README.md and docs/benchmarks.md.
figures: build
	@bench/run --all --json docs/benchmarks.json --svg docs/benchmarks.svg
	@$(VENV)/bin/python -m bench.figures

dockertest:
	@tests/docker/run

lint: lint-python lint-c lint-shell lint-words

lint-python:
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

lint-c:
	$(VENV)/bin/clang-format --dry-run --Werror $$(git ls-files '*.c' '*.h')

lint-shell:
	$(VENV)/bin/shellcheck $$(git grep -lE '^#!/bin/(ba)?sh')

# Spelling in every text file; prose and line width of the pages. The settings are in pyproject.toml and .proselintrc.json.
lint-words:
	$(VENV)/bin/codespell $$(git ls-files)
	$(VENV)/bin/proselint --config .proselintrc.json check $$(git ls-files '*.md')
	$(VENV)/bin/python -m tests.wrap --check

format:
	$(VENV)/bin/ruff check --fix --quiet .
	$(VENV)/bin/ruff format --quiet .
	$(VENV)/bin/clang-format -i $$(git ls-files '*.c' '*.h')
	$(VENV)/bin/python -m tests.wrap

# A private environment in lib, so that our Python packages and others cannot conflict.
install:
	@$(PYTHON) packaging/install.py $(if $(DESTDIR),--destdir "$(DESTDIR)") $(if $(ENGINES_CONF),--engines-conf "$(ENGINES_CONF)") "$(PREFIX)"

uninstall:
	@$(PYTHON) packaging/uninstall.py $(if $(DESTDIR),--destdir "$(DESTDIR)") "$(PREFIX)"

clean:
	rm -rf build .venv ocipy/linux/_kernel.*.so
	find ocipy tests -name __pycache__ -type d -exec rm -rf {} +
