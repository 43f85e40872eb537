.DEFAULT_GOAL := help
.PHONY: help run test lint fix bench schema rules dashboards export clean

PYTHON ?= python3
BIN := .venv/bin
# A release of pip that knows --constraint for build requirements too; the path is absolute for pip's sub-builds.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 14

run: .venv/runs ## start Pointsman on simulated upstreams: http://127.0.0.1:8080, no key needed
	$(BIN)/pointsman serve --demo

# One process more than cores, since many tests wait; in their own order, so that what a folder shares starts once in each.
test: lint ## everything CI checks
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

lint: .venv/develops ## style, types, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: .venv/develops ## mend what the linters can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: .venv/develops ## one table: Pointsman beside its peers, on this machine
	$(BIN)/python -m bench

schema: .venv/runs ## make routes.schema.json and docs/routes.md again from proxy/config/schema.py
	$(BIN)/pointsman schema > routes.schema.json
	$(BIN)/pointsman schema --markdown > docs/routes.md

rules: ## make deploy/prometheus/prometheusrule.yaml again from alerts.yaml
	@cd deploy/prometheus && { sed '/^spec:$$/q' prometheusrule.yaml; sed 's/^./  &/' alerts.yaml; } > prometheusrule.yaml.new
	@cd deploy/prometheus && mv prometheusrule.yaml.new prometheusrule.yaml

dashboards: .venv/runs ## make deploy/grafana/*.json again from their description
	$(BIN)/python -m deploy.grafana

export: .venv/exports ## make models/all-MiniLM-L6-v2 again from the published weights
	$(BIN)/python models/export.py

clean: ## remove the virtual environment and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist bench/.peers

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/runs: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --editable .
	@touch $@

.venv/develops: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@ .venv/runs

.venv/exports: .venv/develops
	$(BIN)/pip install --quiet --editable '.[export]'
	@touch $@
