# Pitboss: everything a reader types. Needs CPython 3.11 or 3.12 with venv, and make; the rest comes by `requirements*.lock`.

SHELL := /bin/sh
.DEFAULT_GOAL := help
PY := .venv/bin/python

# The first Python that really runs: a name on PATH may be a shim that fails.
FIND_PYTHON = for name in $(PYTHON) python3.12 python3.11 python3; do \
	if "$$name" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1; then found=$$name; break; fi; \
done; \
if [ -z "$${found:-}" ]; then \
	echo "make: no CPython 3.11 or 3.12 that works on PATH (found: $$(python3 --version 2>&1 | head -n 1));" \
		"install one (Debian 12: apt install python3 python3-venv; Ubuntu 24.04: the same), or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; \
fi

.PHONY: help run stop reset doctor test lint check bench bench-quick probes access torture figures lock clean env env-dev browser

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'

env:
	@$(FIND_PYTHON); "$$found" .ci/environment.py run

env-dev: ## Make the environment, with the tools of tests and checks
	@$(FIND_PYTHON); "$$found" .ci/environment.py dev

run: env ## Start the whole platform here; Ctrl-C stops it
	@exec .venv/bin/pitboss run

stop: env ## Stop what `make run` started
	@.venv/bin/pitboss stop

reset: env ## Throw away the local databases, logs and secrets
	@.venv/bin/pitboss reset

doctor: env ## Say what is wrong with this machine and what to do
	@.venv/bin/pitboss doctor

test: env-dev browser ## Run every test, on all cores
	$(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile

lint: env-dev ## Lint, types, imports
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	.venv/bin/lint-imports
	.venv/bin/ast-grep scan
	.venv/bin/pyright

check: lint ## The same, and the tests of architecture and docs
	$(PY) -m pytest tests/architecture tests/docs

bench: env-dev ## Measure against pgbench on this machine
	$(PY) tests/bench/run.py

bench-quick: env-dev ## The same in two minutes
	$(PY) tests/bench/run.py --quick

probes: env-dev ## Attack one tenant as another, with guards and without, and tamper with audit logs; figures into build/figures
	$(PY) -m pytest tests/isolation tests/architecture/test_classes.py
	PITBOSS_TEST_TAMPER=50 PITBOSS_TEST_CLEAN=1000 PITBOSS_TEST_TREES=50000 PITBOSS_TEST_VERIFIED=1000000 \
	PITBOSS_TEST_SEQUENCED=400000 PITBOSS_TEST_SEGMENT_TAMPER=20 $(PY) -m pytest tests/property/test_audit_tamper.py tests/property/test_audit_merkle.py \
		tests/property/test_merkle_vectors.py \
		tests/unit/verify/test_speed.py tests/integration/audit/test_sequencer.py tests/integration/evidence/test_tamper.py
	PITBOSS_TEST_RETAINED=340000 $(PY) -m pytest tests/property/test_retention.py

access: env-dev ## Decide a million times beside Cedar and ten million rows beside PostgreSQL; figures into build/figures
	PITBOSS_TEST_CEDAR=1000000 PITBOSS_TEST_ROW_DECISIONS=10000000 PITBOSS_TEST_TIMED_DECISIONS=1000000 \
	$(PY) -m pytest tests/property/test_access_cedar.py tests/property/test_access_sql.py -o timeout=3600

torture: env-dev ## Break databases, Redis and workers under load for a quarter of an hour, with guards and without; figures into build/figures
	PITBOSS_TORTURE=$${PITBOSS_TORTURE:-whole} $(PY) -m pytest -s tests/torture

figures: env-dev ## Print every promised figure beside its last measurement
	@$(PY) tests/bench/figures.py

lock: env-dev ## Write both lock files anew
	mkdir -p build
	.venv/bin/uv lock --quiet
	.venv/bin/uv export --quiet --no-header --no-emit-workspace --all-packages --all-extras --no-annotate \
		--no-default-groups --group build --output-file build/requirements.lock
	.venv/bin/uv export --quiet --no-header --no-emit-workspace --all-packages --all-extras --no-annotate \
		--no-default-groups --group build --group dev --output-file build/requirements-dev.lock
	@if grep -n '://' build/requirements.lock build/requirements-dev.lock; then \
		echo "make: a lock file must name packages, not addresses; nothing was changed" >&2; exit 1; fi
	mv build/requirements.lock build/requirements-dev.lock .

clean: ## Remove what can be made again; the state of `make run` stays (see reset)
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache .venv .venv.lock
	find core plugins tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Tests of pages use Debian's Chromium. PITBOSS_WITHOUT_BROWSER=1 leaves them out, and they say so.
browser:
	@if [ "$${PITBOSS_WITHOUT_BROWSER:-}" != 1 ] && ! command -v chromium >/dev/null 2>&1; then \
		if command -v apt-get >/dev/null 2>&1 && [ "$$(id -u)" = 0 ]; then \
			echo "make: installing chromium for the tests of pages"; \
			{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium; } >/dev/null || true; \
		fi; \
		command -v chromium >/dev/null 2>&1 || { \
			echo "make: no chromium for the tests of pages; install it (Debian: apt install chromium)," \
				"or leave them out: make test PITBOSS_WITHOUT_BROWSER=1" >&2; exit 1; }; \
	fi
