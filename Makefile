# The only prerequisites are Python 3.11 or later and make; `make` alone lists
# the targets. Everything that is installed is pinned and hashed in locks/.
.DEFAULT_GOAL := list
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/sh

# Debian's own build is optimised (PGO, LTO) and nearly twice as fast as a plain one.
PYTHON ?= $(shell command -v /usr/bin/python3.11 || command -v python3.11 \
  || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
SHARED ?= ../shared
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes \
  --no-emit-index-url --no-header
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The request path, compiled by mypyc from the same sources (docs/adr).
HOT := $(addprefix comptroller/,$(addsuffix .py, \
  adapters/journal/marks adapters/journal/segments adapters/journal/writer \
  adapters/store/requests adapters/store/shelf adapters/upstreams/connection \
  adapters/upstreams/pool core/books core/bound core/leasebook core/policy/decide \
  core/policy/expression core/policy/prompt core/policy/rules core/policy/schema \
  core/usage \
  engine/admission engine/bookkeeping engine/bounding engine/controls \
  engine/decision_data engine/desk engine/downgrading engine/hold_path \
  engine/holding engine/isolation engine/judging engine/policy_facts \
  engine/rate_slots engine/recording engine/refusals engine/safe_names \
  engine/settlement engine/standing engine/supply engine/turns engine/verdicts \
  engine/waiting gateway/client gateway/deciding gateway/exchange gateway/failover \
  gateway/floor gateway/gathering gateway/heads gateway/inbound gateway/incoming \
  gateway/outward wire/bodies wire/ceiling wire/counts wire/demand wire/extras \
  wire/meters wire/openai_chat wire/openai_usage wire/preparing \
  wire/prompt_anthropic wire/prompt_facts wire/prompt_gemini wire/prompt_json \
  wire/prompt_openai wire/prompt_tally wire/raw wire/reader wire/references \
  wire/repeating wire/request wire/routes wire/splice wire/streams))

.PHONY: list setup demo test check fix bench bench-limits chaos acceptance lock \
  clean pure

list: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | \
	  while IFS="$$(printf '\t')" read -r name what; do \
	    printf '  make %-12s %s\n' "$$name" "$$what"; done

setup: $(VENV)/.compiled ## create .venv with .venv/bin/comptroller and the tools
	@echo "Ready: $(BIN)/comptroller --help"

# What was compiled is compiled again when its source changed: stale code is refused.
demo: $(if $(wildcard $(VENV)/.compiled),$(VENV)/.compiled,$(VENV)/.runtime) ## show it all in half a minute (KEEP=1 leaves it running)
	@$(BIN)/comptroller demo $(if $(filter 1,$(KEEP)),--keep)

test: $(VENV)/.compiled check ## check, then run every test but the acceptance
	$(BIN)/pytest -n 2 --dist loadfile --ignore tests/acceptance

check: $(VENV)/.dev ## lint, format, types, layers, shape
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -p no:randomly --noconftest tests/test_tidy.py

fix: $(VENV)/.dev ## format, and repair what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.compiled ## measure what the README claims
	$(BIN)/python bench/run.py

bench-limits: $(VENV)/.compiled ## try to overshoot limits, at what cost they hold (ONLY=word: some)
	$(BIN)/python bench/limits.py --only "$(ONLY)"

chaos: $(VENV)/.compiled ## kill and stop processes under load (CHAOS_S=600 seconds)
	CHAOS_S=$(or $(CHAOS_S),600) $(BIN)/pytest -q -s --timeout 3600 \
	  tests/e2e/test_limits_chaos.py

simulate: $(VENV)/.dev ## replay one seed of the simulation, aloud (SEED=n)
	$(BIN)/python -m comptroller.testing.simulation $(SEED)

acceptance: $(VENV)/.compiled ## run what needs ../shared (SHARED=DIR): recordings, clients
	@test -d "$(SHARED)" || { \
	  echo "make acceptance: no folder $(SHARED); set SHARED=DIR" >&2; exit 1; }
	SHARED="$(abspath $(SHARED))" $(BIN)/pytest tests/acceptance

lock: $(VENV)/.dev ## resolve pyproject.toml anew into locks/
	$(LOCK) --group bootstrap -o locks/bootstrap.txt
	$(LOCK) pyproject.toml -o locks/runtime.txt
	$(LOCK) pyproject.toml --group dev -o locks/dev.txt

pure: ## remove what is compiled: edit freely, `make setup` compiles again
	find src -name '*.so' -delete
	rm -f $(VENV)/.compiled

clean: pure ## remove .venv and every cache
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	  .import_linter_cache .coverage
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps name what .venv holds; a changed lock installs again.
$(VENV)/.dev: locks/dev.txt $(VENV)/.bootstrap pyproject.toml
	@sh locks/install.sh $(VENV) locks/dev.txt
	@touch $@ $(VENV)/.runtime

$(VENV)/.compiled: $(VENV)/.dev locks/compile.sh $(addprefix src/,$(HOT))
	@sh locks/compile.sh $(VENV) $(HOT)
	@touch $@

$(VENV)/.runtime: locks/runtime.txt $(VENV)/.bootstrap pyproject.toml
	@sh locks/install.sh $(VENV) locks/runtime.txt
	@touch $@

$(VENV)/.bootstrap: locks/bootstrap.txt locks/install.sh
	@sh locks/bootstrap.sh "$(PYTHON)" $(VENV)
	@touch $@
