# `make` alone prints what can be done.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
INSTALLED := .venv/installed
DRIVES_A_BROWSER := .venv/installed-browser
RENDERS_CHARTS := .venv/installed-chart
HOLDS_RELEASES := .venv/installed-release
KNOWS_FRAMEWORKS := .venv/installed-frameworks
KNOWS_NODE := examples/frameworks/node_modules/.package-lock.json
MAKES_SITES := .venv/installed-site
PACKAGES := clients/python server worker
LOCKS := locks/requirements-build.lock locks/requirements.lock
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install

# Tests run on all cores, at most eight workers: each has a PostgreSQL of its own. Many tests wait for a time to pass: with
# three workers for two cores these were busy for 72 to 85 % of the time. One at a time: `make test JOBS=0`.
PARALLEL := -n $(or $(JOBS),$(shell echo $$(( ($$(nproc) * 3 + 1) / 2 )))) --maxprocesses 8

# Where the shell tells Python to write no bytecode, each process of a run compiles all that it imports: 0.4 s of CPU for
# a server, 3.7 s for a worker that collects tests/lease and tests/serve.
TESTS := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest tests $(PARALLEL)

# What `make test` leaves to `make check`: each test says by its marker why.
LATER := browser or chart or curl or faults or frameworks or fuzz or ha or image or language or long or network or older or other_way or package or pgbouncer or pitr or prometheus or slow
QUICK := not ($(LATER))
# The rest of `make check`: no test is in both.
REST := not (ha or long or network) and ($(LATER))

# Tests that flake are counted over all pytests of a run (tests/flakes.py).
export FLAKES_RUN := $(or $(FLAKES_RUN),$(shell date +%s%N))

# Where a server is called over gRPC, whatever serves it.
SPEAK_GRPC := client client_cli e2e http/test_both_transports.py http/test_whole_server.py lease processes rpc serve tls transport worker

.PHONY: help install equipped lint-and-contract browser chart image-test run demo unit test conformance interop clients faults frameworks ha abuse fuzz mutants rules pitr check rest long engines lint contract tools generate lock migrate dist package sbom docs-site release-check audit bench bench-full bench-peers bench-ab ui-size clean

help: ## Print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv with everything in it, versions and hashes from the lock
	@$(BIN)/python -m tools.generate --googleapis

$(INSTALLED): $(LOCKS) $(PACKAGES:=/pyproject.toml) server/hatch_build.py
	@command -v python3 >/dev/null || { echo "make install: no python3 on PATH" >&2; exit 1; }
	@python3 tools/venv.py
	@echo "Installing into .venv"
	@$(PIP) --require-hashes -r locks/requirements-build.lock
	@# What builds packages is there already, in locked versions: nothing else is fetched for it.
	@$(PIP) --require-hashes --no-build-isolation -r locks/requirements.lock
	@$(PIP) --no-deps --no-build-isolation $(PACKAGES:%=-e ./%)
	@touch $@

browser: install $(DRIVES_A_BROWSER) ## What tests of the dashboard drive chromium with, which make check installs

$(DRIVES_A_BROWSER): locks/requirements-browser.lock $(INSTALLED)
	@command -v chromium >/dev/null || echo "make browser: NO chromium on PATH: make check fails without it; on Debian: apt-get install --no-install-recommends chromium" >&2
	@$(PIP) --require-hashes -r locks/requirements-browser.lock
	@touch $@

chart: install $(RENDERS_CHARTS) ## Lint and render the Helm chart, and hold its objects against Kubernetes' schemas
	@$(BIN)/python -m pytest tests/deploy tests/docs/test_deploy.py -m chart

$(RENDERS_CHARTS): locks/requirements-chart.lock $(INSTALLED)
	@$(PIP) --require-hashes -r locks/requirements-chart.lock
	@touch $@

image-test: install ## Build the images by buildah, run them by podman confined, measure them; as root, minutes; IMAGE_BASE=python:3.11-slim-bookworm
	@command -v buildah >/dev/null && command -v podman >/dev/null || { echo "make image-test: needs buildah, podman and runc; on Debian: apt-get install --no-install-recommends buildah podman runc mmdebstrap" >&2; exit 1; }
	@$(BIN)/python -m pytest tests/deploy/test_podman.py -m image

run: install ## Server, worker and four jobs with a live view; the server stays until Ctrl-C
	@$(BIN)/python -m tools.demo

demo: install ## The same, ending by itself when the four jobs are done
	@$(BIN)/python -m tools.demo --once

unit: install ## The tests of what is pure, in seconds: no socket, no process, no database
	@$(BIN)/python -m pytest tests -m unit

test: install ## The tests but the slowest, on all cores: real PostgreSQL, sockets and processes; says what it leaves to `make check`; JOBS=n
	@$(TESTS) --again -m "$(QUICK)"

clients: install ## Build, vet and test the clients in other languages, where their toolchains are
	@$(BIN)/python -m tools.clients

faults: install ## Kill, stop and cut off servers, workers and databases, and check the history; ONLY=case,case SEED=n SCALE=0.1
	@$(BIN)/python -m tests.faults --only "$(ONLY)" --seed "$(or $(SEED),0)" --scale "$(or $(SCALE),1)"

frameworks: install $(KNOWS_FRAMEWORKS) $(KNOWS_NODE) ## The programs of examples/frameworks, jobqueue-django and @jobqueue/nestjs, held against the frameworks themselves
	@$(BIN)/python -m pytest tests/frameworks -m frameworks

$(KNOWS_FRAMEWORKS): locks/requirements-frameworks.lock locks/requirements-django6.lock clients/python-django/pyproject.toml $(INSTALLED)
	@$(PIP) --require-hashes -r locks/requirements-frameworks.lock
	@$(PIP) --no-deps --no-build-isolation -e ./clients/python-django
	@$(BIN)/python -m tools.django6
	@touch $@

# Where it can't be, this says so, and so does pytest.
$(KNOWS_NODE): examples/frameworks/package-lock.json $(INSTALLED)
	@$(BIN)/python -m tests.frameworks.node

ha: install ## Kill, stop and switch over what PostgreSQL, Patroni and etcd run, under load; fetches Debian's packages and installs none; ONLY=name
	@$(BIN)/python -m tools.patroni --fetch
	@$(BIN)/python -m pytest tests/ha -p no:xdist -m ha -k "$(ONLY)"

abuse: install ## Flood a server on loopback in every way, and look whether others are served; ONLY=flood,flood SECONDS=20 ENGINE=grpcio
	@$(BIN)/python -m tests.abuse --only "$(ONLY)" --seconds "$(or $(SECONDS),20)" --engine "$(or $(ENGINE),http2)"

fuzz: install ## Change what clients of HTTP/2 and HTTP/1.1 said, and look whether the server stands it; SECONDS=3600 ONLY=http2 SEED=n
	@$(BIN)/python -m tests.fuzz --only "$(ONLY)" --seconds "$(or $(SECONDS),60)" --seed "$(or $(SEED),0)"

conformance: install ## Hold the worker of each language to the Lease protocol; the table goes into docs/conformance.md
	@$(BIN)/python -m tests.conformance --language "$(LANGUAGE)" --only "$(ONLY)"

interop: install ## Clients of other gRPC libraries against our transport and grpcio's; the tables go into docs/interop.md; CLIENT=name,name ENGINE=http2 ONLY=case
	@$(BIN)/python -m tests.interop --client "$(CLIENT)" --engine "$(ENGINE)" --only "$(ONLY)"

mutants: install ## Break the code on purpose, one line at a time, in a copy: the tests of each promise must go red; hours; goes on where it ended; JOBS=n ONLY=word
	@$(BIN)/python -m tools.mutants --resume --jobs $(or $(JOBS),1) $(ONLY)

rules: install ## The alert rules in deploy/prometheus: checked, and their unit tests; fetches Debian's promtool where none is on PATH
	@$(BIN)/python -m tools.prometheus --fetch
	@$(BIN)/python -m tools.prometheus

pitr: install ## A backup, a disaster, a restore to a time and what operators do then; a move to a newer PostgreSQL; fetches Debian's where it is not installed
	@$(BIN)/python -m tools.pgbackrest --fetch
	@$(BIN)/python -m pytest tests/platform/test_pitr.py tests/e2e/test_move.py -m "pitr or older"

check: equipped lint-and-contract test rest ## All that CI checks: style, types, layers, contract, then the tests but those of make long

rest: equipped lint-and-contract ## What make check has beside make test: style, types, layers, contract, the tests that make test leaves out, over both engines
	@$(BIN)/python -m tests.flakes
	@$(TESTS) --again -m "$(REST)" --engine both --fast-path both

equipped: install browser $(KNOWS_FRAMEWORKS) $(KNOWS_NODE) $(RENDERS_CHARTS) $(HOLDS_RELEASES) $(MAKES_SITES) tools

lint-and-contract: install
	@# Beside each other: each is on one core for most of its time.
	@$(MAKE) contract & contract=$$!; $(MAKE) lint || { kill $$contract; exit 1; }; wait $$contract

long: install browser tools ## The tests that make check has no time for, half an hour: before a release, and after a change of what they hold
	@$(TESTS) -m "long and not network"

engines: install ## The folders that speak gRPC to a server, over the second engine (grpcio); make check runs a part of them over both
	@$(BIN)/python -m pytest $(SPEAK_GRPC:%=tests/%) --engine grpcio -m "not curl and not language and not network and not package"

lint: install ## Style, types, and the walls between the layers
	@command -v curl >/dev/null || { echo "make check: needs curl, which the documentation's examples use" >&2; exit 1; }
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --cache-dir .cache/import-linter

contract: install ## The .proto files: style, no break against the baseline; stubs and lists of columns that are up to date
	@$(BIN)/buf lint
	@$(BIN)/buf format proto --diff --exit-code
	@$(BIN)/buf breaking proto --against proto/baseline.binpb
	@$(BIN)/python -m tools.generate --check
	@$(BIN)/python -m tools.statements --check
	@$(BIN)/python -m tools.openapi --check

tools: install ## Install what makes and checks the OpenAPI documents, where Go and Node are; the rest goes without
	@$(BIN)/python -m tools.openapi --install

generate: install ## Make the stubs, the OpenAPI documents and the list of HTTP bindings from proto/, what statements in SQL have in common from fragments and fields.py, .env.example, and the documents made from code
	@$(BIN)/python -m tools.generate
	@$(BIN)/python -m tools.statements
	@$(BIN)/python -m tools.openapi
	@$(BIN)/python -m tools.go_stubs
	@$(BIN)/python -m tools.typescript_stubs
	@$(BIN)/python -m tools.rust_stubs
	@$(BIN)/python -c 'from jobqueue_server.settings import render_env_example; print(render_env_example(), end="")' > .env.example
	@$(BIN)/python -m tools.docs
	@$(BIN)/python -m tools.grafana

lock: install ## Renew the locks: the newest versions that the packages and locks/*.in allow; then `make install sbom`
	@$(BIN)/python -m tools.locks

sbom: install ## What is in the images, as CycloneDX, of their locks; each licence is one that we know
	@$(BIN)/python -m tools.sbom

migrate: install ## Bring the schema of DATABASE_URL up to date
	@$(BIN)/jobqueue-server migrate up

$(HOLDS_RELEASES): locks/requirements-release.lock $(INSTALLED)
	@$(PIP) --require-hashes -r locks/requirements-release.lock
	@touch $@

$(MAKES_SITES): locks/requirements-site.lock $(INSTALLED)
	@$(PIP) --require-hashes -r locks/requirements-site.lock
	@touch $@

dist: install $(HOLDS_RELEASES) ## Wheels and sdists in dist/, the same bits from the same commit, and what an index would refuse
	@$(BIN)/python -m tools.dist

docs-site: install $(MAKES_SITES) ## All documents as a site in .build/site/html, which asks no other host; fails on a dead link
	@$(BIN)/python -m tools.site

release-check: install $(HOLDS_RELEASES) $(MAKES_SITES) ## What has to hold before a release, step by step, with a table; ONLY=step,step WITHOUT=step REHEARSAL=1
	@$(BIN)/python -m tools.release --only "$(ONLY)" --without "$(WITHOUT)" $(if $(REHEARSAL),--rehearsal)

package: dist ## Those of make dist, each installed alone and started; the images' steps in a folder
	@$(BIN)/python -m pytest tests/package tests/deploy tests/platform/test_audit.py --distributions dist

audit: install ## Ask a database of known vulnerabilities for each version in the locks; needs the network
	@$(BIN)/python -m tools.audit

bench: install ## Ours and the peers of gates G1 to G7, one round; under 15 minutes on 2 cores; results in bench/out/latest.json
	@$(BIN)/python -m bench run G1 G2 G3 G4 G5 G6 G7 --drain 200000

bench-full: install ## All gates, three rounds, medians: hours; resumable by `python -m bench run G8 --rounds 3`
	@$(BIN)/python -m bench run --rounds 3

bench-peers: install ## All workloads of all peers beside ours, three rounds
	@$(BIN)/python -m bench peers --rounds 3

bench-ab: install ## Whether a change costs anything: this server against that of BASE, in turns; BASE=revision GATES="G1 G6" PAIRS=6
	@if [ -z "$(BASE)" ]; then echo "make bench-ab: needs BASE, a git revision or a folder with a checkout, such as BASE=main" >&2; exit 1; fi
	@$(BIN)/python -m bench ab --pairs $(or $(PAIRS),6) "$(BASE)" $(GATES)

ui-size: install ## The dashboard where 1,000,000 jobs wait and 5,000,000 have ended: 4 GB of disk, five minutes; the real pages where make browser was
	@$(BIN)/python -m bench run ui-size

clean: ## Remove what was installed, built and cached; jobs stay where they are
	@rm -rf .venv .build .cache .ruff_cache .hypothesis dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
