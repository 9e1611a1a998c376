# Daily commands. Each line also works typed by hand; `make setup` needs Python 3.11 or newer, a compiler and the network.

PYTHON ?= python3
BIN := .venv/bin
SETUP := .make/setup
SETUP_INPUTS := pyproject.toml constraints.txt hatch_build.py $(shell find proto/wingbeatidl -name '*.proto')
# For two cores: about half of what the tests do is waiting for other processes.
PYTEST_WORKERS ?= 3
# Clients of other languages that this machine has the tools for.
FLYTECTL := $(if $(shell command -v go),.make/flytectl)
CLIENTS := $(if $(shell command -v go),go) $(if $(shell command -v npm),typescript) $(if $(shell command -v mvn),java)

.DEFAULT_GOAL := help
.PHONY: help setup demo dev proto freeze fmt lint types unit sim test test-clients bench load
.PHONY: clients clients-go clients-typescript clients-java

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

setup: $(SETUP) ## make .venv with everything in it

$(SETUP): $(SETUP_INPUTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.11 setup")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --build-constraint constraints.txt --editable '.[server,s3]' --group dev
	$(BIN)/python -m compileall -q clients controlplane propeller catalog proto/gen
	@mkdir -p $(@D) && touch $@

demo: $(SETUP) ## start Wingbeat, run the example workflows with the real flytekit, stop
	$(BIN)/python examples/demo.py

dev: $(SETUP) ## run Wingbeat on a scratch data folder with readable logs; Ctrl-C stops it
	PATH="$(CURDIR)/$(BIN):$$PATH" WINGBEAT_LOGGING__FORMAT=console $(BIN)/wingbeat up --data-dir .wingbeat/dev

proto: $(SETUP) ## compile proto/ into proto/gen, and into dataclasses
	$(BIN)/python -c 'from pathlib import Path; from hatch_build import compile_dataclasses, compile_protos; compile_protos(Path.cwd()); compile_dataclasses(Path.cwd())'

freeze: $(SETUP) ## take proto/ as released: from now on `make lint` refuses what breaks it
	$(BIN)/buf build proto --exclude-source-info --output proto/released.binpb

fmt: $(SETUP) ## format and sort imports
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

lint: $(SETUP) ## style, who imports whom, our protobuf files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/buf lint proto
	$(BIN)/buf breaking proto --against proto/released.binpb

types: $(SETUP) ## strict type check
	$(BIN)/basedpyright

unit: $(SETUP) ## tests that touch nothing
	$(BIN)/python -m pytest tests/unit tests/property

sim: $(SETUP) ## thousands of simulated worlds with crashes and faults; SEED=n replays one and tells what happens
	$(BIN)/python $(if $(SEED),-m tests.simulation --seed $(SEED) --trace,-m pytest -q -n $(PYTEST_WORKERS) tests/simulation)

test: $(SETUP) $(CLIENTS:%=clients-%) $(FLYTECTL) ## all tests; of clients in other languages those that this machine has the tools for
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder

.make/flytectl: tests/flytectl/main.go tests/flytectl/go.mod
	cd tests/flytectl && go build -ldflags='-s -w' -o ../../.make/flytectl .

test-clients: $(SETUP) $(CLIENTS:%=clients-%) ## one suite of scenarios for the clients of all languages
	$(BIN)/python -m pytest tests/clients

clients: clients-go clients-typescript clients-java ## generate and build the Go, TypeScript and Java clients into dist/

clients-go: $(SETUP)
	$(BIN)/python clients/generate.py go
	cd clients/go && go vet ./... && go build -o ../gen/bin/ ./conformance ./examples/hello
	@mkdir -p dist && tar -czf dist/wingbeat-client-go.tar.gz -C clients go

clients-typescript: $(SETUP)
	$(BIN)/python clients/generate.py typescript
	cd clients/typescript && npm run --silent build && npx tsc --project tsconfig.conformance.json
	@mkdir -p dist && cd clients/typescript && npm pack --silent --pack-destination ../../dist >/dev/null

# For a compiler that runs once, optimising itself is most of the work.
clients-java: export MAVEN_OPTS ?= -XX:TieredStopAtLevel=1 -XX:+UseSerialGC
clients-java: $(SETUP)
	$(BIN)/python clients/generate.py java
	cd clients/java && mvn --quiet --batch-mode package
	@mkdir -p dist && cp clients/java/target/wingbeat-client-*.jar dist/

load: $(SETUP) ## users of locust on a fresh installation, for a short while; report in build/load
	$(BIN)/python -m loadtests.load --seconds 20

bench: $(SETUP) ## short versions of all load tests, one JSON object each as its last line
	$(BIN)/python -m loadtests.engine --executions 1000 --nodes 10 --shape diamond
	$(BIN)/python -m loadtests.engine --executions 1000 --nodes 4 --shape chain --live --task-s 2
	$(BIN)/python -m loadtests.engine --shape map --elements 10000
	$(BIN)/python -m loadtests.cache --executions 500 --elements 10000
	$(BIN)/python -m loadtests.lengths --live 20 --turns 1
	$(BIN)/python -m loadtests.large --nodes 5000
	$(BIN)/python -m loadtests.launch --seconds 5 --live 500 --bulk 5000
	$(BIN)/python -m loadtests.batch --rows 4000
	$(BIN)/python -m loadtests.hello
	$(BIN)/python -m loadtests.tasks --tasks 200 --chains 5
	$(BIN)/python -m loadtests.sql --executions 20000 --asks 20
	$(BIN)/python -m loadtests.retention --executions 20000 --rest 0.2
	$(BIN)/python -m loadtests.workers --tasks 200 --sequences 40 --hellos 20
	$(BIN)/python -m loadtests.startup --runs 5
	$(BIN)/python -m loadtests.watch --rate 1000 --seconds 3 --watchers 100 --watched-rate 100
