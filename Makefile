# `make` alone prints what can be done.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
INSTALLED := .venv/installed
PACKAGES := clients/python server worker
LOCKS := requirements-build.lock requirements.lock
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install
COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

# The same features everywhere, so that nothing is compiled twice.
RUST := --workspace --all-features

# Tests run on all cores, at most eight: each worker has a PostgreSQL of its own. One at a time: `make test JOBS=0`.
PARALLEL := -n $(or $(JOBS),auto) --maxprocesses 8

# The slowest, and what looks at the project's own documents and packages: `make test` leaves them to `make check`.
BESIDE := bench/test_ab.py bench/test_counters.py bench/test_flow.py client_cli conformance deploy docs e2e examples openapi processes serve tls platform/test_embedded.py \
	store/test_clock_steps.py store/test_partitions.py store/test_plans.py store/test_retention.py store/test_watch.py \
	lease/test_lost.py lease/test_machine.py lease/test_max_age.py lease/test_unseen.py \
	client/test_worker_end_to_end.py worker/test_service.py worker_runtime/test_liveness.py worker_runtime/test_processes.py

# Where a server is called over gRPC, whatever serves it.
SPEAK_GRPC := client client_cli e2e http/test_both_transports.py http/test_whole_server.py lease processes rpc serve tls transport worker

.PHONY: help install run demo test conformance interop clients faults abuse fuzz mutants check engines lint contract tools generate lock migrate package audit bench bench-full bench-peers bench-ab clean

help: ## Print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv with everything in it, versions and hashes from the lock
	@$(BIN)/python tools/generate.py --googleapis

$(INSTALLED): $(LOCKS) $(PACKAGES:=/pyproject.toml) server/hatch_build.py
	@for python in python3.11 python3.12 python3.13 python3; do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo "make install: no Python 3.11 or later on PATH (looked for python3.11, 3.12, 3.13 and python3)" >&2; exit 1; fi; \
	if [ ! -x $(BIN)/python ] && ! $$found -m venv .venv; then \
		echo "make install: $$found can't make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	fi
	@echo "Installing into .venv"
	@$(PIP) --require-hashes -r requirements-build.lock
	@# What builds packages is there already, in locked versions: nothing else is fetched for it.
	@$(PIP) --require-hashes --no-build-isolation -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation $(PACKAGES:%=-e ./%)
	@touch $@

run: install ## Server, worker and four jobs with a live view; the server stays until Ctrl-C
	@$(BIN)/python -m tools.demo

demo: install ## The same, ending by itself when the four jobs are done
	@$(BIN)/python -m tools.demo --once

test: install ## Run the tests on all cores: real PostgreSQL, sockets and processes; those that take longest are in `make check` alone; JOBS=n
	@echo "make check runs these folders and files as well: $(BESIDE)"
	@$(BIN)/python -m pytest tests $(PARALLEL) $(BESIDE:%=--ignore=tests/%) -m "not curl and not language and not faults and not fuzz and not package and not network and not pgbouncer"

clients: install ## Build, vet and test the clients in other languages, where their toolchains are
	@if ! command -v go >/dev/null; then \
		echo "make clients: no Go on PATH: the client in Go was NOT built and NOT tested" >&2; \
	else \
		$(BIN)/python -m tools.go_stubs --check && cd clients/go && \
		unformatted=$$(gofmt -l .) && { [ -z "$$unformatted" ] || { echo "make clients: run gofmt -w on $$unformatted" >&2; exit 1; }; } && \
		export GOTOOLCHAIN=local GOWORK=off && go build ./... && go vet ./... && go test ./... && \
		go build -C tools -o ../../../.cache/staticcheck honnef.co/go/tools/cmd/staticcheck && ../../.cache/staticcheck ./...; \
	fi
	@if ! command -v npm >/dev/null; then \
		echo "make clients: no Node on PATH: the client in TypeScript was NOT built and NOT tested" >&2; \
	else \
		(cd clients/typescript && npm ci --ignore-scripts --no-audit --no-fund --silent) && \
		$(BIN)/python -m tools.typescript_stubs --check && cd clients/typescript && npm run --silent lint && npm test --silent; \
	fi
	@if ! command -v mvn >/dev/null || ! command -v javac >/dev/null; then \
		echo "make clients: no Maven or no JDK on PATH: the client in Java was NOT built and NOT tested" >&2; \
	else \
		mvn -B -q -f clients/java/pom.xml verify; \
	fi
	@if ! command -v cargo >/dev/null; then \
		echo "make clients: no cargo on PATH: the client in Rust was NOT built and NOT tested" >&2; \
	else \
		$(BIN)/python -m tools.rust_stubs --check && $(BIN)/python -m tools.cargo fmt --all --check && \
		$(BIN)/python -m tools.cargo clippy --quiet $(RUST) --all-targets -- -D warnings && \
		$(BIN)/python -m tools.cargo test --quiet $(RUST) && \
		RUSTDOCFLAGS="-D warnings" $(BIN)/python -m tools.cargo doc --quiet --no-deps $(RUST) && \
		$(BIN)/python -m tools.cargo package --quiet --package jobqueue --all-features --allow-dirty --offline; \
	fi

faults: install ## Kill, stop and cut off servers, workers and databases, and check the history; ONLY=case,case SEED=n SCALE=0.1
	@$(BIN)/python -m tests.faults --only "$(ONLY)" --seed "$(or $(SEED),0)" --scale "$(or $(SCALE),1)"

abuse: install ## Flood a server on loopback in every way, and look whether others are served; ONLY=flood,flood SECONDS=20 ENGINE=grpcio
	@$(BIN)/python -m tests.abuse --only "$(ONLY)" --seconds "$(or $(SECONDS),20)" --engine "$(or $(ENGINE),http2)"

fuzz: install ## Change what clients of HTTP/2 and HTTP/1.1 said, and look whether the server stands it; SECONDS=3600 ONLY=http2 SEED=n
	@$(BIN)/python -m tests.fuzz --only "$(ONLY)" --seconds "$(or $(SECONDS),60)" --seed "$(or $(SEED),0)"

conformance: install ## Hold the worker of each language to the Lease protocol; the table goes into docs/conformance.md
	@$(BIN)/python -m tests.conformance --language "$(LANGUAGE)" --only "$(ONLY)"

interop: install ## Clients of other gRPC libraries against our transport and grpcio's; the tables go into docs/interop.md; CLIENT=name,name ENGINE=http2 ONLY=case
	@$(BIN)/python -m tests.interop --client "$(CLIENT)" --engine "$(ENGINE)" --only "$(ONLY)"

mutants: install ## Break the code on purpose, one line at a time, in a copy: the tests of each promise must go red
	@$(BIN)/python -m tools.mutants

check: install tools lint contract ## All that CI checks: style, types, layers, contract, then all tests, also those with curl
	@$(BIN)/python -m pytest tests $(PARALLEL) -m "not network" --engine both

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
	@$(BIN)/python tools/generate.py --check
	@$(BIN)/python -m tools.fields --check
	@$(BIN)/python -m tools.openapi --check

tools: install ## Install what makes and checks the OpenAPI documents, where Go and Node are; the rest goes without
	@$(BIN)/python -m tools.openapi --install

generate: install ## Make the stubs, the OpenAPI documents and the list of HTTP bindings from proto/, the lists of columns in SQL from fields.py, .env.example, and the documents made from code
	@$(BIN)/python tools/generate.py
	@$(BIN)/python -m tools.fields
	@$(BIN)/python -m tools.openapi
	@$(BIN)/python -m tools.go_stubs
	@$(BIN)/python -m tools.typescript_stubs
	@$(BIN)/python -m tools.rust_stubs
	@$(BIN)/python -c 'from jobqueue_server.settings import render_env_example; print(render_env_example(), end="")' > .env.example
	@$(BIN)/python -m tools.docs

lock: install ## Renew the locks: the newest versions that the packages and requirements*.in allow
	@$(COMPILE) requirements-build.in --output-file requirements-build.lock
	@$(COMPILE) requirements.in $(PACKAGES:=/pyproject.toml) --all-extras --no-emit-package jobqueue \
		--constraints requirements-build.lock --output-file requirements.lock
	@# What each image installs: the same versions.
	@for package in server worker; do $(COMPILE) $$package/pyproject.toml --no-emit-package jobqueue \
		--constraints requirements.lock --output-file deploy/$$package.lock || exit 1; done

migrate: install ## Bring the schema of DATABASE_URL up to date
	@$(BIN)/jobqueue-server migrate up

package: install ## Wheels and sdists in dist/, checked, each installed alone and started; the images' steps in a folder
	@rm -rf dist
	@for package in $(PACKAGES); do (cd $$package && $(CURDIR)/$(BIN)/hatchling build --directory $(CURDIR)/dist) || exit 1; done
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

clean: ## Remove what was installed, built and cached; jobs stay where they are
	@rm -rf .venv .build .cache .ruff_cache .hypothesis dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
