# One target per thing a contributor does.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SOAK_S ?= 1800
SEED   ?= 7

.PHONY: help setup demo stop client web test soak bench lint format types schema clean

help:  ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(VENV)/ready  ## make .venv and install everything, Node parts too; does nothing when up to date

$(VENV)/ready: requirements.lock pyproject.toml devstack/setup.sh devstack/package-lock.json tests/node/package-lock.json client/package-lock.json
	@PYTHON=$(PYTHON) sh devstack/setup.sh
	@touch $@

demo: setup  ## a running stack, and a worker that reads the project's own docs before your eyes
	@sh devstack/demo.sh

stop:  ## end what `make demo` left running
	@sh devstack/stop.sh

client: setup  ## build the TypeScript client and run its tests
	@cd client && PATH="$(CURDIR)/$(BIN):$$PATH" && npm run --silent build && npm run --silent types && npm test --silent

web: setup  ## build the project page into web/out; does nothing when up to date
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(MAKE) --silent web/out/index.html

web/out/index.html: web/node_modules/.package-lock.json web/next.config.ts $(shell find web/src client/src -type f)
	@cd client && npm run --silent build
	@cd web && npm run --silent types && npm run --silent build
	@touch $@

web/node_modules/.package-lock.json: web/package-lock.json
	@echo "web: installing its Node packages" >&2
	@cd web && npm install --no-save --ignore-scripts --silent # not `npm ci`: it wants all platforms' compilers in the lock
	@touch $@

test: setup client web  ## run every test
	$(BIN)/pytest -n 2 --dist loadfile

soak: setup  ## the oracle: SOAK_S seconds of faults, cuts and random writers, decided by SEED; 1 unless all is well
	$(BIN)/python -m tests.oracle --seconds $(SOAK_S) --seed $(SEED)

bench: setup  ## what everything costs, beside its rivals and its targets: one table (about twenty minutes)
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[bench]'
	$(BIN)/python -m benchmarks

lint: setup  ## style and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup  ## mend the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup  ## strict type check
	$(BIN)/mypy

schema: setup  ## write what is generated from the models: docs, the client's types, tests/wire
	$(BIN)/python -m service.schema

clean:  ## remove what setup and the devstack made
	rm -rf $(VENV) .rowcast devstack/node_modules tests/node/node_modules client/node_modules client/dist web/node_modules web/.next web/out
