# Everything is installed into .venv; `make` alone prints what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
# uv does not read pip's configuration; an index named for pip serves both.
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
export UV_NO_PROGRESS ?= 1
# What Python has compiled is kept, or every process of a test would compile all that it imports once more.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## Print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: install
install: .venv/.installed ## Put everything, the console script gatehouse too, into .venv

.venv/.installed: requirements/dev.txt requirements/uv.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.13 install" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/uv.txt requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: run
run: install ## Start PostgreSQL, Valkey and the service for a laptop; data in .data
	@$(BIN)/gatehouse dev

.PHONY: check
check: install ## Style, types, import contracts, generated documents, advisories against what we depend on, the files of deploy/
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m db.describe --check
	$(BIN)/python -m tests.messages --check
	$(BIN)/python -m tests.advisories requirements/base.txt
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/deploy.txt
	$(BIN)/python -m tests.deploy --wheels

.PHONY: check-deploy
check-deploy: install ## The files of deploy/ by what reads them: hadolint, kubectl, promtool, nginx, … (root gets Debian's)
	@for tool in promtool:prometheus nginx:nginx haproxy:haproxy node:nodejs npm:npm; do \
	  PATH=$$PATH:/usr/sbin command -v $${tool%:*} > /dev/null || { test $$(id -u) = 0 && apt-get install --yes --quiet --no-install-recommends $${tool#*:} > /dev/null; } \
	    || { echo "$${tool%:*} is needed: apt-get install --no-install-recommends $${tool#*:}" >&2; exit 1; }; \
	done
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/deploy.txt
	@npm ci --prefix tests/deploy/operators --silent --no-audit --no-fund
	$(BIN)/python -m tests.deploy

# tests that `make test` leaves out
WITH_THE_REST = $(BIN)/python -m pytest -o addopts="-ra --import-mode=importlib --disable-plugin-autoload -p anyio -p xdist.plugin"

.PHONY: test-probes
test-probes: install ## The probes of deploy/kubernetes as a kubelet asks them, while stores are killed, hang and are back (two minutes)
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/deploy.txt
	$(WITH_THE_REST) --numprocesses 3 tests/probes

.PHONY: proxies
proxies: install
	@for tool in nginx haproxy curl; do \
	  PATH=$$PATH:/usr/sbin command -v $$tool > /dev/null || { test $$(id -u) = 0 && apt-get install --yes --quiet --no-install-recommends $$tool > /dev/null; } \
	    || { echo "$$tool is needed: apt-get install --no-install-recommends $$tool" >&2; exit 1; }; \
	done

.PHONY: test-proxies
test-proxies: proxies ## nginx and HAProxy as they are shipped, in front of two replicas and of an application (root gets Debian's; three minutes)
	$(WITH_THE_REST) tests/proxies

.PHONY: rolling
rolling: proxies ## Three replicas behind HAProxy replaced under load (SECONDS), with a migration between: no request fails
	$(BIN)/python -m tests.proxies $(if $(SECONDS),--seconds $(SECONDS))

.PHONY: rules
rules: install ## Write Prometheus's rules as Kubernetes has them
	$(BIN)/python -m tests.deploy.rules

# three processes on two cores: much of what tests do is waiting for a server to start
ALL_TESTS = --numprocesses 3 --dist loadfile
.PHONY: test
test: install ## The whole test suite, on real PostgreSQL, Valkey and Granian workers; it has to show what docs/security.md says
	$(BIN)/python -m pytest $(ALL_TESTS) --junitxml .reports/tests.xml
	$(BIN)/python -m tests.security_table .reports/tests.xml

.PHONY: coverage
coverage: install ## Count the lines and branches that the suite reaches: 95 % of app, all of its identity, mail and sessions (takes half as long again)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(ALL_TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=95
	$(BIN)/coverage report --include='app/identity/*,app/mail/*,app/sessions/*' --fail-under=100

.PHONY: test-upgrade
test-upgrade: install ## The release before (REF, else the newest tag) beside this one on the schema that this one has made
	$(WITH_THE_REST) tests/cli/test_at_once.py
	$(BIN)/python -m tests.upgrade $(if $(REF),--ref $(REF))

.PHONY: browser
browser: install
	@command -v node > /dev/null && command -v npm > /dev/null || { echo "Node.js 20 or newer with npm is needed, for an OpenID provider to sign in with and for axe-core" >&2; exit 1; }
	@command -v chromium > /dev/null || { test $$(id -u) = 0 && apt-get install --yes --quiet chromium > /dev/null; } || { echo "Chromium is needed: apt-get install chromium" >&2; exit 1; }
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/browser.txt
	@npm ci --prefix tests/browser --silent --no-audit --no-fund

BROWSER_TESTS = $(BIN)/python -m pytest -o addopts="-ra --import-mode=importlib"
.PHONY: test-browser
test-browser: browser ## The console's pages, passkeys and sign-in by a provider in a real browser (needs node 20 and Chromium, which root gets from Debian)
	$(BROWSER_TESTS) tests/browser

.PHONY: test-stores
test-stores: install ## Stores as others run them: Sentinel, a cluster, TLS, PgBouncer (redis-server and pgbouncer, which root gets from Debian)
	@for tool in redis-server pgbouncer; do \
	  PATH=$$PATH:/usr/sbin command -v $$tool > /dev/null || { test $$(id -u) = 0 && apt-get install --yes --quiet --no-install-recommends $$tool > /dev/null; } \
	    || { echo "$$tool is needed: apt-get install --no-install-recommends $$tool" >&2; exit 1; }; \
	done
	$(WITH_THE_REST) tests/stores tests/cache/test_sentinel.py tests/cache/test_cluster.py

.PHONY: screenshots
screenshots: browser ## Take pictures of every page of the console into docs/images
	$(BROWSER_TESTS) tests/browser/take_screenshots.py

.gpustack/.installed: requirements/gpustack.txt .venv/.installed
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' || { echo "GPUStack runs on Python 3.10 to 3.12; name one: make PYTHON=python3.11 test-gpustack" >&2; exit 1; }
	@$(PYTHON) -m venv --clear .gpustack/venv
	@$(UV) pip sync --quiet --python .gpustack/venv/bin/python --require-hashes requirements/gpustack.txt
	@touch $@

.PHONY: test-gpustack
test-gpustack: install .gpustack/.installed ## What is relied on of GPUStack, on a real one (installs 0.6 GB)
	GPUSTACK=real $(BIN)/python -m pytest tests/gpustack/test_contract.py tests/gpustack/test_contract_of_people.py

.PHONY: record-gpustack
record-gpustack: install .gpustack/.installed ## Ask a real GPUStack for the answers that the tests' scripted one gives
	$(BIN)/python -m tests.gpustack.record

.PHONY: torture
torture: install ## Break stores and processes under two replicas for MINUTES=5, and check all that clients saw
	$(BIN)/python -m tests.faults $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

CASES ?= 20000
TOKENS ?= 10000
.PHONY: fuzz
fuzz: install ## CASES=20000 requests that the document allows or forbids, TOKENS=10000 mutated tokens, SEED of an earlier run
	$(BIN)/python -m tests.fuzz --cases $(CASES) --tokens $(TOKENS) $(if $(SEED),--seed $(SEED))

.PHONY: mutants
mutants: install ## Show that this check can find: switch off one rule of the cache after another
	$(BIN)/python -m tests.faults --mutants

.PHONY: bench
bench: install ## Speed as ratios, measured in one run on this machine (needs wrk)
	$(BIN)/python -m bench

.PHONY: bench-storm
bench-storm: install ## What four times the logins that can be hashed do to everybody else (needs wrk)
	$(BIN)/python -m bench.storm

.PHONY: bench-door
bench-door: install ## What an answer's time tells of an account, and what 300 logins at once do to the rest
	$(BIN)/python -m bench.door

.PHONY: bench-gpustack
bench-gpustack: install ## What 100 logins of GPUStack's users cost everybody while it hangs
	$(BIN)/python -m bench.gpustack

.PHONY: bench-faults
bench-faults: install ## How soon an ended token is refused elsewhere while stores break, and what that costs
	$(BIN)/python -m tests.faults --figures

.PHONY: bench-size
bench-size: install ## What a million sessions take in PostgreSQL and Valkey
	$(BIN)/python -m bench.size

.PHONY: bench-import
bench-import: install ## What an import of 100,000 users takes, and what it does to everybody else
	$(BIN)/python -m bench.imports

.PHONY: bench-admin
bench-admin: install ## What lists, ending and clean-up take on a million users, and by what plans (DATA keeps the stores)
	$(BIN)/python -m bench.admin $(if $(DATA),--data $(DATA))

.PHONY: native
native: install ## Build argon2 for this processor (x86-64-v3, needs a C compiler): nearly twice the logins
	CFLAGS="-O3 -march=x86-64-v3" $(UV) pip install --quiet --python $(BIN)/python --require-hashes --reinstall-package argon2-cffi-bindings --no-binary argon2-cffi-bindings -r requirements/base.txt
	@$(BIN)/python -c 'from argon2 import PasswordHasher; PasswordHasher().hash("built")'

LOADTEST = $(BIN)/python -m loadtests $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(USERS),--users $(USERS)) $(if $(SECONDS),--seconds $(SECONDS))

.PHONY: loadtest
loadtest: install ## Load held to bounds (SCENARIO, USERS, SECONDS) on HOST, or on two replicas of its own
	$(if $(HOST),$(LOADTEST) --host $(HOST),$(BIN)/python -m bench.replicas $(LOADTEST))

.PHONY: test-loadtests
test-loadtests: install ## The scenarios of loadtests/ find what they are for, and accuse nobody else
	$(WITH_THE_REST) --numprocesses 2 --dist loadfile tests/loadtests/running

.PHONY: loadtest-ui
loadtest-ui: install ## The same by hand, on locust's own pages at http://127.0.0.1:8089 (HOST, PORT)
	$(if $(HOST),$(LOADTEST) --host $(HOST),$(BIN)/python -m bench.replicas $(LOADTEST)) --ui $(if $(PORT),--port $(PORT))

.PHONY: scale
scale: install ## What 1, 2 and 4 replicas carry at the same p99, each held to a share of a core (Linux, root, 20 minutes; SHARE)
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/plot.txt
	$(BIN)/python -m bench.scale $(if $(SHARE),--share $(SHARE))

.PHONY: steady
steady: install ## Two replicas at half of what they carry for MINUTES=10: memory, connections, 5xx (Linux, root, half an hour)
	$(BIN)/python -m bench.steady $(if $(MINUTES),--minutes $(MINUTES))

.PHONY: messages
messages: install ## What the console says, for who translates it; BEGIN=de begins a language
	$(BIN)/python -m tests.messages $(if $(BEGIN),--begin $(BEGIN))

.PHONY: format
format: install ## Put the code into the house's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: lock
lock: install ## Resolve the dependencies anew into requirements/*.txt
	$(UV) pip compile --quiet --universal --generate-hashes --no-annotate --no-header --upgrade --python-version 3.11 --extra otel pyproject.toml -o requirements/base.txt
	$(UV) pip compile --quiet --universal --generate-hashes --no-annotate --no-header --upgrade --python-version 3.11 --extra embedded --extra otel --group dev --constraint requirements/base.txt pyproject.toml -o requirements/dev.txt
	$(UV) pip compile --quiet --universal --generate-hashes --no-annotate --no-header --upgrade --python-version 3.11 --group browser --constraint requirements/dev.txt -o requirements/browser.txt
	$(UV) pip compile --quiet --universal --generate-hashes --no-annotate --no-header --upgrade --python-version 3.11 --group build --constraint requirements/dev.txt -o requirements/build.txt
	$(UV) pip compile --quiet --universal --generate-hashes --no-annotate --no-header --upgrade --python-version 3.11 --group deploy --constraint requirements/dev.txt -o requirements/deploy.txt
	$(UV) pip compile --quiet --universal --generate-hashes --no-annotate --no-header --upgrade --python-version 3.11 --group plot --constraint requirements/dev.txt -o requirements/plot.txt
	echo 'gpustack==2.3.0' | $(UV) pip compile --quiet --universal --generate-hashes --no-annotate --no-header --upgrade --python-version 3.11 - -o requirements/gpustack.txt
	echo uv | $(UV) pip compile --quiet --universal --generate-hashes --no-annotate --no-header --upgrade - -o requirements/uv.txt

.PHONY: clean
clean: ## Remove .venv and what tools left; .data stays
	rm -rf .venv .gpustack .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .reports htmlcov .coverage .coverage.*
