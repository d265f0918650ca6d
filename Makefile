# Everything a person or a machine does here is one word. Each target makes what it needs first (uv, Python packages) in
# .venv; `make` alone lists the words.

SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test check fix check-models bench-standin bench-demo bench-faces bench-curation bench-allocation bench-truth bench-jobs lock-tools bench-training bench-gpu bench-sweep bench-sweep-kills lock clean

PYTHON := .venv/bin/python
VULTUS := .venv/bin/vultus
UV = $$(command -v uv || echo .tools/bin/uv)
WORKERS ?= 2

# One thread per process, and waiting threads sleep: OpenMP's default spins, which on busy cores makes a training step
# of 0.3 s take 4 s. No hub is asked: whatever a test needs is in the package or made by the test.
export OMP_WAIT_POLICY := PASSIVE
export HF_HUB_OFFLINE := 1
export TRANSFORMERS_OFFLINE := 1
ONE_THREAD := OMP_NUM_THREADS=1

help: ## List the words
	@echo "make WORD, where WORD is"
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' Makefile

setup: ## Make the environment in .venv from the lock (instant when it is there)
	@scripts/setup.sh

demo: setup ## The whole run on the bundled stand-in world: pictures in, report out (again: a look-up)
	$(VULTUS) demo $(DIR)

test: setup ## Set up, then every test that needs no weights and no graphics card
	$(ONE_THREAD) $(PYTHON) -m pytest -q -n $(WORKERS) --dist worksteal $(ARGS)

check: setup ## What must hold before a commit: format, lint, types, floors, reference, the fast tests
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports --cache-dir .import_linter_cache
	$(PYTHON) scripts/reference.py --check
	$(ONE_THREAD) $(PYTHON) -m pytest -q -n $(WORKERS) --dist worksteal -m "not slow" $(ARGS)

fix: setup ## Format, mend what a linter can mend, write the generated reference (never accepts golden files)
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .
	$(PYTHON) scripts/reference.py

check-models: setup ## The full-size SDXL architecture on random weights: train, export, reload, render (minutes, 14 GiB)
	$(PYTHON) -m bench.models.check_models $(ARGS)

bench-standin: setup ## Measure the stand-in world (figures to bench/results)
	$(PYTHON) -m bench.standin.measure $(ARGS)

bench-demo: setup ## The demo's whole run on ten personas it has never seen (figures to bench/results)
	$(PYTHON) -m bench.demo.measure $(ARGS)

bench-faces: setup ## Measure the free face pack on photographs (needs the shared folder; PEER=python with deepface)
	$(ONE_THREAD) $(PYTHON) -m bench.faces.measure $(if $(PEER),--peer $(PEER)) $(ARGS)
bench-curation: setup ## Curation against planted copies, other tools, size and kills (ARGS=--large: 10,000 pictures)
	$(ONE_THREAD) $(PYTHON) -m bench.curation.measure $(ARGS)
bench-allocation: setup ## Which way of spending renders finds the best cell: ours, grids, Optuna (figures to bench/results)
	$(ONE_THREAD) $(PYTHON) -m bench.allocation.measure $(ARGS)

bench-truth: setup ## Do intervals cover, does the gate certify what it should (figures to bench/results)
	$(ONE_THREAD) $(PYTHON) -m bench.truth.measure $(ARGS)
bench-jobs: setup ## Survival, hand-over, kills, executors, ledger, --help (figures to bench/results; Ray: VULTUS_EXTRAS=ray)
	$(PYTHON) -m bench.jobs.measure $(ARGS)
bench-training: setup ## Overhead, 50 kills, bytes, merged weights; the ladder of levers; a peer (figures to bench/results; 82 minutes)
	$(ONE_THREAD) $(PYTHON) -m bench.training.measure $(ARGS)
	$(ONE_THREAD) $(PYTHON) -m bench.training.rungs
	$(ONE_THREAD) $(PYTHON) -m bench.training.peers
bench-gpu: setup ## Peak memory and seconds per step of full-size SDXL on a card, against the plan (without one: a toy, to its end)
	$(PYTHON) -m bench.gpu.measure $(ARGS)

bench-sweep: setup ## Overhead of a sweep above UNet and VAE time, against reloading per cell (figures to bench/results)
	$(ONE_THREAD) $(PYTHON) -m bench.sweep.measure $(ARGS)
bench-sweep-kills: setup ## A hundred kills -9 of a sweep at random points: same report, nothing made twice
	$(ONE_THREAD) $(PYTHON) -m bench.sweep.kills $(ARGS)

lock: ## Renew uv.lock after a change of pyproject.toml, from PyPI alone
	env -u UV_FIND_LINKS -u UV_INDEX $(UV) lock --default-index https://pypi.org/simple
	$(UV) export --quiet --frozen --no-emit-project --only-group bootstrap -o locks/uv.txt

lock-tools: setup ## Renew the locks of kohya and ComfyUI after a change of their requirements, from PyPI alone
	$(PYTHON) scripts/tool_locks.py

clean: ## Remove what set-up and tools made (never a workspace, never a report)
	rm -rf .venv .tools .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find vultus tests scripts bench -name __pycache__ -type d -prune -exec rm -rf {} +
