# Every target needs nothing before it: the first one to run makes .venv and installs the pinned packages.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
unexport PYTHONPATH PYTHONHOME
# In the plain C locale Python 3.11 cannot start from a folder with letters outside ASCII.
ifneq ($(filter C POSIX,$(or $(LC_ALL),$(LC_CTYPE),$(LANG),C)),)
export LC_ALL := C.UTF-8
endif

PYTHON ?=
PROFILE ?= quick
STUDY ?=
RERUN ?=
BIN := .venv/bin
PROFILES := $(sort $(basename $(notdir $(wildcard lib/companion/profiles/*.yaml))))
STUDIES := $(shell sed -n 's/^    "\(.*\)",$$/\1/p' lib/companion/studies/registry.py)
CHOICE = --profile "$(PROFILE)" $(if $(STUDY),--study "$(STUDY)") $(if $(filter 1,$(RERUN)),--rerun)
QUICK := -m "not slow and not golden"
GOLDEN := -m "golden and not slow"

# A mistake is told before anything is installed; what has a _ in its name is for the environment (COMPANION_RAY=local).
SETTINGS := PROFILE STUDY RERUN PYTHON
STRANGE := $(foreach name,$(filter-out $(SETTINGS),$(.VARIABLES)),$(if $(findstring _,$(name)),,$(if $(filter command,$(origin $(name))),$(name))))
ifneq ($(strip $(STRANGE)),)
$(error There is no setting $(strip $(STRANGE)); the settings are $(SETTINGS), in capitals)
endif
ifneq ($(filter figures status verify,$(MAKECMDGOALS)),)
ifeq ($(and $(filter 1,$(words $(PROFILE))),$(filter $(PROFILES),$(PROFILE))),)
$(error There is no profile '$(PROFILE)'; choose one of $(PROFILES))
endif
ifneq ($(filter-out 0 1,$(RERUN)),)
$(error RERUN is 1 or 0, not '$(RERUN)')
endif
ifneq ($(STUDY),)
ifeq ($(and $(filter 1,$(words $(STUDY))),$(filter $(STUDIES),$(STUDY))$(wildcard figures/$(PROFILE)/$(STUDY)/study.json)),)
$(error There is no study '$(STUDY)'; choose one of $(STUDIES), or leave STUDY out for all)
endif
endif
endif

.PHONY: help install figures status verify test test-golden test-all bench readme lab lint format constraints clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile
	echo
	echo "Settings: PROFILE=$$(tr ' ' '|' <<<'$(PROFILES)')  STUDY=$$(tr ' ' '|' <<<'$(STUDIES)') (all without it)  RERUN=1 (make the records again)  PYTHON=/path/to/python3"

install: ## Make .venv with the pinned packages (the other targets do it by themselves)
	@export PYTHON="$(PYTHON)"
	bash tools/install.sh

figures: install ## Run all studies of PROFILE: every table, figure and claim (figures/PROFILE/index.html)
	@$(BIN)/companion figures $(CHOICE)

status: install ## Say where the runs of PROFILE are, also while they are made
	@$(BIN)/companion status $(CHOICE)

verify: install ## Recompute every checksum of PROFILE's records, data, tables and figures
	@$(BIN)/companion verify $(CHOICE)

test: lint ## Prove the code: style, types, walls and the quick tests
	@$(BIN)/pytest $(QUICK) --numprocesses 2 --dist loadfile

test-golden: install ## Whole runs of a tiny model, killed, repeated and compared
	@$(BIN)/pytest $(GOLDEN) --numprocesses 2 --dist loadfile

test-all: lint ## All tests, the slow ones too
	@$(BIN)/pytest

bench: install ## Measure speed and memory beside the usual tools (an hour and a half, on an idle machine)
	@$(BIN)/python -c 'import lm_eval' 2>/dev/null ||
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/companion bench

readme: install ## Fill the README's tables from the recorded runs and the benchmark
	@$(BIN)/companion readme

lab: install ## Open the notebooks in JupyterLab
	@$(BIN)/jupyter lab notebooks

lint: install ## Style, types and the walls between the rooms
	@$(BIN)/ruff check --quiet --output-format concise .
	$(BIN)/ruff format --quiet --check . || { echo "Some files are not formatted; make format does it."; exit 1; }
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## Tidy the code and strip the notebooks' outputs
	@$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	find notebooks -name '*.ipynb' -print0 | xargs -0 --no-run-if-empty $(BIN)/nbstripout

constraints: ## Resolve again from pyproject.toml and no-deps.txt and write constraints.txt
	@export PYTHON="$(PYTHON)"
	bash tools/install.sh constraints

clean: ## Remove .venv and the caches; results in figures/ stay
	@rm -rf .venv .venv.lock .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build
	find lib tests -name __pycache__ -prune -exec rm -rf {} +
