# Thin on purpose: `candor` does the work (cli/), `.venv/bin/candor --help` says what else it does.
#   make demo | up | down | reset | status          the stack, on this machine
#   make up ENDPOINT_URL=http://127.0.0.1:4566      on an emulator that runs already
#   make openapi                                    openapi.json, anew from the code
#   make test | test-long                           every test; with the large budgets
#   make bench                                      what it costs, how fast and how right it is, measured
PYTHON ?= python3
CANDOR = .venv/bin/candor
WHERE = $(if $(ENDPOINT_URL),--endpoint-url $(ENDPOINT_URL))
PYTEST = .venv/bin/python -m pytest -n auto --no-loadscope-reorder
TESTS = $(wildcard tests/unit tests/contract tests/moto tests/emulator)

.PHONY: setup demo up down reset status test test-long bench openapi
.DEFAULT_GOAL := demo

setup:
	@$(PYTHON) cli/bootstrap.py

demo up down reset status: setup
	@$(CANDOR) $@ $(WHERE)

test: setup
	@HYPOTHESIS_PROFILE=ci $(PYTEST) $(TESTS)

test-long: setup
	@HYPOTHESIS_PROFILE=long $(PYTEST) $(TESTS)

bench: setup
	@.venv/bin/python -m tests.bench

openapi: setup
	@.venv/bin/python -m cli.openapi
