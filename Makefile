# The verbs of this repository: `make help` lists them. GNU make 3.81 or newer, a POSIX sh, Python 3.11 or newer.
#
# Every verb prepares .venv by itself, from the hashed lock file it needs, and leaves it alone as long as nothing
# changed. check.txt contains test.txt contains runtime.txt, with the same versions (`make lock` proves it), so that a
# .venv made for one verb also serves the smaller ones.

PYTHON = python3 python3.13 python3.12 python3.11
PORT   = $(or $(PAYYMO_SERVER__PORT),5000)
DATA   = $(or $(PAYYMO_DATA),var)
ARGS   =

BIN    = .venv/bin
SHELL  = /bin/sh
INSTALLS = install-runtime install-test install-check
TEST_WORKERS = -n auto --maxprocesses 8 --dist worksteal

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help serve test check fmt bench docs translations lock clean $(INSTALLS)

help:  ## this list
	@awk -F ':[^#]*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  make serve PORT=5000 DATA=var        where it listens, and where its data lies"
	@echo "  make test ARGS='tests/test_x.py -k y'  arguments for pytest (also for bench)"
	@echo "  make lock ARGS=--upgrade             take newer versions instead of keeping the locked ones"
	@echo "  make ... PYTHON=python3.13           the Python for a new .venv"

serve: install-runtime  ## install what is needed, then run the service
	@exec env PAYYMO_DATA='$(DATA)' $(BIN)/payymo serve --port '$(PORT)'

# Compiled modules are kept whatever the surroundings say: tests start hundreds of processes.
# Those of the guard run in an environment of their own, where nothing of the service is: tests/architecture/test_guard_wheel.
test: install-test  ## all tests, against real PostgreSQL, SQLite and Valkey
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest $(TEST_WORKERS) $(or $(ARGS),--ignore=tests/guard)

# The types take as long as everything else together, and each takes one processor: they go beside it.
check: install-check  ## lint, format, types, import directions, dependencies, security lint
	@set -eux; $(BIN)/mypy & types=$$!; trap 'kill $$types 2>/dev/null || :' EXIT; \
	$(BIN)/ruff check .; \
	$(BIN)/ruff format --check .; \
	$(BIN)/lint-imports; \
	$(BIN)/deptry src; \
	(cd guard && ../$(BIN)/deptry src); \
	$(BIN)/bandit -q -r src guard/src -c pyproject.toml; \
	wait $$types; trap - EXIT

fmt: install-check  ## format the code, and mend what the linter can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: install-test  ## measure, on this machine
	$(BIN)/python -m bench $(ARGS)

docs: install-runtime  ## write docs/openapi.json and the table of docs/events.md anew
	@$(BIN)/payymo openapi > docs/openapi.json.new || { rm -f docs/openapi.json.new; exit 1; }
	@mv docs/openapi.json.new docs/openapi.json
	@{ sed '/^| event |/,$$d' docs/events.md && $(BIN)/payymo audit events; } > docs/events.md.new || { rm -f docs/events.md.new; exit 1; }
	@mv docs/events.md.new docs/events.md

# A message that is new has an empty translation then, which a test does not let pass.
translations: install-test  ## find what pages say, and bring the catalogues up to date
	@$(BIN)/python -m tests.support.translations

# The largest lock is solved first and constrains the smaller ones, so that the three agree. Needs uv on the PATH.
# The files hold hashes and no host names: plain pip installs them from whatever index it is set up for.
COMPILE = UV_CUSTOM_COMPILE_COMMAND='make lock' uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links

lock:  ## solve requirements/*.in again into the hashed lock files
	@command -v uv >/dev/null || { echo "make lock needs uv on the PATH: pip install uv" >&2; exit 1; }
	$(COMPILE) $(ARGS) requirements/check.in -o requirements/check.txt
	$(COMPILE) -c requirements/check.txt requirements/test.in -o requirements/test.txt
	$(COMPILE) -c requirements/check.txt requirements/runtime.in -o requirements/runtime.txt
	$(COMPILE) -c requirements/check.txt requirements/guard-test.in -o requirements/guard-test.txt
	@for lock in runtime test guard-test; do \
		strays=$$(sed -n 's/^\([a-z0-9][^ ;]*==[^ ;]*\).*/\1/p' requirements/$$lock.txt | while read -r pin; do \
			grep -q "^$$pin[ ;]" requirements/check.txt || echo "$$pin"; done); \
		if [ -n "$$strays" ]; then echo "$$lock.txt and check.txt disagree about: $$strays" >&2; exit 1; fi; \
	done; echo "runtime.txt, test.txt, guard-test.txt and check.txt agree."

clean:  ## remove .venv, caches and build products; never the data
	rm -rf .venv .cache build dist guard/build guard/dist .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache src/*.egg-info guard/src/*.egg-info
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# Puts the first Python that is new enough into $$python.
define FIND_PYTHON
python=; \
for candidate in $(PYTHON); do \
	if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
		python=$$candidate; break; \
	fi; \
done; \
if [ -z "$$python" ]; then \
	echo "Payymo needs Python 3.11 or newer, tried: $(PYTHON). Name another with make PYTHON=/path/to/python3" >&2; exit 1; \
fi
endef

# A usable .venv: made at this very place (its scripts hold the path), a Python that still runs, pip, and no
# installation that was broken off. Anything else is made anew.
define VENV_IS_SOUND
[ ! -e .venv/.unfinished ] && \
case "$$(head -n 1 $(BIN)/pip 2>/dev/null)" in "\#!$$(pwd -P)/.venv/"*) true;; *) false;; esac && \
$(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
endef

# `ensurepip` is a step of its own behind the mark, so that a .venv broken off in it is told from a sound one.
define MAKE_VENV
$(FIND_PYTHON); \
if ! "$$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then \
	if command -v apt-get >/dev/null; then echo "sudo apt install python3-venv" >&2; \
	else echo "$$python lacks venv or ensurepip: install its venv package, or name another with make PYTHON=..." >&2; fi; \
	exit 1; \
fi; \
echo "Making .venv with $$("$$python" --version) ..."; \
"$$python" -m venv --clear --without-pip .venv; \
: > .venv/.unfinished; \
$(BIN)/python -Im ensurepip --upgrade --default-pip >/dev/null
endef

# pip compiles on one processor; the module does on all. What it can't compile is no module of this Python's.
# The stamp .venv/.has-LOCK holds what the installation was made from: the place, the lock, both pyproject files.
$(INSTALLS): install-%:
	@set -eu; \
	stamp_of() { echo "$$(pwd -P) $$(cat requirements/$$1.txt pyproject.toml guard/pyproject.toml | cksum)"; }; \
	if [ "$$(cat .venv/.has-$* 2>/dev/null)" = "$$(stamp_of $*)" ] && [ ! -e .venv/.unfinished ] \
		&& [ -x $(BIN)/payymo ] && $(BIN)/python -c '' 2>/dev/null; then exit 0; fi; \
	if ! { $(VENV_IS_SOUND); }; then $(MAKE_VENV); fi; \
	echo "Installing requirements/$*.txt ..."; \
	: > .venv/.unfinished; \
	rm -f .venv/.has-*; \
	pip="$(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet"; \
	$$pip --no-compile --require-hashes -r requirements/$*.txt; \
	$(BIN)/python -m compileall -qq -j 0 .venv/lib || :; \
	$$pip --no-deps --no-build-isolation -e guard -e .; \
	case $* in check) locks="runtime test check";; test) locks="runtime test";; *) locks=runtime;; esac; \
	for lock in $$locks; do stamp_of $$lock > .venv/.has-$$lock; done; \
	rm .venv/.unfinished
