# The whole routine. The first setup takes some minutes, later ones a second.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup test check demo bench soak lock

# What setup found out: image names and, where it had to fetch Compose, where that is.
WITH_TESTBED := source .testbed.env;

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 8

setup: ## get an engine, Compose, the test images and .venv; cheap when all is there
	@tests/testbed/up

test: setup ## run every test but the long proofs, three files at a time; ARGS='-k backup -x' goes to pytest
	@$(WITH_TESTBED) .venv/bin/pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

check: ## format, lint and types, with nothing but .venv
	@tests/testbed/python
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

demo: setup ## lose a database and get it back, in a minute
	@$(WITH_TESTBED) examples/demo/run

bench: setup ## measure; not a test
	@$(WITH_TESTBED) tests/bench/run

soak: setup ## the long proofs
	@$(WITH_TESTBED) .venv/bin/pytest -m soak $(ARGS)

lock: ## write the lock files anew
	@tests/testbed/lock
